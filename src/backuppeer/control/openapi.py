"""The OpenAPI document of the control API, generated from the routes.

Knows: OpenAPI 3.1, msgspec's schemas. Must not know: handlers. `python -m backuppeer.control.openapi` prints what
docs/control.openapi.json holds; a test keeps the two equal.
"""

import json
import sys
from typing import Any, Final

import msgspec

from backuppeer import __version__
from backuppeer.control.api import ConnectPlan, HostResult, PendingRequest
from backuppeer.control.events import Agreed, ErrorFile, ErrorResult, Event, EventName, Note, Progress, State
from backuppeer.control.routes import ROUTES, Route

EVENT_DATA: Final[dict[EventName, type[msgspec.Struct]]] = {
    EventName.ERROR: ErrorResult,
    EventName.PROGRESS: Progress,
    EventName.STATE: State,
    EventName.NOTE: Note,
    EventName.ERROR_FILE: ErrorFile,
    EventName.REQUEST: PendingRequest,
    EventName.OFFERED: HostResult,
    EventName.AGREED: Agreed,
}
"""What `data` holds, by event; `done` holds the route's result."""

_REFERENCES: Final = "#/components/schemas/{name}"


def build_openapi(version: str) -> dict[str, Any]:
    """Return the OpenAPI document of all routes, for the program's `version`."""
    kinds: list[Any] = [ErrorResult, Event, ConnectPlan, *EVENT_DATA.values()]
    for route in ROUTES.values():
        kinds += [route.request, route.result]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REFERENCES)
    by_kind = dict(zip(map(_key, kinds), schemas, strict=True))
    paths = {f"/v1/{name}": {"post": _operation(name, route, by_kind)} for name, route in ROUTES.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "BackupPeer control API", "version": version},
        "servers": [{"url": "http://localhost", "description": "the agent's Unix socket in the home"}],
        "paths": paths,
        "components": {"schemas": components},
    }


def _key(kind: object) -> str:
    return repr(kind)


def _operation(name: str, route: Route, by_kind: dict[str, dict[str, Any]]) -> dict[str, Any]:
    result = by_kind[_key(route.result)]
    if route.work:
        answer = {"application/x-ndjson": {"schema": _event_schema(result, by_kind)}}
        description = "JSON lines; the last is `done` or `error`"
    else:
        answer = {"application/json": {"schema": result}}
        description = "the result"
    return {
        "operationId": name.replace("/", "_"),
        "summary": route.summary,
        "requestBody": {"required": True, "content": {"application/json": {"schema": by_kind[_key(route.request)]}}},
        "responses": {
            "200": {"description": description, "content": answer},
            "default": {
                "description": "refused before any work; `code` is the command line's exit code",
                "content": {"application/json": {"schema": by_kind[_key(ErrorResult)]}},
            },
        },
    }


def _event_schema(done: dict[str, Any], by_kind: dict[str, dict[str, Any]]) -> dict[str, Any]:
    shapes = {EventName.DONE: done, **{name: by_kind[_key(kind)] for name, kind in EVENT_DATA.items()}}
    return {
        "oneOf": [
            {
                "type": "object",
                "properties": {"event": {"const": name.value}, "data": shape},
                "required": ["event"],
            }
            for name, shape in shapes.items()
        ]
    }


def render_openapi(version: str) -> str:
    """Return the document as it is kept in docs/control.openapi.json."""
    return json.dumps(build_openapi(version), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render_openapi(__version__))
