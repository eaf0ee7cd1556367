"""The cells of sketches, in columns: see :class:`penstock.metrics.Buckets` and :class:`penstock.metrics.Registers`."""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl

from penstock.metrics import INDEX_BITS, RANK_BITS, SLOT_BITS, SLOTS, Buckets, Metric, Registers
from penstock.pipeline import PANE_MS
from processors.fates import PANE, Ints

Numbers = npt.NDArray[np.uint64]

_SEED, _FIRST, _SECOND = (
    np.uint64(number) for number in (0x9E3779B97F4A7C15, 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53)
)
_SHIFT = np.uint64(33)
_WORD = np.dtype("<u8")

_FIELD_BITS = 6
"""A rank is below 64. A cell is a pane (in minutes), a register and a rank, in one number."""
_BLOCK_BITS = INDEX_BITS - SLOT_BITS
_PILE_ROWS = 10_000


def with_sketch(metric: Metric, rows: pl.DataFrame) -> pl.DataFrame:
    """Return ``rows`` with the group's column that the metric's sketch makes, without those that are not in it."""
    sketch = metric.sketch
    if isinstance(sketch, Buckets):
        return rows.hstack([middles(rows[sketch.column], sketch.error_percent).alias(sketch.name)])
    if isinstance(sketch, Registers):
        rows = rows.filter(pl.col(sketch.column).is_not_null())
        registers, _ = _registers_and_ranks(hashes(rows[sketch.column]))
        return rows.with_columns(pl.Series(sketch.name, registers >> SLOT_BITS))
    return rows


@cache
def _buckets(error_percent: int) -> tuple[Ints, Ints]:
    """Return the ends of all buckets and their middles."""
    low, ends, found = 1, [0], [0]
    while low < 1 << 62:
        found.append(low * (100 + error_percent) // 100)
        ends.append(found[-1] * 100 // (100 - error_percent))
        low = ends[-1] + 1
    return np.array(ends), np.array(found)


def middles(values: pl.Series, error_percent: int) -> pl.Series:
    """Return whole numbers (below 2**62), each moved to the middle of its bucket."""
    ends, found = _buckets(error_percent)
    numbers = values.to_numpy()
    return pl.Series(np.sign(numbers) * found[np.searchsorted(ends, np.abs(numbers))], dtype=pl.Int64)


def hashes(texts: pl.Series) -> Numbers:
    """Return the hash of each text; none of them may be null."""
    text = pl.col(texts.name).str
    frame = texts.to_frame().select_seq(text.len_bytes().cast(pl.Int64).alias("length"), text.join().alias("all"))
    lengths = frame["length"].to_numpy()
    found: Numbers = _SEED ^ lengths.astype(np.uint64)
    if not lengths.any():
        return found
    data = frame["all"][0].encode() + bytes(_WORD.itemsize)
    words: Numbers = np.ndarray((len(data) - _WORD.itemsize + 1,), _WORD, data, strides=(1,))  # one at every byte
    begins = np.cumsum(lengths) - lengths
    for at in range(0, int(lengths.max()), _WORD.itemsize):
        left = lengths - at
        shortest = left.min()
        rows = slice(None) if shortest > 0 else np.flatnonzero(left > 0)
        own = words[begins[rows] + at]
        if shortest < _WORD.itemsize:
            beyond = (_WORD.itemsize - np.minimum(left[rows], _WORD.itemsize)).astype(np.uint64) << np.uint64(3)
            own = own << beyond >> beyond
        found[rows] = _mixed(found[rows] ^ own)
    return found


def _mixed(numbers: Numbers) -> Numbers:
    numbers ^= numbers >> _SHIFT
    numbers *= _FIRST
    numbers ^= numbers >> _SHIFT
    numbers *= _SECOND
    numbers ^= numbers >> _SHIFT
    return numbers


def _registers_and_ranks(found: Numbers) -> tuple[Ints, Ints]:
    registers = (found >> np.uint64(64 - INDEX_BITS)).astype(np.int64)
    rest = (found >> np.uint64(64 - INDEX_BITS - RANK_BITS)) & np.uint64((1 << RANK_BITS) - 1)
    _, lengths = np.frexp(rest.astype(np.float64))  # exact: a double has 53 bits
    return registers, RANK_BITS + 1 - lengths.astype(np.int64)


class OpenRegisters:
    """The registers of one metric's open panes on one partition: the same as
    :class:`processors.aggregate.OpenGroups` would hold of it, in an ascending column of cells.

    Unlike there, a block has changed only if one of its ranks has.
    """

    def __init__(self, metric: Metric, sketch: Registers) -> None:
        self.metric = metric
        self._sketch = sketch
        (self._source,) = {measure.source for measure in metric.measures}
        self._merged = self._sent = np.empty(0, np.int64)
        self._pile: list[Ints] = []

    def fold(self, sources: Mapping[str, pl.DataFrame]) -> None:
        """Take applied rows: see :func:`processors.aggregate.partials`."""
        rows = sources.get(self._source)
        if rows is None:
            return
        texts = rows[self._sketch.column]
        if texts.null_count():
            rows = rows.filter(texts.is_not_null())
        if rows.is_empty():
            return
        registers, ranks = _registers_and_ranks(hashes(rows[self._sketch.column]))
        minutes = rows[PANE].to_numpy() // PANE_MS
        cells = (minutes << INDEX_BITS | registers) << _FIELD_BITS | ranks
        cells.sort()
        self._pile.append(cells)
        if sum(map(len, self._pile)) > max(_PILE_ROWS, len(self._merged)):
            self._merge()

    def _merge(self) -> Ints:
        if self._pile:
            cells = np.concatenate([self._merged, *self._pile])
            cells.sort(kind="stable")  # which merges what is in order already
            places = cells >> _FIELD_BITS
            self._merged = cells[np.append(places[1:] != places[:-1], True)]  # of a register's cells the largest
            self._pile = []
        return self._merged

    def take_final(self, watermark: int) -> pl.DataFrame | None:
        """Remove and return the blocks of panes that ended by ``watermark``; None when there are none."""
        cells, first_open = self._merge(), watermark // PANE_MS << INDEX_BITS + _FIELD_BITS
        final = int(np.searchsorted(cells, first_open))
        self._merged = cells[final:]
        self._sent = self._sent[np.searchsorted(self._sent, first_open) :]
        return self._blocks(cells[:final])

    def take_changed(self) -> pl.DataFrame | None:
        """Return the blocks that changed since they were last taken; None when there are none."""
        cells = self._merge()
        changed = np.setdiff1d(cells, self._sent, assume_unique=True) >> _FIELD_BITS + SLOT_BITS
        self._sent = cells
        return self._blocks(cells[np.isin(cells >> _FIELD_BITS + SLOT_BITS, changed)])

    def _blocks(self, cells: Ints) -> pl.DataFrame | None:
        if not len(cells):
            return None
        ranks, places = cells & ((1 << _FIELD_BITS) - 1), cells >> _FIELD_BITS
        of_block = places >> SLOT_BITS
        begins = np.append(True, of_block[1:] != of_block[:-1])
        table = np.zeros((len(SLOTS), int(begins.sum())), np.int64)
        table[places & (len(SLOTS) - 1), np.cumsum(begins) - 1] = ranks
        blocks = of_block[begins]
        panes, numbers = (blocks >> _BLOCK_BITS) * PANE_MS, blocks & ((1 << _BLOCK_BITS) - 1)
        return pl.DataFrame([pl.Series(PANE, panes), pl.Series(self._sketch.name, numbers), *_slots(table)])

    def __len__(self) -> int:
        return len(np.unique(self._merge() >> _FIELD_BITS + SLOT_BITS))


def _slots(table: Ints) -> Sequence[pl.Series]:
    return [pl.Series(name, column) for name, column in zip(SLOTS, table, strict=True)]
