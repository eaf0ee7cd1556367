"""The description of the API (OpenAPI 3.1), made of the endpoints' own declarations."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from consumers.serving import problems
from consumers.serving.endpoints import Endpoint, Parameter, reference

_ABOUT = """Read-only answers out of Penstock's views. Times are RFC 3339 in UTC; amounts are exact decimal texts, in
the currency of their orders. Lists come in pages: follow `next`. An `ETag` comes with each answer: `If-None-Match`
saves what did not change. Errors are RFC 9457 problem documents."""

_STREAM: dict[str, Any] = {
    "get": {
        "operationId": "stream",
        "summary": "What the live page shows, as Server-Sent Events: `snapshot`, then `delta` (JSON merge patches).",
        "parameters": [
            {
                "name": "Last-Event-ID",
                "in": "header",
                "description": "Go on behind this event, if it is recent; else a new snapshot comes.",
                "schema": {"type": "string", "maxLength": 200},
            }
        ],
        "responses": {
            "200": {"description": "Events until the client leaves.", "content": {"text/event-stream": {}}},
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }
}


def describe(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Return the OpenAPI document of ``endpoints`` and the stream."""
    schemas: dict[str, Any] = {"Problem": problems.SCHEMA}
    for endpoint in endpoints:
        schemas.update(endpoint.schemas)
    problem = {
        "description": "Why there is no answer.",
        "content": {problems.MEDIA_TYPE: {"schema": reference("Problem")}},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Penstock's views",
            "version": version("penstock"),
            "summary": "Orders, devices, metrics by window, letters and books.",
            "description": " ".join(_ABOUT.split()),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {**{endpoint.path: _path(endpoint) for endpoint in endpoints}, "/api/stream": _STREAM},
        "components": {"schemas": dict(sorted(schemas.items())), "responses": {"Problem": problem}},
    }


def _path(endpoint: Endpoint) -> dict[str, Any]:
    etag = {"ETag": {"schema": {"type": "string"}, "description": "For If-None-Match."}}
    responses = {
        "200": {
            "description": endpoint.about,
            "headers": etag,
            "content": {"application/json": {"schema": endpoint.answer}},
        },
        "304": {"description": "What If-None-Match names is still right.", "headers": etag},
        "400": {"$ref": "#/components/responses/Problem"},
        **({"404": {"$ref": "#/components/responses/Problem"}} if "{" in endpoint.path else {}),
        "503": {"$ref": "#/components/responses/Problem"},
        "default": {"$ref": "#/components/responses/Problem"},
    }
    return {
        "get": {
            "operationId": endpoint.operation,
            "summary": endpoint.about,
            "parameters": [_parameter(parameter) for parameter in endpoint.parameters],
            "responses": responses,
        }
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema = parameter.kind.schema
    if parameter.default is not None:
        schema = {**schema, "default": parameter.default}
    return {
        "name": parameter.name,
        "in": "path" if parameter.in_path else "query",
        "required": parameter.in_path,
        "description": parameter.about,
        "schema": schema,
    }
