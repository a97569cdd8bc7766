"""Names as terminals show them, read back: a path that `ls` printed can be pasted.

Knows: the escapes of cli.render.escape_name (two backslashes, x and two hex digits, u and four, U and eight). Must not
know: terminals, trees. Every name has just one such form, and no two names share one.
"""

import os
import re
from typing import Final

_ESCAPE: Final = re.compile(r"\\(?:(\\)|x([89a-f][0-9a-f])|u([0-9a-f]{4})|U([0-9a-f]{8}))|(\\)")
_BYTE: Final = 0xDC00
"""What Python adds to a byte that is no UTF-8, to carry it in text (surrogateescape)."""
_LAST: Final = 0x10FFFF


def read_escaped(name: bytes) -> bytes | None:
    """Return the name that is shown as `name`; None when there is nothing to read back, or no name is shown so."""
    if b"\\" not in name:
        return None
    try:
        return os.fsencode(_ESCAPE.sub(_unescape, os.fsdecode(name)))
    except ValueError:
        return None


def _unescape(found: re.Match[str]) -> str:
    backslash, byte, short, long, lonely = found.groups()
    if lonely:
        raise ValueError("a backslash that stands for nothing")
    if backslash:
        return "\\"
    if byte:
        return chr(_BYTE + int(byte, 16))
    code = int(short or long, 16)
    if not 0 < code <= _LAST:
        raise ValueError("no character")
    return chr(code)
