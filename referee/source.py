"""One source partition as the referee has read it: what all checks of it share."""

from dataclasses import dataclass

from referee.fates import Settled
from referee.log import PartitionLog


@dataclass(frozen=True)
class Source:
    """``topic`` is the logical name, ``position`` the processor's ``P``, ``log_end`` the log's end.

    ``whole_from_ms``: where the log's beginning is gone, the start of the first pane that can be proved; else None.
    """

    topic: str
    topic_id: str
    partition: int
    log: PartitionLog
    settled: Settled
    position: int
    log_end: int
    whole_from_ms: int | None = None
