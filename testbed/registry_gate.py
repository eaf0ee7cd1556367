"""TLS and a password in front of the registry, as a reverse proxy has them in production.

Apicurio itself takes passwords only from an identity provider, so a proxy in front of it is what people run too.
"""

from __future__ import annotations

import base64
import secrets
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from testbed.certificates import Certificates
from testbed.processes import LOOPBACK, free_port, wait_until

METHODS = ("GET", "POST", "PUT", "DELETE")


class RegistryGate:
    """A proxy on 127.0.0.1 that speaks HTTPS, and passes on what comes with this name and password; else 401."""

    def __init__(self, registry_url: str, certificates: Certificates, name: str, password: str) -> None:
        target = urlsplit(registry_url)
        self.port = free_port()
        self.url = f"https://{LOOPBACK}:{self.port}{target.path}"
        self._expected = b"Basic " + base64.b64encode(f"{name}:{password}".encode())
        self._behind = httpx.Client(base_url=f"{target.scheme}://{target.netloc}", timeout=30.0, trust_env=False)
        config = uvicorn.Config(
            Starlette(routes=[Route("/{path:path}", self._pass_on, methods=METHODS)]),
            host=LOOPBACK, port=self.port, log_level="warning", lifespan="off",
            ssl_certfile=str(certificates.certificate), ssl_keyfile=str(certificates.key),
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="registry-gate", daemon=True)

    async def _pass_on(self, request: Request) -> Response:
        if not secrets.compare_digest(request.headers.get("authorization", "").encode(), self._expected):
            return Response(status_code=401, headers={"www-authenticate": "Basic"})
        kind = {name: value for name, value in request.headers.items() if name in ("content-type", "accept")}
        answer = self._behind.request(request.method, str(request.url.path), content=await request.body(), headers=kind)
        return Response(answer.content, answer.status_code, media_type=answer.headers.get("content-type"))

    def __enter__(self) -> Self:
        self._thread.start()
        wait_until(lambda: self._server.started, 30.0, "the registry's gate listens")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10.0)
        self._behind.close()
