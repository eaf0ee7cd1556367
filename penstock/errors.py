"""The exceptions of Penstock, by fate, and the exit codes that they end in.

* ``PenstockError``            any failure that Penstock explains in one line (exit 1)

  * ``UsageError``             a wrong setting or argument (exit 2)
  * ``Unavailable``            the broker, registry or database is away: retry, nothing is lost (exit 3)

    * ``GaveUpWaiting``        a one-shot command waited for its whole ``--timeout``
    * ``Refused``              it answers, and turns us away: a stage waits, a one-shot command ends at once (exit 2)

  * ``ProtectiveStop``         a promise is broken: stop, commit nothing more (exit 4)

A record that can't be used is no exception: it is a ``penstock.avro.Rejection``, and is dead-lettered.

Every message names the thing, the value, and what to do.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a ``penstock`` command ends with."""

    OK = 0
    FAILED = 1
    USAGE = 2
    GAVE_UP = 3
    STOPPED = 4


class PenstockError(Exception):
    """A failure that is explained in one line; the base of all of Penstock's exceptions."""

    exit_code = ExitCode.FAILED


class UsageError(PenstockError):
    """A setting or an argument is wrong; the message names it and what it may be."""

    exit_code = ExitCode.USAGE


class Unavailable(PenstockError):
    """The broker, registry or database does not answer now. Trying again is safe and right; who does not gives up."""

    exit_code = ExitCode.GAVE_UP


class GaveUpWaiting(Unavailable):
    """A one-shot command's ``--timeout`` passed while a part was away."""


class Refused(Unavailable):
    """A part turns us away (a wrong password), or we it (a certificate that does not verify): some setting is wrong,
    here or there. A stage goes on trying, not ready; a one-shot command does not wait."""

    exit_code = ExitCode.USAGE


class ProtectiveStop(PenstockError):
    """A promise is broken (input lost, topic recreated, impossible state): nothing more is committed."""

    exit_code = ExitCode.STOPPED
