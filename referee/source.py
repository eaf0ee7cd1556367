"""One source partition as the referee reads it: what all checks of it share."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """``topic`` is the logical name, ``position`` the processor's ``P``, [``start``, ``log_end``) the log that is read.

    ``whole_from_ms``: where the log's beginning is gone or not asked for, the start of the first pane that can be
    proved; else None.
    """

    topic: str
    topic_id: str
    partition: int
    start: int
    position: int
    log_end: int
    whole_from_ms: int | None = None
