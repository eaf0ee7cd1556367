"""The rights that each stage needs on Kafka, from the declarations of the topics; nothing else is allowed to any.

Kafka's rights imply others: to read or to write a topic is to describe it, to read a group is to describe it.
"""

from typing import Literal, NamedTuple

from penstock.settings import Settings
from penstock.topics import SOURCES, TOPICS, Topic, group_id

Stage = Literal["producers", "processors", "consumers", "referee", "admin"]
STAGES: tuple[Stage, ...] = ("producers", "processors", "consumers", "referee", "admin")
"""``referee`` is whoever proves and explains, ``admin`` whoever runs ``penstock topics create``."""

Kind = Literal["topic", "group"]
Operation = Literal["read", "write", "create", "describe", "describe_configs"]

MADE = tuple(topic for topic in TOPICS if topic not in SOURCES)
"""What the processors write."""


class Acl(NamedTuple):
    """One right of one stage; ``prefixed``: on everything whose name begins with ``name``."""

    stage: Stage
    kind: Kind
    name: str
    operation: Operation
    prefixed: bool = False


def acls(settings: Settings) -> tuple[Acl, ...]:
    """Return all rights that the stages need, for the topic prefix and the pipeline version of ``settings``."""

    def topics(stage: Stage, operation: Operation, chosen: tuple[Topic, ...] = TOPICS) -> list[Acl]:
        return [Acl(stage, "topic", topic.full_name(settings), operation) for topic in chosen]

    def group(stage: Stage, operation: Operation, of: str) -> Acl:
        return Acl(stage, "group", group_id(settings, of), operation)

    results = tuple(topic for topic in TOPICS if topic.role == "results")
    return (
        *topics("producers", "write", SOURCES),
        *topics("processors", "read", SOURCES),
        *topics("processors", "read", results),  # what the results there are were built from, looked at once
        *topics("processors", "write", MADE),
        group("processors", "read", "processors"),
        *topics("consumers", "read"),
        # Who keeps some of the views has a group of its own, named after them.
        Acl("consumers", "group", f"{settings.topic_prefix}penstock-consumers", "read", prefixed=True),
        *topics("referee", "read"),
        group("referee", "describe", "processors"),  # the frontiers are in its commits
        group("referee", "describe", "referee"),  # librdkafka asks for the coordinator of a group that is never joined
        *topics("admin", "create"),
        *topics("admin", "describe"),
        *topics("admin", "describe_configs"),
    )


def default_principal(stage: Stage) -> str:
    """Return the user that a stage is unless somebody says otherwise."""
    return f"User:penstock-{stage}"
