"""Where to begin on a partition: what was committed, checked against the log. Pure."""

from dataclasses import dataclass

from penstock.errors import ProtectiveStop
from penstock.frontier import Frontier
from penstock.pipeline import NO_TIME, fingerprint


@dataclass(frozen=True)
class Restored:
    """The offset to read from (``R``), and the frontier to go on from."""

    read_from: int
    frontier: Frontier
    skip_torn_panes: bool = False


@dataclass(frozen=True)
class Found:
    """What the broker holds of a partition: the commit (None: never), the log's first offset and its end."""

    name: str
    topic_id: str
    committed: tuple[int, str] | None
    log_start: int
    log_end: int


def restore(found: Found, *, accept_trimmed_log: bool) -> Restored:
    """Return where to begin. Raises :class:`ProtectiveStop` where going on would lose or double something."""
    if found.committed is None:
        return _from_the_start(found, accept_trimmed_log=accept_trimmed_log)
    offset, metadata = found.committed
    frontier = Frontier.decode(metadata)
    if frontier.topic_id != found.topic_id:
        raise ProtectiveStop(
            f"{found.name} was recreated: the commit is of topic id {frontier.topic_id}, now it is {found.topic_id}; "
            "start a new PENSTOCK_PIPELINE_VERSION"
        )
    if frontier.fingerprint != fingerprint():
        raise ProtectiveStop(
            f"{found.name}: this build's rules have fingerprint {fingerprint()}, the commit was made under "
            f"{frontier.fingerprint}; a changed configuration is a new PENSTOCK_PIPELINE_VERSION"
        )
    if not found.log_start <= offset <= frontier.position <= found.log_end:
        raise ProtectiveStop(
            f"{found.name}: offsets {offset} to {frontier.position} are needed to go on, the log holds "
            f"{found.log_start} to {found.log_end}: input was lost; "
            "restore the topic, or start a new PENSTOCK_PIPELINE_VERSION"
        )
    return Restored(offset, frontier)


def _from_the_start(found: Found, *, accept_trimmed_log: bool) -> Restored:
    torn = found.log_start > 0
    if torn and not accept_trimmed_log:
        raise ProtectiveStop(
            f"{found.name}: nothing was committed and the log begins at {found.log_start}, not at 0: "
            "what came before is lost; "
            "set PENSTOCK_ACCEPT_TRIMMED_LOG=true to skip the panes that may have begun before it"
        )
    start = found.log_start
    frontier = Frontier(found.topic_id, start, start, NO_TIME, fingerprint())
    return Restored(start, frontier, skip_torn_panes=torn)
