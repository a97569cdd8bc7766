"""The OpenAPI document of the control API, generated from the routes.

Knows: OpenAPI 3.1, msgspec's schemas. Must not know: handlers. `python -m backuppeer.control.openapi` prints what
docs/control.openapi.json holds; a test keeps the two equal.
"""

import json
import sys
from typing import Any, Final

import msgspec

from backuppeer import __version__
from backuppeer.control.api import HostResult, PendingRequest
from backuppeer.control.choosing import ConnectPlan
from backuppeer.control.events import (
    Agreed,
    ErrorFile,
    ErrorResult,
    Event,
    EventName,
    Fault,
    More,
    Note,
    Progress,
    State,
)
from backuppeer.control.frames import MEDIA_TYPE
from backuppeer.control.inspection import DumpStart
from backuppeer.control.mounting import MountOpened
from backuppeer.control.routes import ROUTES, Route

EVENT_DATA: Final[dict[EventName, type[msgspec.Struct]]] = {
    EventName.ERROR: ErrorResult,
    EventName.PROGRESS: Progress,
    EventName.STATE: State,
    EventName.NOTE: Note,
    EventName.ERROR_FILE: ErrorFile,
    EventName.FAULT: Fault,
    EventName.REQUEST: PendingRequest,
    EventName.OFFERED: HostResult,
    EventName.AGREED: Agreed,
    EventName.OPENED: MountOpened,
}
"""What `data` holds, by event; `done` holds the route's result, `rows` a list of the route's rows."""
_FRAMES: Final = (
    "frames: kind (1 byte: 0 = an event, 1 = bytes), length (4 bytes, big-endian), then an event as JSON (its schema: "
    "x-events) or bytes, at most 1 MiB; the last frame is `done` or `error`: without one the bytes are not complete"
)
_FEED: Final = (
    "frames as in the answer of a bulk route: first the request as JSON in an event's frame (its schema: x-request), "
    "then bytes, a frame of at most 1 MiB for each piece that a `more` event asked for, at last the event `done`, or "
    "`error` when what feeds the stream failed; without either nothing is made of it"
)

_REFERENCES: Final = "#/components/schemas/{name}"


def build_openapi(version: str) -> dict[str, Any]:
    """Return the OpenAPI document of all routes, for the program's `version`."""
    kinds: list[Any] = [ErrorResult, Event, ConnectPlan, DumpStart, More, *EVENT_DATA.values()]
    for route in ROUTES.values():
        kinds += [route.request, route.result, *([route.rows] if route.rows else [])]
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
    description, answer = _answer(route, by_kind)
    return {
        "operationId": name.replace("/", "_"),
        "summary": route.summary,
        "requestBody": {"required": True, **_body(route, by_kind)},
        "responses": {
            "200": {"description": description, "content": answer},
            "default": {
                "description": "refused before any work; `code` is the command line's exit code",
                "content": {"application/json": {"schema": by_kind[_key(ErrorResult)]}},
            },
        },
    }


def _body(route: Route, by_kind: dict[str, dict[str, Any]]) -> dict[str, Any]:
    schema = by_kind[_key(route.request)]
    if not route.feed:
        return {"content": {"application/json": {"schema": schema}}}
    stream = {"type": "string", "format": "binary", "x-request": schema}
    return {"description": _FEED, "content": {MEDIA_TYPE: {"schema": stream}}}


def _answer(route: Route, by_kind: dict[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """Return what an answer is in words, and its content by media type."""
    if route.bulk:
        schema = {"type": "string", "format": "binary", "x-events": _event_schema(route, by_kind)}
        return _FRAMES, {MEDIA_TYPE: {"schema": schema}}
    if route.work or route.feed:
        lines = {"application/x-ndjson": {"schema": _event_schema(route, by_kind)}}
        return "JSON lines; the last is `done` or `error`", lines
    return "the result", {"application/json": {"schema": by_kind[_key(route.result)]}}


def _event_schema(route: Route, by_kind: dict[str, dict[str, Any]]) -> dict[str, Any]:
    shapes = {EventName.DONE: by_kind[_key(route.result)]}
    shapes |= {name: by_kind[_key(kind)] for name, kind in EVENT_DATA.items()}
    if route.bulk:
        shapes[EventName.START] = by_kind[_key(DumpStart)]
    if route.feed:
        shapes[EventName.MORE] = by_kind[_key(More)]
    if route.rows:
        row = by_kind[_key(route.rows)]
        properties = {"rows": {"type": "array", "items": row}}
        shapes[EventName.ROWS] = {"type": "object", "properties": properties, "required": ["rows"]}
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
