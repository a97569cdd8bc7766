"""The file of one request to remove packs, as removals.py keeps it for good.

Knows: bytes. Must not know: what follows from a request. What revives or withdraws packs, and deletes of earlier
versions, are as `kept` says; a delete has before that what the host measured when it was asked (hold.py).

    "BPREM03" 0x0A ‖ measures ‖ CRC-32 of these, u32be ‖ what `kept` joins, with its own first bytes

    measures = age of the store, held, held of old, took, took of old, each u64be, below 2^63
"""

import re
import struct
import zlib
from pathlib import Path
from typing import Final, NamedTuple

from backuppeer.errors import LocalError
from backuppeer.host.hold import Asked, Measure
from backuppeer.host.kept import FILE_BYTES, Kept, join_kept, split_kept

_MEASURED: Final = b"BPREM03\n"
_MEASURES: Final = struct.Struct(">5QI")
_LARGEST: Final = 2**63 - 1
_NAME: Final = re.compile(r"([0-9]{8})\.(delete|revive|withdraw)")
_HEAD_BYTES: Final = len(_MEASURED) + _MEASURES.size


class RemovalFile(NamedTuple):
    """What a file says. `asked`: of a delete, what was measured then; its number is that of the file."""

    kept: Kept
    asked: Asked | None = None


class RemovalName(NamedTuple):
    """What the name of a file says."""

    number: int
    kind: str

    def __str__(self) -> str:
        return f"{self.number:08d}.{self.kind}"


def parse_name(name: str) -> RemovalName | None:
    """Return what a name says; None for that of no such file."""
    match = _NAME.fullmatch(name)
    return RemovalName(int(match[1]), match[2]) if match else None


def join_removal(kept: Kept, asked: Asked | None = None) -> bytes:
    """Return the bytes of a file."""
    return (b"" if asked is None else _MEASURED + _join_measures(asked)) + join_kept(kept)


def read_removal(path: Path, number: int) -> RemovalFile:
    """Return what the file of request `number` says.

    Raises:
        LocalError: it is damaged.
        OSError: the disk refuses.

    """
    with path.open("rb") as file:
        data = file.read(_HEAD_BYTES + FILE_BYTES + 1)
    try:
        return split_removal(data, number)
    except ValueError as exc:
        raise LocalError(f"{path} is no request to delete packs") from exc


def split_removal(data: bytes, number: int) -> RemovalFile:
    """Return what `join_removal` joined.

    Raises:
        ValueError: it is anything else.

    """
    if not data.startswith(_MEASURED):
        return RemovalFile(split_kept(data))
    if len(data) < _HEAD_BYTES:
        raise ValueError
    return RemovalFile(split_kept(data[_HEAD_BYTES:]), _split_measures(data[len(_MEASURED) :], number))


def _join_measures(asked: Asked) -> bytes:
    measures = _MEASURES.pack(asked.age_s, *asked.held, *asked.took, 0)[:-4]
    return measures + zlib.crc32(measures).to_bytes(4, "big")


def _split_measures(data: bytes, number: int) -> Asked:
    age_s, *bytes_then, check = _MEASURES.unpack_from(data)
    # A flipped bit in the age would end all locks of the store: nobody's signature covers it.
    if check != zlib.crc32(data[: _MEASURES.size - 4]) or max(age_s, *bytes_then) > _LARGEST:
        raise ValueError
    return Asked(number, age_s, Measure(*bytes_then[:2]), Measure(*bytes_then[2:]))
