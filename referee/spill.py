"""Rows that may be more than memory holds, in hash buckets of a key: few of them in memory, else in Parquet files."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from referee.snapshot import Schema

HELD_ROWS = 150_000
"""Rows of one spill that are kept in memory."""

BUCKET_ROWS = 100_000
"""How many rows a bucket should have at most."""

_BUCKET = "_bucket"
_ROW_GROUP = 16_384

Reduce = Callable[[pl.DataFrame], pl.DataFrame]


@dataclass(frozen=True)
class Buckets:
    """How many there are, and the folder where their files are."""

    folder: Path
    count: int

    @classmethod
    def of(cls, folder: Path, rows: int) -> "Buckets":
        """Return buckets for ``rows`` rows."""
        return cls(folder, rows // BUCKET_ROWS + 1)


class Spill:
    """Collects rows; gives them back bucket by bucket, each bucket's in the order in which they came.

    All rows with the same ``key`` are in the same bucket, in this spill as in any other with the same ``buckets``.
    ``reduce``, if given, says which of some rows are worth keeping.
    """

    def __init__(self, buckets: Buckets, name: str, schema: Schema, key: str, reduce: Reduce | None = None) -> None:
        self._folder = buckets.folder
        self._name = name
        self._empty = pl.DataFrame(schema=dict(schema))
        self._bucket = (pl.col(key).hash() % buckets.count).alias(_BUCKET)
        self._reduce = reduce
        self._held: list[pl.DataFrame] = []
        self._held_rows = 0
        self._files: list[tuple[Path, dict[int, tuple[int, int]]]] = []
        self._sealed: pl.DataFrame | None = None
        self.buckets = buckets.count

    @property
    def held_rows(self) -> int:
        """Rows that are in memory now."""
        return self._held_rows

    def add(self, rows: pl.DataFrame) -> None:
        """Take some more rows. Not after the first :meth:`bucket`."""
        self._held.append(rows)
        self._held_rows += len(rows)
        if self._held_rows > HELD_ROWS:
            self._shrink()

    def add_all(self, frames: Iterable[pl.DataFrame]) -> None:
        """Take all rows of some frames, one by one."""
        for frame in frames:
            self.add(frame)

    def bucket(self, number: int) -> pl.DataFrame:
        """Return the rows of one bucket."""
        if self._sealed is None:
            if self._files:
                # What is left goes to disk as well: while buckets are compared, no spill holds anything.
                self._write(self._merged())
                self._held, self._held_rows = [], 0
            self._sealed = self._merged().with_columns(self._bucket)
            self._held = []
        held = self._sealed.filter(pl.col(_BUCKET) == number).drop(_BUCKET)
        return pl.concat([*self._from_files(number), held])

    def _from_files(self, number: int) -> Iterator[pl.DataFrame]:
        for file, places in self._files:
            begin, count = places.get(number, (0, 0))
            if count:
                yield pl.scan_parquet(file, glob=False).slice(begin, count).drop(_BUCKET).collect()

    def _merged(self) -> pl.DataFrame:
        merged = pl.concat([self._empty, *self._held])
        return self._reduce(merged) if self._reduce else merged

    def _shrink(self) -> None:
        merged = self._merged()
        self._held, self._held_rows = [merged], len(merged)
        if len(merged) > HELD_ROWS // 2:
            self._write(merged)
            self._held, self._held_rows = [], 0

    def _write(self, merged: pl.DataFrame) -> None:
        rows = merged.with_columns(self._bucket).sort(_BUCKET, maintain_order=True)
        file = self._folder / f"{self._name}-{len(self._files)}.parquet"
        rows.write_parquet(file, compression="zstd", compression_level=1, statistics=False, row_group_size=_ROW_GROUP)
        lengths = rows.group_by(_BUCKET, maintain_order=True).len()
        begins = lengths["len"].cum_sum() - lengths["len"]
        places = dict(zip(lengths[_BUCKET], zip(begins, lengths["len"], strict=True), strict=True))
        self._files.append((file, places))

    def remove(self) -> None:
        """Delete the files."""
        for file, _ in self._files:
            file.unlink()
        self._files.clear()
