"""The file of the last notice that one side of an agreement gave, as notices.py keeps it.

Knows: bytes. Must not know: what follows from a notice.

    "BPNOTE01" 0x0A ‖ given_s u64be ‖ due_s u64be ‖ CRC-32 of both, u32be
        ‖ u32be(length) ‖ signed notice ‖ u32be(length) ‖ signed grant ‖ u32be(length) ‖ signature of its device

    given_s, due_s: ages of the store; grant and signature are empty where the owner's own was enough
"""

import struct
import zlib
from typing import Final, NamedTuple

from backuppeer.limits import STATEMENT_BYTES

_MAGIC: Final = b"BPNOTE01\n"
_AGES: Final = struct.Struct(">2QI")
_LENGTH_BYTES: Final = 4
_HEAD_BYTES: Final = len(_MAGIC) + _AGES.size
_LARGEST: Final = 2**63 - 1
FILE_BYTES: Final = 4 * STATEMENT_BYTES
"""More than any such file has."""


class NoticeFile(NamedTuple):
    """What a file says. `given_s`: the store's age when the notice was taken; `due_s`: until when all is kept."""

    given_s: int
    due_s: int
    signed: bytes
    grant: bytes = b""
    device_sig: bytes = b""


def join_notice(file: NoticeFile) -> bytes:
    """Return the bytes of a file."""
    ages = _AGES.pack(file.given_s, file.due_s, 0)[:-4]
    parts = (len(part).to_bytes(_LENGTH_BYTES, "big") + part for part in (file.signed, file.grant, file.device_sig))
    return _MAGIC + ages + zlib.crc32(ages).to_bytes(4, "big") + b"".join(parts)


def split_notice(data: bytes) -> NoticeFile:
    """Return what `join_notice` joined.

    Raises:
        ValueError: it is anything else.

    """
    if not data.startswith(_MAGIC) or not _HEAD_BYTES <= len(data) <= FILE_BYTES:
        raise ValueError
    given_s, due_s, check = _AGES.unpack_from(data, len(_MAGIC))
    # A flipped bit in an age would end an agreement at once: nobody's signature covers it.
    if check != zlib.crc32(data[len(_MAGIC) : _HEAD_BYTES - 4]) or max(given_s, due_s) > _LARGEST:
        raise ValueError
    parts, rest = [], data[_HEAD_BYTES:]
    for _ in range(3):
        end = _LENGTH_BYTES + int.from_bytes(rest[:_LENGTH_BYTES], "big")
        if len(rest) < end or len(rest) < _LENGTH_BYTES:
            raise ValueError
        parts.append(rest[_LENGTH_BYTES:end])
        rest = rest[end:]
    if rest:
        raise ValueError
    return NoticeFile(given_s, due_s, *parts)
