import json
from pathlib import Path

from backuppeer import __version__
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
