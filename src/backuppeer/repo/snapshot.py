"""Snapshots: one finished backup's root, what it was of, and its counts (docs/format.md).

Knows: the fields. Must not know: how trees or packs look. A snapshot's id is the blob id (kind SNAPSHOT) of exactly
these bytes, so a decoded snapshot is never encoded again to be compared.
"""

from collections.abc import Iterable
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from backuppeer.errors import IntegrityFault, LocalError, NewerFormatError
from backuppeer.ids import SnapshotId
from backuppeer.limits import (
    BLOB_PLAIN_BYTES,
    CONTENT_BYTES,
    ENTRY_NAME_BYTES,
    EXTENSION_BYTES,
    SNAPSHOT_PATHS,
    SNAPSHOT_TAGS,
    SNAPSHOT_TEXT_CHARS,
)

_Octets = bytes  # the field named `bytes` would shadow the type inside the class
Buffer = bytes | bytearray | memoryview
VERSION: Final = 1
REPLACED: Final = "replaced-identity"
"""The tag of a snapshot that was made as an identity in whose place another goes on, and that the heir did not know:
perhaps by a thief. Nothing takes it for the latest, or compares files with it."""
_ID_BYTES: Final = 32
_INT64: Final = 2**63 - 1
_Text = Annotated[str, Meta(max_length=SNAPSHOT_TEXT_CHARS)]
_Count = Annotated[int, Meta(ge=0, le=_INT64)]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A finished backup; a msgpack map with these keys; only `parent` and `ext` may be missing.

    `tree`: n x 32 bytes, blob ids of the pieces of the root directory "/". `time_ns`: start of the backup, since
    1970. `paths`: absolute, as the file system's bytes. `set`: the backup set's name. `parent`: the snapshot it was
    compared with, 32 bytes or empty.
    """

    tree: Annotated[_Octets, Meta(min_length=_ID_BYTES, max_length=CONTENT_BYTES)]
    time_ns: Annotated[int, Meta(ge=-_INT64 - 1, le=_INT64)]
    paths: Annotated[
        list[Annotated[_Octets, Meta(min_length=1, max_length=ENTRY_NAME_BYTES)]], Meta(max_length=SNAPSHOT_PATHS)
    ]
    host: _Text
    user: _Text
    tags: Annotated[list[_Text], Meta(max_length=SNAPSHOT_TAGS)]
    set: _Text
    files: _Count
    dirs: _Count
    bytes: _Count
    program: _Text
    parent: Annotated[_Octets, Meta(max_length=_ID_BYTES)] = b""
    ext: dict[str, _Octets] = {}
    v: int = VERSION


class _Versioned(msgspec.Struct):
    v: int


_decoder: Final = msgspec.msgpack.Decoder(Snapshot)
_version_decoder: Final = msgspec.msgpack.Decoder(_Versioned)


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """Return the snapshot's bytes, the plaintext of its blob.

    Raises:
        LocalError: it says something that no reader would accept.

    """
    try:
        data = msgspec.msgpack.encode(snapshot)
        decode_snapshot(data)
    except (IntegrityFault, OverflowError, UnicodeEncodeError, msgspec.MsgspecError) as exc:
        raise LocalError(f"this snapshot can't be stored: {exc}") from exc
    return data


def decode_snapshot(data: Buffer) -> Snapshot:
    """Return the snapshot that `data` is.

    Raises:
        IntegrityFault: not a snapshot, of a newer version, or with fields unknown or out of range.

    """
    if len(data) > BLOB_PLAIN_BYTES:
        raise IntegrityFault(f"a snapshot of {len(data)} bytes is over the limit")
    try:
        version = _version_decoder.decode(data).v
        if version != VERSION:
            raise IntegrityFault(f"a snapshot has version {version}, this program knows {VERSION}")
        snapshot = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise IntegrityFault(f"a snapshot can't be decoded: {exc}") from exc
    if len(snapshot.tree) % _ID_BYTES or len(snapshot.parent) not in {0, _ID_BYTES}:
        raise IntegrityFault("a snapshot names blobs by ids that are not 32 bytes")
    if sum(len(k) + len(v) for k, v in snapshot.ext.items()) > EXTENSION_BYTES:
        raise IntegrityFault("a snapshot has too long extension fields")
    return snapshot


def decode_known(rows: Iterable[tuple[SnapshotId, bytes]]) -> list[tuple[SnapshotId, Snapshot]]:
    """Return the snapshots that encoded ones are, in their order; those of a newer version are left out.

    Raises:
        IntegrityFault: one is no snapshot.

    """
    kept = list(rows)
    newer = find_newer(kept)
    return [(name, decode_snapshot(body)) for name, body in kept if name not in newer]


def is_sound(data: Buffer) -> bool:
    """Tell whether bytes are a snapshot, of this version or a newer one.

    Whoever has the keys of a home can list what is none, and that is no fault of the host that keeps it.
    """
    if _version_of(data) > VERSION:
        return True
    try:
        decode_snapshot(data)
    except IntegrityFault:
        return False
    return True


def refuse_newer(name: SnapshotId, version: int) -> NewerFormatError:
    """Return the error for a snapshot that this program is too old for."""
    return NewerFormatError(
        f"snapshot {name.hex()[:8]} was made by a newer version (format {version}, this program knows {VERSION})",
        hint="install the newer backup-peer again; nothing was changed",
    )


def find_newer(rows: Iterable[tuple[SnapshotId, bytes]]) -> dict[SnapshotId, int]:
    """Return those of encoded snapshots that are of a newer version than this program reads, and which.

    They are whole and must be left as they are; `decode_snapshot` refuses them.
    """
    versions = {name: _version_of(body) for name, body in rows}
    return {name: version for name, version in versions.items() if version > VERSION}


def _version_of(data: Buffer) -> int:
    """Return the version that bytes claim to be of, 0 if they can't be read so far."""
    try:
        return _version_decoder.decode(data).v
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return 0
