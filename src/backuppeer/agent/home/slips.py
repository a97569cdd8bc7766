"""Slips of the pen in settings, told by the key they stand at.

Knows: how a key is named in a file of tables. Must not know: which keys there are.
"""

import re
from typing import Final, TypeVar, get_args

import msgspec

from backuppeer.errors import UserError

T = TypeVar("T", bound=msgspec.Struct)
_PLACE: Final = re.compile(r" - at `\$\.?(?P<key>.*)`$")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<key>.*)`$", re.DOTALL)
_LACKING: Final = re.compile(r"Object missing required field `(?P<key>.*)`$", re.DOTALL)
_ADDRESS: Final = re.compile(r"://.*?(?= \(at line \d+, column \d+\)$|$)", re.DOTALL)
_KINDS: Final = {
    "array": "a list",
    "str": "text in quotes",
    "int": "a whole number",
    "bool": "true or false",
    "object": "a table",
    "float": "a number",
    "null": "nothing",
}
_KIND: Final = re.compile(r"`(?P<kinds>[a-z]+(?: \| [a-z]+)*)`")


def convert(value: object, kind: type[T], key: str) -> T:
    """Return what was read as `kind`; `key`: where it stands, as in `sets.photos`, or "" for the whole file.

    Raises:
        UserError: it is none; the message names the key.

    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as exc:
        raise _explain(str(exc), kind, key) from None  # its own words may hold an address with its password


def hide_address(text: str) -> str:
    """Return a text without the address that ends it, but for what comes before `://`: it may hold a password."""
    return _ADDRESS.sub("://***", text)


def _explain(text: str, kind: type[msgspec.Struct], key: str) -> UserError:
    place = _PLACE.search(text)
    if place:
        text = text[: place.start()]
        key = ".".join(part for part in (key, place["key"]) if part)
    if found := _UNKNOWN.fullmatch(text):
        named = hide_address(found["key"]) + (f" in {key}" if key else "")
        return UserError(f"unknown key {named}", hint=_list_keys(kind, place["key"] if place else ""))
    if found := _LACKING.fullmatch(text):
        return UserError(f"{key} has no {found['key']}", hint=f"write it below [{key}]")
    told = _KIND.sub(_name_kinds, text)
    return UserError(f"{key or 'the file'}: {told[:1].lower()}{told[1:]}", hint="mend the value")


def _name_kinds(found: re.Match[str]) -> str:
    kinds = [kind for kind in found["kinds"].split(" | ") if kind != "null"]
    return " or ".join(_KINDS.get(kind, kind) for kind in kinds)


def _list_keys(kind: type[msgspec.Struct], inner: str) -> str:
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    inner_type = fields.get(inner)
    for part in (inner_type, *get_args(inner_type)):  # a table that may be left out is a table or None
        if isinstance(part, type) and issubclass(part, msgspec.Struct):
            fields = {field.name: field.type for field in msgspec.structs.fields(part)}
    return f"keys there are: {', '.join(fields)} (others may be of a newer version); mend the file"
