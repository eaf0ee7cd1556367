"""The events of open panes: all that is held of a partition's log. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from penstock.metrics import metrics_of
from referee.fates import Settled, second_copies
from referee.log import PartitionLog

_SPINE = {"offset": pl.Int64, "pane": pl.Int64, "event_id": pl.String, "occurred_at": pl.Int64}


@dataclass(frozen=True)
class ClosedPanes:
    """The events of panes that are whole.

    ``applied``: a row an applied event, as :func:`referee.recompute.contributions` takes it; ``log``: their columns.
    ``copies`` are the offsets of duplicates. ``until_ms`` is the start of the first pane that is not among them; None:
    the log ends here. ``closes_at`` returns for pane starts the position at which each is final, null where it is open.
    """

    log: PartitionLog
    applied: pl.DataFrame
    copies: pl.Series
    until_ms: int | None
    closes_at: Callable[[pl.Series], pl.Series]


def columns_read(topic: str) -> dict[str, set[str]]:
    """Return the columns that the metrics of ``topic`` read, by record or array of a record."""
    read: dict[str, set[str]] = {}
    for metric in metrics_of(topic):
        for measure in metric.measures:
            record, _, array = measure.source.partition(".")
            names = {*metric.group, measure.column, measure.times, *([metric.sketch.column] if metric.sketch else [])}
            read.setdefault(record, set()).update(names)
            if array:
                read.setdefault(measure.source, set()).update(names)
    return read


class OpenPanes:
    """Events by pane, kept until their pane is closed."""

    def __init__(self, topic: str) -> None:
        self._read = columns_read(topic)
        self._pieces: list[tuple[pl.DataFrame, PartitionLog]] = []
        self.rows = 0

    def add(self, log: PartitionLog, judged: Settled) -> None:
        """Take the next piece of the log with its fates; second copies may be among the applied."""
        applied = judged.of("applied").select(list(_SPINE))
        if len(applied):
            self._keep(applied, log)

    def _keep(self, applied: pl.DataFrame, log: PartitionLog) -> None:
        own = PartitionLog(log.start, log.end, applied, self._narrow(log.records), self._narrow(log.items))
        self._pieces.append((applied, _only(own, applied)))
        self.rows += len(applied)

    def _narrow(self, frames: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
        return {
            name: frame.select("offset", *(column for column in frame.columns if column in self._read[name]))
            for name, frame in frames.items()
            if name in self._read
        }

    def close(self, until_ms: int | None, closes_at: Callable[[pl.Series], pl.Series]) -> ClosedPanes:
        """Give out the events of all panes that start below ``until_ms`` (None: of all), and forget them."""
        pieces, self._pieces, self.rows = self._pieces, [], 0
        spine = pl.concat([pl.DataFrame(schema=_SPINE), *(applied for applied, _ in pieces)])
        log = _joined(spine, [log for _, log in pieces])
        if until_ms is not None:
            rest = spine.filter(pl.col("pane") >= until_ms)
            if len(rest):
                self._pieces, self.rows = [(rest, _only(log, rest))], len(rest)
                spine = spine.filter(pl.col("pane") < until_ms)
                log = _only(log, spine)
        copies = second_copies(spine)
        if len(copies):
            spine = spine.filter(~pl.col("offset").is_in(copies.implode()))
        return ClosedPanes(log, spine, copies, until_ms, closes_at)


def _only(log: PartitionLog, chosen: pl.DataFrame) -> PartitionLog:
    """Return of a log what belongs to the offsets of ``chosen``."""
    offsets = chosen.select("offset")

    def kept(frames: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
        chosen = {n: frame.join(offsets, on="offset", how="semi", maintain_order="left") for n, frame in frames.items()}
        return {name: frame for name, frame in chosen.items() if len(frame)}

    return PartitionLog(log.start, log.end, chosen, kept(log.records), kept(log.items))


def _joined(spine: pl.DataFrame, logs: list[PartitionLog]) -> PartitionLog:
    def whole(parts: list[dict[str, pl.DataFrame]]) -> dict[str, pl.DataFrame]:
        names = dict.fromkeys(name for part in parts for name in part)
        return {name: pl.concat([part[name] for part in parts if name in part]) for name in names}

    records, items = whole([log.records for log in logs]), whole([log.items for log in logs])
    return PartitionLog(logs[0].start if logs else 0, logs[-1].end if logs else 0, spine, records, items)
