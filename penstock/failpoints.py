"""Named points where a test can make a stage die or hang. Without ``PENSTOCK_FAILPOINTS`` one costs a look at a dict.

``PENSTOCK_FAILPOINTS=processors.after-send=kill@3`` kills the process (SIGKILL) when it passes that point for the
third time; ``=stop@3`` stops it (SIGSTOP); ``=hang@3`` blocks the thread that passes it for ever, and no other. Several
are separated by commas.
"""

import os
import signal
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Literal, cast, get_args

from penstock.errors import UsageError

POINTS = {  # who passes a point stands before the dot: the chaos test has a stage die at each of its own
    "processors.after-send": "results are handed to the client, none is known to be acknowledged",
    "processors.after-flush": "results are acknowledged, their offsets not yet committed",
    "processors.after-commit": "the offsets are committed",
    "consumers.before-database-commit": "rows and offsets are written, the transaction is open",
    "consumers.after-database-commit": "the transaction is committed, Kafka's offsets are not",
    "rebuild.before-swap-commit": "a rebuilt view is swapped in, or rolled back; the transaction is open",
    "rebuild.after-swap-commit": "the swap is committed, nothing is dropped yet",
}


Kind = Literal["kill", "stop", "hang"]


@dataclass(frozen=True)
class _Action:
    kind: Kind
    at: int


_armed: dict[str, _Action] = {}
_passed: Counter[str] = Counter()


def arm(setting: str) -> None:
    """Arm the points that ``setting`` names. Raises :class:`UsageError` for one that does not exist."""
    _armed.clear()
    _passed.clear()
    for entry in filter(None, setting.split(",")):
        point, _, action = entry.partition("=")
        kind, _, at = action.partition("@")
        if point not in POINTS or kind not in get_args(Kind) or not (at or "1").isdigit():
            raise UsageError(f"PENSTOCK_FAILPOINTS: {entry!r} is wrong: POINT=kill@N, one of {', '.join(POINTS)}")
        _armed[point] = _Action(cast("Kind", kind), int(at or "1"))


def failpoint(name: str) -> None:
    """Pass the point ``name``: where it is armed and its turn has come, die, stop or hang here."""
    action = _armed.get(name)
    if action is None:
        return
    _passed[name] += 1
    if _passed[name] != action.at:
        return
    if action.kind == "hang":
        threading.Event().wait()
    else:
        os.kill(os.getpid(), signal.SIGKILL if action.kind == "kill" else signal.SIGSTOP)
