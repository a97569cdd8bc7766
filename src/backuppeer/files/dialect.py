"""How names and paths are written on Linux, macOS and Windows: from what is stored to what can stand there.

Knows: what the three allow in a name, which names are one there. Must not know: which system this is (the platform is
passed in), snapshots, the disk.

Stored are names as bytes, the way Linux has them; of Windows in WTF-8, as Python's `os.fsencode` gives them there, so
that a lone surrogate survives. On Linux every function here is the identity. Elsewhere what a name can't have is
written `%XX`, and a `%` that would be read so is written `%25`: two names never become one by that. Names that are one
to the system all the same (case, accents) are told apart by `mark_name`.
"""

import os
import re
import sys
import unicodedata
from collections.abc import Container
from enum import StrEnum
from typing import Final
from zlib import crc32

from backuppeer.errors import UserError
from backuppeer.limits import NAME_UNITS

_KEPT_UNITS: Final = 200
"""What is kept of a longer one, before its mark."""
_FORBIDDEN: Final = frozenset('<>:"|?*\\' + "".join(map(chr, range(32))))
_DEVICES: Final = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"]
    + [f"{port}{number}" for port in ("COM", "LPT") for number in "123456789¹²³"]
)
"""Reserved in every folder, whatever stands behind a dot (Microsoft, "Naming Files, Paths, and Namespaces")."""
_DRIVE: Final = re.compile(r"([A-Za-z]):[\\/]")
_ESCAPE: Final = re.compile("%(?=[0-9A-Fa-f]{2})")
_HINT: Final = "name it whole, from its drive or server on"


class Platform(StrEnum):
    """Whose rules hold."""

    LINUX = "linux"
    MACOS = "macos"
    WINDOWS = "windows"


def this_platform(system: str = sys.platform) -> Platform:
    """Return the platform that `sys.platform` names; an unknown one is like Linux."""
    return {"darwin": Platform.MACOS, "win32": Platform.WINDOWS}.get(system, Platform.LINUX)


def store_path(path: str, platform: Platform) -> bytes:
    r"""Return an absolute path as it is stored: `C:\Users` is /C/Users, `\\server\share\a` is /UNC/server/share/a.

    Paths are text with surrogate escapes, of Windows with lone surrogates.

    Raises:
        UserError: on Windows, a path that is not absolute, or that no backup can mean (a device, a part of a name).

    """
    if platform is not Platform.WINDOWS:
        return os.fsencode(path)
    rest, is_verbatim = path, path.startswith("\\\\?\\")
    if is_verbatim:
        rest = path[4:]
        if rest[:4].upper() == "UNC\\":
            rest = "\\\\" + rest[4:]
    if drive := _DRIVE.match(rest):
        parts = [drive[1].upper(), *_split_windows(rest[3:], is_verbatim=is_verbatim)]
    elif rest[:2] in {"\\\\", "//"} and rest[2:3] not in {"\\", "/", ".", "?"}:
        parts = ["UNC", *_split_windows(rest[2:], is_verbatim=is_verbatim)]
        if len(parts) < 3:
            raise UserError(f"not a share: {path[:80]!r}", hint=r"\\server\share\folder")
    else:
        raise UserError(f"not an absolute path: {path[:80]!r}", hint=_HINT)
    if any(part in {".", ".."} or _FORBIDDEN & set(part) for part in parts):
        raise UserError(f"not the path of a file: {path[:80]!r}", hint=_HINT)
    return "/".join(["", *parts]).encode("utf-8", "surrogatepass")


def _split_windows(text: str, *, is_verbatim: bool) -> list[str]:
    r"""Return the components as Windows sees them: without trailing dots and spaces, but behind `\\?\`."""
    parts = re.split(r"\\" if is_verbatim else r"[\\/]", text)
    cut = [part if is_verbatim or part in {".", ".."} else part.rstrip(". ") for part in parts]
    return [part for part in cut if part]


def write_name(name: bytes, platform: Platform) -> bytes:
    """Return the name that an entry stored as `name` gets there; different names stay different."""
    if platform is Platform.LINUX:
        return name
    text = _escape(*_decode(name, platform), platform)
    if platform is Platform.WINDOWS:
        text = _avoid_devices(text)
        if text[-1] in ". ":
            # Windows drops them, so that another file would be meant.
            text = f"{text[:-1]}{_percent(text[-1])}"
    return mark_name(name, platform) if _measure(text, platform) > NAME_UNITS else _encode(text)


def mark_name(name: bytes, platform: Platform) -> bytes:
    """Return another name for an entry, with a mark made of its stored name: where the first is taken, or too long."""
    text = _avoid_devices(_escape(*_decode(name, platform), platform))
    kept = text[: _KEPT_UNITS // (4 if platform is Platform.MACOS else 2)] if _is_long(text, platform) else text
    # The mark makes neither a device nor a name that ends with a dot.
    return _encode(f"{kept.rstrip('. ')}~{crc32(name):08x}")


def fold_name(name: bytes, platform: Platform) -> bytes:
    """Return what is equal for names that are one on that platform: on macOS and Windows whatever their case."""
    if platform is Platform.LINUX:
        return name
    text = name.decode("utf-8", "surrogatepass")
    if platform is Platform.MACOS:
        decomposed = unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())
        return decomposed.encode("utf-8", "surrogatepass")
    # One sign for one sign, as NTFS does: ß is not SS.
    return "".join(upper if len(upper := sign.upper()) == 1 else sign for sign in text).encode("utf-8", "surrogatepass")


def choose_name(name: bytes, taken: Container[bytes], platform: Platform) -> bytes | None:
    """Return the name that an entry gets in a folder; None: there is none left. `taken`: folded names of the others."""
    for chosen in (write_name(name, platform), mark_name(name, platform)):
        if fold_name(chosen, platform) not in taken:
            return chosen
    return None


def write_path(path: bytes, platform: Platform) -> bytes:
    """Return a stored path (components joined by `/`) with every name as it is written there."""
    if platform is Platform.LINUX or not path:
        return path
    return b"/".join(write_name(name, platform) for name in path.split(b"/"))


def _decode(name: bytes, platform: Platform) -> tuple[str, bool]:
    """Return the text of a name, and whether surrogates in it stand for bytes that are none."""
    if platform is Platform.WINDOWS:
        try:
            return name.decode("utf-8", "surrogatepass"), False
        except UnicodeDecodeError:
            pass
    return name.decode("utf-8", "surrogateescape"), True


def _escape(text: str, has_bytes: bool, platform: Platform) -> str:  # noqa: FBT001 - as `_decode` returns it
    text = _ESCAPE.sub("%25", text)
    if platform is Platform.WINDOWS:
        text = "".join(_percent(sign) if sign in _FORBIDDEN else sign for sign in text)
    if has_bytes:
        text = "".join(f"%{ord(sign) - 0xDC00:02X}" if "\udc80" <= sign <= "\udcff" else sign for sign in text)
    return text


def _avoid_devices(text: str) -> str:
    stem = text.partition(".")[0]
    bare = stem.rstrip(" ")
    if bare.upper() not in _DEVICES:
        return text
    return f"{bare[:-1]}{_percent(bare[-1])}{text[len(bare) :]}"


def _percent(sign: str) -> str:
    return "".join(f"%{byte:02X}" for byte in sign.encode())


def _is_long(text: str, platform: Platform) -> bool:
    return _measure(text, platform) > _KEPT_UNITS


def _measure(text: str, platform: Platform) -> int:
    if platform is Platform.MACOS:
        return len(_encode(text))
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
