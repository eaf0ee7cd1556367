"""The live page: its files, read once, with their ETags, and compressed where that helps."""

import gzip
import mimetypes
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from consumers.serving.api import conditional
from consumers.serving.problems import Problem

_TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}


def page_routes() -> list[Route]:
    """Return the routes of the page and of all that it loads."""
    assets = dict(_assets(files("consumers.serving") / "static", ""))
    packed = {name: gzip.compress(body, mtime=0) for name, body in assets.items()}

    async def asset(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in assets:
            raise Problem(404, "there is no such file")
        dot = name.rfind(".")
        kind = _TYPES.get(name[dot:]) or mimetypes.guess_type(name)[0] or "text/plain"
        zipped = "gzip" in request.headers.get("accept-encoding", "") and len(packed[name]) < len(assets[name])
        response = conditional(request, (packed if zipped else assets)[name], kind)
        response.headers["vary"] = "accept-encoding"
        if zipped and response.status_code == 200:
            response.headers["content-encoding"] = "gzip"
        return response

    return [Route("/", asset, methods=["GET"]), Route("/static/{name:path}", asset, methods=["GET"])]


def _assets(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found = []
    for item in folder.iterdir():
        if item.is_dir():
            found += _assets(item, f"{prefix}{item.name}/")
        else:
            found.append((f"{prefix}{item.name}", item.read_bytes()))
    return found
