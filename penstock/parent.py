"""Ending with the process that started this one."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel to send SIGTERM when the parent dies, where it can (Linux): no stage outlives its supervisor."""
    if os.environ.get("PENSTOCK_DIE_WITH_PARENT") != "true" or not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(signal.SIGTERM)
