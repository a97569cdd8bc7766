"""Slips of the pen in settings, told by the key and the line they stand at.

Knows: how a key is named in a file of tables, and looks in its text. Must not know: which keys there are.
"""

import re
from typing import Final, TypeVar

import msgspec

from backuppeer.errors import UserError

T = TypeVar("T", bound=msgspec.Struct)
_PLACE: Final = re.compile(r" - at `\$\.?(?P<key>.*)`$")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<key>.*)`$", re.DOTALL)
_LACKING: Final = re.compile(r"Object missing required field `(?P<key>.*)`$", re.DOTALL)
_HEADER: Final = re.compile(r"\s*\[+(?P<key>[^\]]+)\]")
_ASSIGNED: Final = re.compile(r"""\s*(?P<key>[\w."' -]+?)\s*=""")
_SPLIT: Final = re.compile(r"[.: ]+")
_LISTED: Final = re.compile(r"\[[^\]]*\]")
"""Which of a list is meant: the line of the list is told."""
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


def convert(value: object, kind: type[T], key: str, source: str = "") -> T:
    """Return what was read as `kind`; `key`: where it stands, as in `sets.photos`, or "" for the whole file.

    source: the text that it was read from.

    Raises:
        UserError: it is none; the message names the key, and its line in the source.

    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as exc:
        error, at = _explain(str(exc), kind, key)
        raise say_line(error, source, at) from exc


def say_line(error: UserError, source: str, key: str) -> UserError:
    """Return an error about a key whose message begins with the line at which that stands, if it is found."""
    line = find_line(source, key)
    return UserError(f"line {line}: {error.message}", hint=error.hint) if line else error


def find_line(source: str, key: str) -> int:
    """Return the line, from 1, of a key such as `sets.photos.paths` in TOML; of the table around it; else 0.

    `sets.photos: …`, or `sets.photos` and more words, stand for the key that they begin with.
    """
    wanted = [part for part in _SPLIT.split(_LISTED.sub("", key)) if part]
    table: list[str] = []
    best, depth = 0, 0
    for number, text in enumerate(source.splitlines(), 1):
        if header := _HEADER.match(text):
            table = found = _read_key(header["key"])
        elif assigned := _ASSIGNED.match(text):
            found = [*table, *_read_key(assigned["key"])]
        else:
            continue
        if len(found) > depth and found == wanted[: len(found)]:
            best, depth = number, len(found)
    return best


def _read_key(text: str) -> list[str]:
    return [part.strip().strip("'\"") for part in text.split(".")]


def _explain(text: str, kind: type[msgspec.Struct], key: str) -> tuple[UserError, str]:
    """Return what is wrong in words, and the key it is about."""
    place = _PLACE.search(text)
    if place:
        text = text[: place.start()]
        key = ".".join(part for part in (key, place["key"]) if part)
    if found := _UNKNOWN.fullmatch(text):
        named = f"{found['key']} in {key}" if key else found["key"]
        error = UserError(f"unknown key {named}", hint=_list_keys(kind, place["key"] if place else ""))
        return error, f"{key}.{found['key']}"
    if found := _LACKING.fullmatch(text):
        return UserError(f"{key} has no {found['key']}", hint=f"write it below [{key}]"), key
    told = _KIND.sub(_name_kinds, text)
    return UserError(f"{key or 'the file'}: {told[:1].lower()}{told[1:]}", hint="mend the value"), key


def _name_kinds(found: re.Match[str]) -> str:
    kinds = [kind for kind in found["kinds"].split(" | ") if kind != "null"]
    return " or ".join(_KINDS.get(kind, kind) for kind in kinds)


def _list_keys(kind: type[msgspec.Struct], inner: str) -> str:
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    part = fields.get(inner)
    if isinstance(part, type) and issubclass(part, msgspec.Struct):
        fields = {field.name: field.type for field in msgspec.structs.fields(part)}
    return f"keys there are: {', '.join(fields)} (others may be of a newer version); mend the file"
