"""Small batches of several partitions, decoded at once: for a few records to decode costs as much as for hundreds."""

from collections.abc import Mapping, Sequence
from itertools import accumulate, chain, pairwise

from penstock.avro import Decoded, Decoder

Partition = tuple[str, int]


class Together:
    """The values of one fetch, of one topic, by partition. They are decoded when the first of them is asked for."""

    def __init__(self, values: Mapping[Partition, Sequence[bytes | None]]) -> None:
        self._values = values
        borders = accumulate(map(len, values.values()), initial=0)
        self._places = dict(zip(values, pairwise(borders), strict=True))
        self._decoded: Decoded | None = None

    def decoded(self, partition: Partition, decoder: Decoder) -> Decoded:
        """Return what the values of one partition are. Raises as :meth:`penstock.avro.Decoder.decode`."""
        if self._decoded is None:
            self._decoded = decoder.decode(list(chain.from_iterable(self._values.values())))
        return self._decoded.part(*self._places[partition])
