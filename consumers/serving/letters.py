"""Late events and dead letters: the lists, without the records' bytes, and one of them whole."""

from http import HTTPStatus
from typing import Any

from consumers.serving.endpoints import Arguments, Endpoint, Field, Parameter, record, reference, schema_of
from consumers.serving.kinds import Bytes, Choice, Said, Text, Time, Whole
from consumers.serving.look import Look
from consumers.serving.pages import Key, Listing
from consumers.serving.problems import Problem
from penstock.topics import SOURCES

_TOPICS = Choice(tuple(topic.name for topic in SOURCES))
_PLACE = (
    Field("topic", Said(), "Where the record came from.", "source_topic"),
    Field("partition", Whole(0), "", "source_partition"),
    Field("offset", Whole(0), "", "source_offset"),
    Field("topic_id", Said(), "Which topic of that name.", "source_topic_id"),
    Field("appended_at", Time(), "When the broker appended it.", "appended_at_ms"),
)
_LATE = (
    Field("event_id", Said()),
    Field("occurred_at", Time(), "Event time: its window was final already.", "occurred_at_ms"),
    Field("watermark", Time(), "What the partition's watermark was.", "watermark_ms"),
)
_DEAD = (
    Field("reason", Said(), "Why it can't be used, in a word."),
    Field("detail", Said(), "And in a sentence."),
)
_SIZE = (Field("value_bytes", Whole(0), "Size of its value.", "length(value)", nullable=True),)
_BYTES = (Field("key", Bytes(), nullable=True), Field("value", Bytes(), nullable=True))

_FILTERS = (
    Parameter("topic", _TOPICS, "Only from this topic.", "source_topic = :topic"),
    Parameter("partition", Whole(0, 1_000_000), "Only from this partition.", "source_partition = :partition"),
    Parameter("since", Time(), "Only appended at this time or later.", "appended_at_ms >= :since"),
    Parameter("until", Time(), "Only appended before this time.", "appended_at_ms < :until"),
)
_KEY = (
    Key("source_topic", str), Key("source_partition", int), Key("source_topic_id", str), Key("source_offset", int),
)  # fmt: skip


def _one(operation: str, name: str, about: str, view: str, fields: tuple[Field, ...]) -> Endpoint:
    path = f"/api/{view.replace('_', '-')}/{{topic}}/{{partition}}/{{offset}}"
    columns = ", ".join(item.source for item in fields)

    def read(look: Look, arguments: Arguments) -> dict[str, Any]:
        sql = (
            f"SELECT {columns} FROM {view} WHERE source_topic = :topic AND source_partition = :partition "  # noqa: S608
            "AND source_offset = :offset ORDER BY source_topic_id LIMIT 1"
        )
        asked = {name: arguments[name] for name in ("topic", "partition", "offset")}
        rows = look.rows(view, sql, asked)
        if not rows:
            place = "{topic}/{partition}@{offset}".format(**asked)
            raise Problem(HTTPStatus.NOT_FOUND, f"{view} holds no record from {place}")
        return record(fields, rows[0])

    place = (
        Parameter("topic", _TOPICS, "Where the record came from.", in_path=True),
        Parameter("partition", Whole(0, 1_000_000), "Its partition.", in_path=True),
        Parameter("offset", Whole(0, 1 << 62), "Its offset.", in_path=True),
    )
    return Endpoint(
        path, operation, about, place, reference(name), read, {name: schema_of(fields, about)}
    )


_LATE_ABOUT = "Events that came when their window was final, by their place in the log."
_DEAD_ABOUT = "Records that can't be used and why, by their place in the log."

ENDPOINTS = (
    Listing(
        "/api/late-events", "listLateEvents", "LateEvent", _LATE_ABOUT, "late_events", "late_events",
        (*_PLACE, *_LATE, *_SIZE), _FILTERS, _KEY,
    ).endpoint(),
    _one(
        "getLateEvent", "LateEventWhole", "A late event with its bytes.",
        "late_events", (*_PLACE, *_LATE, *_BYTES),
    ),
    Listing(
        "/api/dead-letters", "listDeadLetters", "DeadLetter", _DEAD_ABOUT, "dead_letters", "dead_letters",
        (*_PLACE, *_DEAD, *_SIZE),
        (*_FILTERS, Parameter("reason", Text(), "Only for this reason.", "reason = :reason")), _KEY,
    ).endpoint(),
    _one(
        "getDeadLetter", "DeadLetterWhole", "A dead letter with its bytes.",
        "dead_letters", (*_PLACE, *_DEAD, *_BYTES),
    ),
)  # fmt: skip
