"""The frontier: what a processor knows at the offset ``P`` up to which it has folded a partition.

It travels as the metadata of the commit of ``R``, the offset to read from again, so both change in one step.
"""

import json
from dataclasses import asdict, dataclass, field, fields

from penstock.errors import ProtectiveStop

MAX_METADATA_BYTES = 4_000
"""Kafka refuses commit metadata of about 4,096 bytes and more."""


@dataclass(frozen=True)
class Fates:
    """How many records of a span of offsets had which fate. Each is counted; none is found by subtraction."""

    applied: int = 0
    duplicate: int = 0
    late: int = 0
    dead: int = 0
    control: int = 0

    def __add__(self, other: "Fates") -> "Fates":
        return Fates(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def total(self) -> int:
        """All records and empty offsets that were settled."""
        return self.applied + self.duplicate + self.late + self.dead + self.control


@dataclass(frozen=True)
class Frontier:
    """``position`` is ``P``: the next offset to fold. ``newest_ms`` is ``M``: the largest event time below it.

    ``fates`` counts the offsets of [``start``, ``position``).
    """

    topic_id: str
    start: int
    position: int
    newest_ms: int
    fingerprint: str
    fates: Fates = field(default_factory=Fates)

    @property
    def imbalance(self) -> int:
        """Offsets that were passed but have no fate; 0 as long as the books are right."""
        return self.position - self.start - self.fates.total

    def encode(self) -> str:
        """Return the commit's metadata."""
        return json.dumps({**vars(self), "fates": vars(self.fates)}, separators=(",", ":"))

    def _checked(self) -> "Frontier":
        numbers = (self.start, self.position, self.newest_ms, *asdict(self.fates).values())
        texts = (self.topic_id, self.fingerprint)
        if not all(type(n) is int for n in numbers) or not all(isinstance(text, str) for text in texts):
            raise ValueError("a field has the wrong type")
        return self

    @classmethod
    def decode(cls, metadata: str) -> "Frontier":
        """Read a commit's metadata.

        Reads the JSON value at the front only: confluent-kafka takes the metadata for a C string, which need not
        end where it should. Raises :class:`ProtectiveStop` when there is no frontier at all.
        """
        try:
            raw, _ = json.JSONDecoder().raw_decode(metadata)
            return cls(**(raw | {"fates": Fates(**raw["fates"])}))._checked()
        except (ValueError, TypeError, KeyError) as error:
            raise ProtectiveStop(
                f"the committed metadata {metadata[:80]!r} holds no frontier of Penstock ({error}): another program "
                "committed to this group; give the pipeline a new PENSTOCK_PIPELINE_VERSION"
            ) from None
