"""What tests of the command line share: a home with a scripted agent, fake terminals, a checker for schemas."""

import io
import json
from pathlib import Path
from typing import Any

from backuppeer.cli.schema import build_schema

SCHEMA = build_schema()


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class FakePipe(io.StringIO):
    def isatty(self) -> bool:
        return False


def check_output(verb: str, output: str) -> Any:
    """Return what a verb printed with --json, each line checked against the verb's schema."""
    lines = [json.loads(line) for line in output.splitlines()]
    for line in lines:
        check(line, SCHEMA["verbs"][verb])
    return lines


def check(value: Any, schema: dict[str, Any], where: str = "$") -> None:
    """Check the part of JSON Schema that the documents use; an unknown keyword is a failure of the test itself."""
    known = {"$ref", "type", "properties", "required", "items", "const", "oneOf", "anyOf", "title", "description"}
    known |= {"default", "additionalProperties"}
    assert set(schema) <= known, f"{where}: {set(schema) - known}"
    if "$ref" in schema:
        check(value, SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")], where)
    for keyword in ("oneOf", "anyOf"):
        if keyword in schema:
            fits = sum(_fits(value, option, where) for option in schema[keyword])
            assert fits == 1 if keyword == "oneOf" else fits, f"{where}: {value!r} fits {fits} of {keyword}"
    if "const" in schema:
        assert value == schema["const"], where
    if "type" in schema:
        _check_type(value, schema["type"], where)
    if isinstance(value, dict):
        _check_fields(value, schema, where)
    if isinstance(value, list) and "items" in schema:
        for number, part in enumerate(value):
            check(part, schema["items"], f"{where}[{number}]")


def _check_fields(value: dict[str, Any], schema: dict[str, Any], where: str) -> None:
    for name in schema.get("required", ()):
        assert name in value, f"{where}.{name} is missing"
    for name, part in value.items():
        if name in schema.get("properties", {}):
            check(part, schema["properties"][name], f"{where}.{name}")
        else:
            assert not schema.get("properties") or schema.get("additionalProperties"), f"{where}.{name} is unknown"


def _fits(value: Any, schema: dict[str, Any], where: str) -> bool:
    try:
        check(value, schema, where)
    except AssertionError:
        return False
    return True


def _check_type(value: Any, name: str, where: str) -> None:
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "number": (int, float)}
    right = value is None if name == "null" else isinstance(value, kinds[name])
    if name in {"integer", "number"}:
        right = right and not isinstance(value, bool)
    assert right, f"{where}: {value!r} is no {name}"


def identity_in(home: Path) -> None:
    """Make `home` look initialised."""
    (home / "keys").mkdir(parents=True)
    (home / "keys" / "working").write_bytes(b"BPWORK\r\n\x01" + bytes(4 + 32 + 32))
