"""The signed successions by which a store's peer went on, beside its marker (ADR 69).

Knows: one small file. Must not know: whose words signed it: whoever reads it checks that. A home that is lost comes
back from the words as its first identity; what lies here leads it to the one that the marker names.
"""

import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from backuppeer.host.disk import replace_file, translate_failures
from backuppeer.host.layout import Layout
from backuppeer.limits import SIGNED_BYTES, SUCCESSION_STEPS

_FRONT: Final = b"BPLINE\r\n\x01"
_LENGTH: Final = struct.Struct(">H")
_FILE_BYTES: Final = len(_FRONT) + SUCCESSION_STEPS * (_LENGTH.size + SIGNED_BYTES)


def read_lineage(directory: Path) -> list[bytes]:
    """Return the signed successions that lie in a store, the oldest first; none where there are none, or damaged ones.

    Raises:
        StoreUnavailable: the disk refuses.

    """
    with translate_failures(directory):
        try:
            descriptor = os.open(Layout(directory).lineage, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return []
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(_FILE_BYTES + 1)
    return _split(data) if data.startswith(_FRONT) and len(data) <= _FILE_BYTES else []


def add_lineage(directory: Path, successions: Sequence[bytes]) -> None:
    """Keep signed successions, the oldest first, beside those that lie there; durable on return.

    Raises:
        StoreUnavailable: the disk refuses.

    """
    known = read_lineage(directory)
    if all(signed in known for signed in successions):
        return
    kept = list(dict.fromkeys([*known, *successions]))[-SUCCESSION_STEPS:]
    with translate_failures(directory):
        data = b"".join(_LENGTH.pack(len(signed)) + signed for signed in kept)
        replace_file(Layout(directory).lineage, _FRONT + data)


def _split(data: bytes) -> list[bytes]:
    found, at = list[bytes](), len(_FRONT)
    while at < len(data):
        start = at + _LENGTH.size
        if start > len(data):
            return []
        at = start + _LENGTH.unpack_from(data, at)[0]
        if at > len(data) or len(found) == SUCCESSION_STEPS:
            return []
        found.append(data[start:at])
    return found
