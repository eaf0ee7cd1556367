"""Whose certificates are believed."""

import ssl
from pathlib import Path

from penstock.errors import UsageError


def trusted(setting: str, ca: Path | None) -> ssl.SSLContext | bool:
    """Return what an HTTP client takes to verify a server: the authority in file ``ca``, or (None) what is its default.

    Raises :class:`UsageError`, which names ``setting``, for a file that holds no certificate.
    """
    if ca is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca)
    except ssl.SSLError:
        raise UsageError(f"{setting}: {ca} holds no PEM certificate") from None
