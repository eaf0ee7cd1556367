"""Explaining a late event or a dead letter: the record at its place in the log, and why it has this fate."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from penstock.errors import UsageError
from penstock.kafka import check_same_topic
from penstock.pipeline import ALLOWED_DISORDER_MS, MAX_AHEAD_MS, PANE_MS
from penstock.topics import BY_NAME, SOURCES
from referee.explain_context import Context, Stretch
from referee.explain_question import LetterQuestion, time_text
from referee.explanation import ABSENT, EVENT, Explanation, Line
from referee.fates import Settled
from referee.log import PartitionLog
from referee.snapshot import equal

_RAISED = "its pane"


def explain_letter(asked: LetterQuestion, at: Context) -> Explanation:
    """Return the explanation of the record at one offset, beside the letter that the view keeps.

    Raises UsageError for a place that the log does not have, if the view keeps nothing of it either.
    """
    topic = _topic(asked, at)
    if (topic, asked.partition) not in at.cut.frontiers:
        count = len(at.partitions(topic))
        raise UsageError(f"--key source_partition={asked.partition}: {topic} has {count} partitions")
    key = {"source_topic": topic, "source_partition": asked.partition, "source_offset": asked.offset}
    found = Explanation(asked.view, key, None, pl.DataFrame(schema=EVENT), ())
    row = _row(asked, at, topic)
    stretch = at.stretch(topic, asked.partition, asked.offset + 1, _needed_from_ms(asked, row))
    if not stretch.low <= asked.offset < stretch.high:
        if row is None:
            raise UsageError(
                f"--key source_offset={asked.offset}: the log of {topic}/{asked.partition} holds [{stretch.low:,}, "
                f"{stretch.high:,}); {_there(asked, at, topic)}"
            )
        found.notes.append(f"the log holds only [{stretch.low:,}, {stretch.high:,}): it can't be proved any more")
        found.lines = [Line("record", "source_offset", ABSENT, asked.offset)]
        return found
    if row is None:
        found.notes.append(f"{asked.view} keeps no letter of it; {_there(asked, at, topic)}")
    elif row.get("detail"):
        found.notes.append(f"as it was dead-lettered: {row['detail']}")
    record = _record(asked, at, found, stretch)
    if not _is_as_said(asked, row, record):
        # What the letter says may be what is wrong: then it does not tell where to begin to read.
        found.reads.clear()
        found.notes = [note for note in found.notes if not note.startswith(_RAISED)]
        record = _record(asked, at, found, at.stretch(topic, asked.partition, asked.offset + 1))
    found.lines = list(_lines(asked, row, record, at.cut.frontiers[topic, asked.partition].position))
    return found


def _topic(asked: LetterQuestion, at: Context) -> str:
    """Return the logical name of the topic, which may be asked for by its id."""
    ids = {topic.name: at.cut.topic_ids[topic.name] for topic in SOURCES}
    full = {topic.full_name(at.settings): topic.name for topic in SOURCES}
    if asked.topic in ids or asked.topic in full:
        return asked.topic if asked.topic in ids else full[asked.topic]
    for name, topic_id in ids.items():
        if asked.topic == topic_id:
            check_same_topic(name, asked.topic, ids)
            return name
    raise UsageError(f"--key source_topic={asked.topic}: there are {', '.join(ids)} (or a topic's id)")


def _place(asked: LetterQuestion, at: Context, topic: str) -> dict[str, Any]:
    topic_id = at.cut.topic_ids[BY_NAME[topic].name]
    return {"source_topic_id": topic_id, "source_partition": asked.partition}


def _row(asked: LetterQuestion, at: Context, topic: str) -> dict[str, Any] | None:
    where = equal({**_place(asked, at, topic), "source_offset": asked.offset})
    columns = asked.letters.columns | ({"detail": pl.String} if asked.letters.fate == "dead" else {})
    table = at.snapshot.table_name(asked.view)
    return next((frame.row(0, named=True) for frame in at.snapshot.batches(table, columns, where)), None)


def _needed_from_ms(asked: LetterQuestion, row: dict[str, Any] | None) -> int | None:
    """Return from which time on events are needed to tell this fate; None: from the beginning."""
    if row is None:
        return None
    if asked.letters.fate == "dead":
        return int(row["appended_at"]) + MAX_AHEAD_MS  # the record itself says it
    # Whatever was appended earlier than this can't have raised M to where the letter says it was.
    return None if row["watermark"] is None else int(row["watermark"]) + ALLOWED_DISORDER_MS


def _is_as_said(asked: LetterQuestion, row: dict[str, Any] | None, record: dict[str, Any]) -> bool:
    """Return whether the record has the fate of the letter, for the same reason."""
    if row is None or record["fate"] != asked.letters.fate:
        return row is None
    return record["fate"] != "late" or bool(record["watermark"] == row["watermark"])


def _record(asked: LetterQuestion, at: Context, found: Explanation, stretch: Stretch) -> dict[str, Any]:
    """Return the record, as the log has it; its event is the explanation's only one."""
    end = asked.offset + 1
    until = Stretch(
        stretch.topic, stretch.partition, min(stretch.start, asked.offset), end, stretch.low, stretch.high,
        stretch.torn, stretch.gone,
    )  # fmt: skip
    raised: list[tuple[int, int]] = []

    def pick(_: PartitionLog, judged: Settled) -> pl.DataFrame:
        before = judged.frame.filter(pl.col("offset") < asked.offset)
        raising = before.filter(pl.col("newest") > pl.col("newest_before")).select("offset", "newest").tail(1)
        raised.extend(raising.iter_rows())
        here = judged.frame.filter(pl.col("offset") == asked.offset)
        watermark = (pl.col("newest_before") - ALLOWED_DISORDER_MS).alias("watermark")
        return here.select("offset", watermark, "key_hash", "value_hash")

    at.progress.begin(until.end - until.start)
    walk, _ = at.walk(until, pick)
    found.reads.append(until.read_to(walk.end))
    events = walk.events()
    if events is None:
        raise UsageError(f"--key source_offset={asked.offset}: no record stands there (an offset without one)")
    record = events.row(0, named=True)
    found.events = events.select(list(EVENT))
    if record["fate"] == "late" and raised:
        offset, newest_ms = raised[-1]
        pane = record["occurred_at"] - record["occurred_at"] % PANE_MS
        found.notes.append(
            f"{_RAISED} [{time_text(pane)}, {time_text(pane + PANE_MS)}) was final: offset {offset:,} had raised the "
            f"newest time to {time_text(newest_ms)}, so the watermark to {time_text(newest_ms - ALLOWED_DISORDER_MS)}"
        )
    return record


def _lines(
    asked: LetterQuestion, row: dict[str, Any] | None, record: dict[str, Any], position: int
) -> Iterator[Line]:
    settled = asked.offset < position
    fate = record["fate"] if settled or row else f"{record['fate']} (not settled yet)"
    in_view = asked.letters.fate if row else ABSENT
    yield Line("record", "fate", fate if record["fate"] == asked.letters.fate or row else ABSENT, in_view)
    if row is None:
        return
    log = record | {"source_topic": record["topic"], "source_offset": record["offset"], "reason": record["why"]}
    for name in ("source_topic", "appended_at", *(name for name, _ in asked.letters.own)):
        yield Line("record", name, log[name], row[name])
    for name in ("key", "value"):
        same = hash(row[name]) == record[f"{name}_hash"]
        size = "none" if row[name] is None else f"{len(row[name]):,} bytes"
        yield Line("record", name, size if same else "other bytes", size)


def _there(asked: LetterQuestion, at: Context, topic: str) -> str:
    """Say which letters the view keeps of this partition."""
    bounds = {"min(source_offset)": pl.Int64, "max(source_offset)": pl.Int64}
    (found,) = at.snapshot.batches(at.snapshot.table_name(asked.view), bounds, equal(_place(asked, at, topic)))
    first, last = found.row(0)
    where = f"{topic}/{asked.partition}"
    return f"it keeps none of {where}" if first is None else f"those of {where} are from offset {first:,} to {last:,}"
