"""JSON for the control API, paths that are not UTF-8 included.

Knows: msgspec, and what it refuses: a lone surrogate (U+DC80 to U+DCFF: a byte of a file name that is not UTF-8). Those
texts take the slower way through the standard library; all others the fast one. Must not know: routes, verbs.
"""

import json
from typing import TypeVar

import msgspec

T = TypeVar("T")


def encode_json(value: object) -> bytes:
    """Return `value` (struct, list, dict) as one line of JSON; lone surrogates are escaped as JSON escapes them."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(value), separators=(",", ":")).encode("ascii")


def decode_json(data: bytes, kind: type[T]) -> T:
    """Return `data` checked as `kind`.

    Raises:
        ValueError: not JSON, or not of that shape; the message names the field.

    """
    try:
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            value = json.loads(data)
            # Bytes of a name travel as surrogates; others stand for nothing that a file or a person could be called.
            json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogateescape")
            return convert_json(value, kind)
    except UnicodeEncodeError as exc:
        raise ValueError("a text has half a character in it") from exc
    except RecursionError as exc:
        raise ValueError("JSON is nested too deep") from exc


def convert_json(value: object, kind: type[T]) -> T:
    """Return already parsed JSON checked as `kind`.

    Raises:
        ValueError: not of that shape; the message names the field.

    """
    return msgspec.convert(value, kind)
