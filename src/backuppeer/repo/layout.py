"""The bytes of a pack that are not blobs: header, directory, footer, and how long a pack is (docs/format.md).

Knows: fields and their checks. Must not know: keys, sealing, blobs' content. Everything here is pure.
"""

import struct
from dataclasses import dataclass
from typing import Final

import msgspec

from backuppeer.crypto.seal import TAG_BYTES, Suite, suite_from_byte
from backuppeer.errors import IntegrityFault, NewerFormatError
from backuppeer.ids import BlobId, LogicalId, RepositoryId
from backuppeer.limits import BLOB_PLAIN_BYTES, PACK_BLOBS, PACK_MIN_BYTES, PACK_TARGET_BYTES
from backuppeer.repo.blob import BlobKind, Codec

Buffer = bytes | bytearray | memoryview

MAGIC: Final = b"BPPACK\r\n"
"""The line end shows a transfer in text mode at once."""
VERSION: Final = 1
SALT_BYTES: Final = 32
SLOT_PADDING: Final = 0xFFFFFFFD
SLOT_DIRECTORY: Final = 0xFFFFFFFE
SLOT_FOOTER: Final = 0xFFFFFFFF
LENGTH_STEP_BYTES: Final = 8 * 1024
"""Every pack length is a multiple of this (Padmé's step at 256 KiB), so footer and last header share a leaf."""

_HEADER: Final = struct.Struct(">8sBBHI16s32s")
_FOOTER: Final = struct.Struct(">IIQI12x")
_DIRECTORY: Final = struct.Struct(">B16sI")
_ENTRY: Final = struct.Struct(">BBII32s")
HEADER_BYTES: Final = _HEADER.size
FOOTER_SEALED_BYTES: Final = _FOOTER.size + TAG_BYTES
END_BYTES: Final = FOOTER_SEALED_BYTES + HEADER_BYTES
"""What follows the directory: sealed footer and the header again."""
ENTRY_BYTES: Final = _ENTRY.size
_KINDS: Final = {int(kind): kind for kind in BlobKind}
_CODECS: Final = {int(codec): codec for codec in Codec}


@dataclass(frozen=True, slots=True)
class Header:
    """The clear 64 bytes at both ends of a pack; `raw` is exactly what every seal in it authenticates."""

    suite: Suite
    generation: int
    repository: RepositoryId
    salt: bytes
    raw: bytes


class Entry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One blob of a pack: where its sealed bytes lie and what they open to.

    A msgspec struct because thousands are made at once: a quarter of a frozen dataclass's time, and no work for
    the garbage collector.
    """

    blob: BlobId
    kind: BlobKind
    codec: Codec
    slot: int
    offset: int
    sealed_bytes: int
    plain_bytes: int


@dataclass(frozen=True, slots=True)
class Footer:
    """Where the directory is; `pack_bytes` binds the length of the copy."""

    directory_offset: int
    directory_bytes: int
    pack_bytes: int
    count: int


@dataclass(frozen=True, slots=True)
class Directory:
    """An opened pack's table of contents."""

    logical: LogicalId
    header: Header
    entries: tuple[Entry, ...]


def encode_header(*, suite: Suite, generation: int, repository: RepositoryId, salt: bytes) -> bytes:
    """Return the 64 bytes of a header; `repository`: 16 bytes, `salt`: 32 bytes."""
    return _HEADER.pack(MAGIC, VERSION, suite, 0, generation, repository, salt)


def parse_header(data: Buffer) -> Header:
    """Return the header that the first 64 bytes of `data` are.

    Raises:
        IntegrityFault: too short, no pack, an unknown suite, or reserved bits set.
        NewerFormatError: of a newer version: not the fault of who keeps it.

    """
    if len(data) < HEADER_BYTES:
        raise IntegrityFault(f"a pack header of {len(data)} bytes is too short")
    magic, version, suite, reserved, generation, repository, salt = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise IntegrityFault("not a pack: wrong magic bytes")
    if version > VERSION:
        raise NewerFormatError(
            f"a pack was written by a newer version (format version {version}, this program knows {VERSION})",
            hint="install the newer backup-peer again; nothing was changed",
        )
    if version != VERSION:
        raise IntegrityFault(f"there is no pack format version {version}")
    if reserved:
        raise IntegrityFault("a pack header has reserved bits set")
    known = suite_from_byte(suite)
    return Header(known, generation, RepositoryId(repository), salt, bytes(data[:HEADER_BYTES]))


def encode_footer(footer: Footer) -> bytes:
    """Return the 32 plain bytes of a footer."""
    return _FOOTER.pack(footer.directory_offset, footer.directory_bytes, footer.pack_bytes, footer.count)


def decode_footer(plain: bytes, pack_bytes: int) -> Footer:
    """Return the footer of a pack of `pack_bytes`.

    Raises:
        IntegrityFault: it belongs to a pack of another length, or its numbers don't fit together.

    """
    if len(plain) != _FOOTER.size or any(plain[20:]):
        raise IntegrityFault("a pack footer has the wrong length or reserved bytes set")
    footer = Footer(*_FOOTER.unpack(plain))
    if footer.pack_bytes != pack_bytes:
        raise IntegrityFault(f"a pack footer is for {footer.pack_bytes} bytes, the pack has {pack_bytes}")
    if not 1 <= footer.count <= PACK_BLOBS or footer.directory_bytes != directory_sealed_bytes(footer.count):
        raise IntegrityFault(f"a pack footer counts {footer.count} blobs, which its directory can't hold")
    if footer.directory_offset + footer.directory_bytes + END_BYTES != pack_bytes:
        raise IntegrityFault("a pack footer puts the directory elsewhere than before the footer")
    return footer


def directory_sealed_bytes(count: int) -> int:
    """Return the sealed length of a directory of `count` entries."""
    return _DIRECTORY.size + count * _ENTRY.size + TAG_BYTES


def encode_directory(logical: LogicalId, entries: tuple[Entry, ...]) -> bytes:
    """Return the plain bytes of a directory; entries in slot order."""
    parts = [_DIRECTORY.pack(VERSION, logical, len(entries))]
    pack = _ENTRY.pack
    parts.extend(pack(e.kind, e.codec, e.sealed_bytes, e.plain_bytes, e.blob) for e in entries)
    return b"".join(parts)


def decode_directory(plain: bytes, footer: Footer, header: Header) -> Directory:
    """Return the directory; offsets are the running sum of the sealed lengths from byte 64.

    Raises:
        IntegrityFault: unknown version, kind or codec, impossible lengths, or blobs that don't end where the
            directory or its padding begins.

    """
    version, logical, count = _DIRECTORY.unpack_from(plain)
    if version != VERSION:
        raise IntegrityFault(f"pack directory version {version} is not known")
    if count != footer.count or len(plain) != _DIRECTORY.size + count * _ENTRY.size:
        raise IntegrityFault("a pack directory has another count than its footer")
    entries: list[Entry] = []
    offset = HEADER_BYTES
    for slot, fields in enumerate(_ENTRY.iter_unpack(memoryview(plain)[_DIRECTORY.size :])):
        entries.append(_checked_entry(fields, slot, offset))
        offset += fields[2]
    if offset > footer.directory_offset or 0 < footer.directory_offset - offset < TAG_BYTES:
        raise IntegrityFault("a pack directory names more bytes than the pack has")
    return Directory(LogicalId(logical), header, tuple(entries))


def _checked_entry(fields: tuple[int, int, int, int, bytes], slot: int, offset: int) -> Entry:
    kind_byte, codec_byte, sealed_bytes, plain_bytes, blob = fields
    kind, codec = _KINDS.get(kind_byte), _CODECS.get(codec_byte)
    if kind is None or codec is None:
        raise IntegrityFault(f"a pack directory names blob kind {kind_byte} with codec {codec_byte}, unknown here")
    payload_bytes = sealed_bytes - TAG_BYTES
    if plain_bytes > BLOB_PLAIN_BYTES or not 0 <= payload_bytes <= plain_bytes:
        raise IntegrityFault(f"a pack directory names a blob of {plain_bytes} bytes sealed in {sealed_bytes}")
    if codec is Codec.RAW and payload_bytes != plain_bytes:
        raise IntegrityFault("a pack directory names a raw blob whose lengths differ")
    return Entry(BlobId(blob), kind, codec, slot, offset, sealed_bytes, plain_bytes)


def check_pack_bytes(pack_bytes: int) -> None:
    """Check that a pack may have this length.

    Raises:
        IntegrityFault: below 256 KiB, above 16 MiB, or not a multiple of 8 KiB.

    """
    if not PACK_MIN_BYTES <= pack_bytes <= PACK_TARGET_BYTES or pack_bytes % LENGTH_STEP_BYTES:
        raise IntegrityFault(f"no pack has a length of {pack_bytes} bytes")


def padded_length(content_bytes: int) -> int:
    """Return the length of a pack with `content_bytes` of everything but padding (ADR 0030).

    Room of 1 to 15 bytes can't hold a seal's tag, so such a pack takes the next bucket.
    """
    length = _padme(max(content_bytes, PACK_MIN_BYTES))
    if 0 < length - content_bytes < TAG_BYTES:
        length = _padme(length + 1)
    return length


def _padme(length: int) -> int:
    """Round up so that only as many bits are told as the length's length has (Padmé, PURBs, PoPETs 2019 §4)."""
    exponent = length.bit_length() - 1
    free_bits = exponent - exponent.bit_length()
    mask = (1 << free_bits) - 1
    return (length + mask) & ~mask
