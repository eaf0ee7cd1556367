"""Secrets from files: ``KAFKA_SASL_PASSWORD_FILE`` names the file that holds what ``KAFKA_SASL_PASSWORD`` would.

So secrets of Docker and Kubernetes need not pass through the environment, where every child process sees them.
"""

from collections.abc import Mapping
from pathlib import Path

from penstock.errors import UsageError

SUFFIX = "_FILE"
MAX_SECRET_BYTES = 65_536
"""More is no secret, but a wrong path."""


def value_of(environment: Mapping[str, str], name: str) -> str | None:
    """Return a variable by its name in upper or lower case; None when it is unset or empty."""
    return environment.get(name) or environment.get(name.lower()) or None


def secret_of(environment: Mapping[str, str], name: str) -> str | None:
    """Return what the file that ``NAME_FILE`` names holds, without its last line break; None when none is named.

    Raises :class:`UsageError` when ``NAME`` is set as well, and when the file can't be read, is empty or no text.
    """
    file_name = name + SUFFIX
    path = value_of(environment, file_name)
    if path is None:
        return None
    if value_of(environment, name) is not None:
        raise UsageError(f"{name} and {file_name} are both set: keep one of them")
    return _text_of(Path(path), file_name)


def _text_of(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{name}: can't read {path}: {error.strerror}") from None
    if len(content) > MAX_SECRET_BYTES:
        raise UsageError(f"{name}: {path} has more than {MAX_SECRET_BYTES} bytes: it is no secret")
    try:
        text = content.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise UsageError(f"{name}: {path} is no UTF-8 text") from None
    if not text or "\n" in text or "\0" in text:
        raise UsageError(f"{name}: {path} must hold one line: the secret")
    return text
