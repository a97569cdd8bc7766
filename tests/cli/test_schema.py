from pathlib import Path

from backuppeer.cli.main import VERBS
from backuppeer.cli.schema import build_schema, render_schema

DOCUMENT = Path(__file__).parents[2] / "docs" / "cli.schema.json"


def test_the_document_in_docs_is_up_to_date():
    again = "python -m backuppeer.cli.schema > docs/cli.schema.json"
    assert DOCUMENT.read_text() == render_schema(), f"run: {again}"


def test_every_verb_has_a_schema():
    described = {verb.split()[0] for verb in build_schema()["verbs"]}
    assert described == set(VERBS)
