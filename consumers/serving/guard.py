"""What every answer goes through: limits on requests, security headers, problems in place of traces, meters."""

import time
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from consumers.serving.meters import Meters
from consumers.serving.problems import Problem, answer
from penstock.log import get_logger

MAX_QUERY = 8_000
MAX_PATH = 4_000

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """The outermost application. ``router`` may raise :class:`Problem` before it has answered."""

    def __init__(self, router: Router, meters: Meters) -> None:
        self._router: ASGIApp = router
        self._meters = meters
        self._headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        began, status = time.monotonic(), 0
        scope["app"] = self  # so that the router raises what it can't answer

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *self._headers]
            await send(message)

        try:
            await self._answered(scope, receive, guarded)
        except Exception:
            get_logger("serve").exception("a request failed", path=scope["path"][:200])
            if status:
                raise
            problem = Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "this is a bug; the server's log says what happened")
            await answer(problem)(scope, receive, guarded)
        finally:
            self._meters.request(self._route(scope), status, time.monotonic() - began)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            _check(scope)
            await self._router(scope, receive, send)
        except Problem as problem:
            await answer(problem)(scope, receive, send)
        except HTTPException as error:
            await answer(_explained(error, Request(scope)))(scope, receive, send)

    @staticmethod
    def _route(scope: Scope) -> str:
        """Return the route's declared path: the path itself has too many values for a label."""
        return str(getattr(scope.get("route"), "path", "other"))


def _check(scope: Scope) -> None:
    if len(scope["query_string"]) > MAX_QUERY or len(scope.get("raw_path") or b"") > MAX_PATH:
        raise Problem(
            HTTPStatus.REQUEST_URI_TOO_LONG, f"a path has at most {MAX_PATH:,} bytes, a query {MAX_QUERY:,}"
        )


def _explained(error: HTTPException, request: Request) -> Problem:
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = {"allow": ", ".join(sorted((error.headers or {}).get("Allow", "GET").split(", ")))}
        return Problem(error.status_code, f"{request.method[:20]} is not possible here: GET is", allowed)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return Problem(error.status_code, "there is nothing here; /api/openapi.json tells what there is")
    return Problem(error.status_code, error.detail, error.headers)
