"""Certificates for parts of the testbed: an authority made for the occasion, and what it signed for 127.0.0.1."""

from __future__ import annotations

from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from testbed.processes import LOOPBACK


class Certificates:
    """Files in a folder: `ca` (who signed), `certificate` and `key` (PKCS 8) of the server 127.0.0.1, `both` in one.

    `stranger` is an authority that signed none of them.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.ca, self.stranger = folder / "ca.pem", folder / "stranger.pem"
        self.certificate, self.key, self.both = folder / "server.pem", folder / "server.key", folder / "both.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca))
        trustme.CA().cert_pem.write_to_path(str(self.stranger))
        issued = authority.issue_cert(LOOPBACK, "localhost")
        chain = b"".join(part.bytes() for part in issued.cert_chain_pems)
        key = load_pem_private_key(issued.private_key_pem.bytes(), password=None)
        text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.certificate.write_bytes(chain)
        for path, content in ((self.key, text), (self.both, text + chain)):
            path.touch(mode=0o600)
            path.write_bytes(content)
