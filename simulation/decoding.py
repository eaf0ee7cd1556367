"""Decoding once what is read many times: the real decoder on all new values at once, its rows handed out by batch.

That a record's outcome never depends on its neighbours is the codec's promise, with tests of its own; and some
schedules decode each batch as the stages do (:attr:`simulation.plan.Plan.decode_each_batch`).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import polars as pl

from penstock.avro import INDEX, Decoded, Decoder, Rejection


class _Found(NamedTuple):
    """Where a value's rows are: a chunk's frame and row, and those of its items; or why it was rejected."""

    chunk: int
    record: str
    row: int
    items: dict[str, tuple[int, int]]
    reason: str
    detail: str


class Shelf:
    """Decoded values of one topic, for as long as a schedule takes."""

    def __init__(self, decoder: Decoder, more: Callable[[], Iterable[bytes | None]] = tuple) -> None:
        """``more`` are values that will be asked for as well: they are decoded in the same call."""
        self._decoder, self._more = decoder, more
        self._found: dict[bytes | None, _Found] = {}
        self._frames: list[dict[str, pl.DataFrame]] = []

    def learn(self, values: Iterable[bytes | None]) -> None:
        """Decode those of ``values`` that are new, all in one call."""
        new = list(dict.fromkeys(value for value in values if value not in self._found))
        if not new:
            return
        decoded, chunk = self._decoder.decode(new), len(self._frames)
        self._frames.append(
            {name: frame.drop(INDEX) for frames in (decoded.records, decoded.items) for name, frame in frames.items()}
        )
        items: dict[int, dict[str, tuple[int, int]]] = defaultdict(dict)
        for name, frame in decoded.items.items():
            for row, position in enumerate(frame[INDEX].to_list()):
                first, _ = items[position].get(name, (row, row))
                items[position][name] = (first, row + 1)
        for name, frame in decoded.records.items():
            of_record = {kind for kind in decoded.items if kind.startswith(f"{name}.")}
            for row, position in enumerate(frame[INDEX].to_list()):
                spans = {kind: items[position].get(kind, (0, 0)) for kind in of_record}
                self._found[new[position]] = _Found(chunk, name, row, spans, "", "")
        for position, reason, detail in decoded.rejections:
            self._found[new[position]] = _Found(chunk, "", 0, {}, reason, detail)

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """See :class:`penstock.avro.Decoder`."""
        if any(value not in self._found for value in values):
            self.learn([*values, *self._more()])
        rows: dict[tuple[str, int], tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        rejections = []
        items: set[str] = set()
        for position, value in enumerate(values):
            found = self._found[value]
            if found.reason:
                rejections.append(Rejection(position, found.reason, found.detail))
                continue
            _add(rows[found.record, found.chunk], position, range(found.row, found.row + 1))
            for name, (first, last) in found.items.items():
                items.add(name)
                _add(rows[name, found.chunk], position, range(first, last))
        frames: dict[str, list[pl.DataFrame]] = defaultdict(list)
        for (name, chunk), (positions, chosen) in rows.items():
            frame = self._frames[chunk][name][chosen]
            frames[name].append(frame.insert_column(0, pl.Series(INDEX, positions, dtype=pl.Int64)))
        joined = {name: parts[0] if len(parts) == 1 else _joined(parts) for name, parts in frames.items()}
        return Decoded(
            {name: frame for name, frame in joined.items() if name not in items},
            {name: joined[name] for name in items},
            rejections,
        )


def _add(rows: tuple[list[int], list[int]], position: int, chosen: range) -> None:
    rows[0].extend([position] * len(chosen))
    rows[1].extend(chosen)


def _joined(parts: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(parts).sort(INDEX, maintain_order=True)
