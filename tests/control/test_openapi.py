import json
from pathlib import Path

from backuppeer import __version__
from backuppeer.control.frames import MEDIA_TYPE
from backuppeer.control.openapi import build_openapi, render_openapi
from backuppeer.control.routes import ROUTES

DOCUMENT = Path(__file__).parents[2] / "docs" / "control.openapi.json"


def test_the_document_in_docs_is_up_to_date():
    again = "python -m backuppeer.control.openapi > docs/control.openapi.json"
    assert DOCUMENT.read_text() == render_openapi(__version__), f"run: {again}"


def test_every_route_is_described():
    assert set(build_openapi(__version__)["paths"]) == {f"/v1/{name}" for name in ROUTES}


def test_every_reference_leads_somewhere():
    document = build_openapi(__version__)
    names = set(document["components"]["schemas"])
    text = json.dumps(document)
    parts = text.split('"$ref": "#/components/schemas/')[1:]
    assert parts
    assert {part.partition('"')[0] for part in parts} <= names


def test_bulk_routes_tell_frames_and_work_routes_their_rows():
    paths = build_openapi(__version__)["paths"]
    (media, content), *others = paths["/v1/dump"]["post"]["responses"]["200"]["content"].items()
    assert (media, others) == (MEDIA_TYPE, [])
    told = {shape["properties"]["event"]["const"] for shape in content["schema"]["x-events"]["oneOf"]}
    assert {"start", "done", "error", "progress"} <= told
    assert "rows" not in told
    lines = paths["/v1/find"]["post"]["responses"]["200"]["content"]["application/x-ndjson"]["schema"]["oneOf"]
    (rows,) = (shape for shape in lines if shape["properties"]["event"]["const"] == "rows")
    assert rows["properties"]["data"]["properties"]["rows"]["items"] == {"$ref": "#/components/schemas/FindRow"}
