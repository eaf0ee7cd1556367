"""One fate for every record, decided in offset order, before any metric sees it.

Pure: what it needs of the past is the largest event time so far and the event ids of the open panes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from penstock.avro import INDEX, Decoded, Rejection
from penstock.pipeline import ALLOWED_DISORDER_MS, MAX_AHEAD_MS, PANE_MS

HEARTBEAT = "Heartbeat"
PANE = "_pane"
NEWEST_BEFORE = "_newest_before"
_NOTHING_LATE = pl.DataFrame(
    schema={INDEX: pl.Int64, "event_id": pl.String, "occurred_at": pl.Int64, NEWEST_BEFORE: pl.Int64}
)
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Judged:
    """A batch's records by what can be said without the ids of the open panes.

    ``candidates`` (``_index``, ``event_id``, ``_pane``) are applied unless their id was seen in their pane; ``late``
    (``_index``, ``event_id``, ``occurred_at``, ``_newest_before``) and ``dead`` are settled. ``newest_ms`` is the
    largest event time behind the batch.
    """

    candidates: pl.DataFrame
    late: pl.DataFrame
    dead: list[Rejection]
    heartbeats: int
    newest_ms: int


def judge(decoded: Decoded, appended_ms: Sequence[int], newest_ms: int) -> Judged:
    """Decide what each record is, knowing the largest event time before the batch.

    ``appended_ms`` is the broker's append time by position. An event more than 5 min ahead of it is dead, and never
    moves time. Lateness is decided by the running maximum *before* each event.
    """
    # A query of Polars has a fixed cost, which a small batch feels: times are compared with NumPy, and a query is made
    # only where there is something to take out; columns are picked by df[[...]], which is none.
    events = _events(decoded)
    dead = list(decoded.rejections)
    index, times = events[INDEX].to_numpy(), events["occurred_at"].to_numpy()
    too_far = times > np.asarray(appended_ms, np.int64)[index] + MAX_AHEAD_MS
    if too_far.any():
        detail = f"its event time is more than {MAX_AHEAD_MS // 60_000} min ahead of its append time"
        dead += [Rejection(number, "ahead-of-time", detail) for number in index[too_far].tolist()]
        dead.sort()
        events, times = events.filter(~too_far), times[~too_far]
    panes, newest_before = times // PANE_MS * PANE_MS, _newest_before(times, newest_ms)
    heartbeat = events["_heartbeat"].to_numpy()
    late = (panes <= newest_before - (ALLOWED_DISORDER_MS + PANE_MS)) & ~heartbeat
    settled = late | heartbeat
    timed = events.hstack([pl.Series(PANE, panes), pl.Series(NEWEST_BEFORE, newest_before)])
    return Judged(
        candidates=(timed.filter(~settled) if settled.any() else timed)[[INDEX, "event_id", PANE]],
        late=timed.filter(late)[[INDEX, "event_id", "occurred_at", NEWEST_BEFORE]] if late.any() else _NOTHING_LATE,
        dead=dead,
        heartbeats=int(heartbeat.sum()),
        newest_ms=int(times.max(initial=newest_ms)),
    )


def _newest_before(times: Ints, newest_ms: int) -> Ints:
    """Return the largest event time before each event."""
    before: Ints = np.maximum.accumulate(np.append(newest_ms, times[:-1]))
    return before[: len(times)]


def _events(decoded: Decoded) -> pl.DataFrame:
    """Return index, id and time of all decoded records, in offset order."""
    frames = [
        frame[[INDEX, "event_id", "occurred_at"]].hstack(
            [pl.Series("_heartbeat", [name == HEARTBEAT]).new_from_index(0, len(frame))]
        )
        for name, frame in decoded.records.items()
    ]
    if not frames:
        types = {INDEX: pl.Int64, "event_id": pl.String, "occurred_at": pl.Int64, "_heartbeat": pl.Boolean}
        return pl.DataFrame(schema=types)
    return frames[0] if len(frames) == 1 else pl.concat(frames).sort(INDEX)


class SeenIds:
    """The event ids of the open panes: a duplicate has the same event time, and so the same pane, as its first copy."""

    def __init__(self) -> None:
        self._by_pane: dict[int, set[str]] = {}

    def first_copies(self, candidates: pl.DataFrame) -> pl.DataFrame:
        """Return ``candidates`` without the copies of what was seen, and remember the rest."""
        if candidates[PANE].n_unique() == 1:
            return self._first_of_pane(candidates[PANE][0], candidates)
        parts = candidates.partition_by(PANE, as_dict=True, maintain_order=True)
        kept = [self._first_of_pane(int(pane[0]), frame) for pane, frame in parts.items()]
        return pl.concat(kept).sort(INDEX) if kept else candidates

    def _first_of_pane(self, pane: int, frame: pl.DataFrame) -> pl.DataFrame:
        seen = self._by_pane.setdefault(pane, set())
        ids = frame["event_id"].to_list()
        if seen.isdisjoint(ids):
            before = len(seen)
            seen.update(ids)
            if len(seen) - before == len(ids):
                return frame
            return frame.unique("event_id", keep="first", maintain_order=True)
        # In columns (unique, then is_in) this was slower.
        fresh = [id_ not in seen and not seen.add(id_) for id_ in ids]  # type: ignore[func-returns-value]
        return frame.filter(pl.Series(fresh, dtype=pl.Boolean))

    def forget(self, pane: int) -> None:
        """Drop a pane that is final."""
        self._by_pane.pop(pane, None)


def longest_run(positions: Sequence[int], count: int, before: int) -> tuple[int, int]:
    """Return the longest run of neighbours among ``positions`` (ascending) of a batch of ``count``, and the one that
    reaches its end; one that begins at its front goes on from ``before``."""
    longest, run, next_position = 0, before, 0
    for position in positions:
        run = run + 1 if position == next_position else 1
        longest, next_position = max(longest, run), position + 1
    return longest, run if next_position == count else 0
