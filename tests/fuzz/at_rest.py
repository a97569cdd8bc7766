"""What lies at rest with a host, as somebody who has our keys (or none) might have written it.

Each function takes bytes that a fuzzer made. It ends in a value that is within the caps and means the same when it is
encoded again, or in one of the errors that `targets` allows.
"""

import struct

from backuppeer.backup.likeness import is_alike, read_look
from backuppeer.crypto.seal import Opener, Sealer, Suite
from backuppeer.errors import LocalError, PeerFault
from backuppeer.ids import BlobId
from backuppeer.limits import BLOB_PLAIN_BYTES, PACK_BLOBS, PACK_MIN_BYTES, PACK_TARGET_BYTES, TREE_PIECE_ENTRIES
from backuppeer.repo import layout
from backuppeer.repo.blob import BlobKind, Codec, unpack_payload
from backuppeer.repo.extension import device_of, link_of
from backuppeer.repo.head import check_inventory, decode_pack_list, decode_root, encode_inventory, load_inventory
from backuppeer.repo.pack import Directory, NeedTail, open_directory
from backuppeer.repo.partial import read_finished
from backuppeer.repo.snapshot import decode_snapshot, encode_snapshot
from backuppeer.repo.tree import DEVICES, decode_content, decode_id_list, decode_piece, encode_pieces
from repo.building import KEYS, keys_for

_HEADER = layout.encode_header(
    suite=Suite.CHACHA20_POLY1305, generation=KEYS.generation, repository=KEYS.repository, salt=b"s" * 32
)
_PACK_KEY = KEYS.pack_key(Suite.CHACHA20_POLY1305, layout.VERSION, b"s" * 32)


def read_pack(data: bytes) -> None:
    """First byte: 0 = a raw end of a pack; 1 = a plain footer; 2 = header; else a directory, truly sealed."""
    how, rest = data[:1], data[1:]
    if how == b"\0":
        open_directory(keys_for, rest, PACK_MIN_BYTES)
    elif how == b"\1":
        layout.decode_footer(rest, PACK_MIN_BYTES)
    elif how == b"\2":
        header = layout.parse_header(rest)
        again = layout.encode_header(
            suite=header.suite, generation=header.generation, repository=header.repository, salt=header.salt
        )
        assert again == header.raw == rest[:64]
    else:
        _read_sealed(rest)


def _read_sealed(plain: bytes) -> None:
    """Open a tail whose directory is `plain`; the footer counts what would fit, or what the directory itself says."""
    count = max(1, (len(plain) - 21) // 42)
    sealer = Sealer(_PACK_KEY, Suite.CHACHA20_POLY1305, _HEADER)
    tail = bytearray(len(plain) + 16 + layout.END_BYTES)
    view = memoryview(tail)
    sealer.seal_into(layout.SLOT_DIRECTORY, plain, view)
    offset = PACK_TARGET_BYTES - len(tail)
    footer = struct.pack(">IIQI12x", offset, len(plain) + 16, PACK_TARGET_BYTES, count)
    sealer.seal_into(layout.SLOT_FOOTER, footer, view[len(plain) + 16 :])
    view[-layout.HEADER_BYTES :] = _HEADER
    found = open_directory(keys_for, tail, PACK_TARGET_BYTES)
    assert isinstance(found, Directory)
    assert layout.encode_directory(found.logical, found.entries) == plain
    assert 1 <= len(found.entries) <= PACK_BLOBS
    assert all(e.offset + e.sealed_bytes <= offset and e.plain_bytes <= BLOB_PLAIN_BYTES for e in found.entries)


def read_tail(data: bytes) -> None:
    """A plain footer, sealed truly, before a tail of any length: where does it send the reader?"""
    sealer = Sealer(_PACK_KEY, Suite.CHACHA20_POLY1305, _HEADER)
    tail = bytearray(data[32:] + bytes(layout.END_BYTES))
    view = memoryview(tail)
    sealer.seal_into(layout.SLOT_FOOTER, data[:32].ljust(32, b"\0"), view[-layout.END_BYTES :])
    view[-layout.HEADER_BYTES :] = _HEADER
    found = open_directory(keys_for, tail, PACK_MIN_BYTES)
    assert isinstance(found, NeedTail)
    assert 0 <= found.offset < PACK_MIN_BYTES - len(tail)


def read_blob(data: bytes) -> None:
    """Codec, claimed length (u32), payload; also what an opener makes of raw sealed bytes."""
    codec = Codec.ZSTD if data[:1] != b"\0" else Codec.RAW
    claimed = int.from_bytes(data[1:5], "big")
    try:
        Opener(_PACK_KEY, Suite.CHACHA20_POLY1305, _HEADER).open(0, data[5:])
    except PeerFault:
        pass
    else:
        raise AssertionError("an unsealed blob was opened")
    plain = unpack_payload(BlobKind.DATA, codec, plain_bytes=claimed, payload=data[5:])
    assert len(plain) == claimed <= BLOB_PLAIN_BYTES


def read_tree(data: bytes) -> None:
    """A piece of a directory; or (first byte 1, which no piece begins with) a list of ids."""
    if data[:1] == b"\1":
        decode_content(data)
        decode_id_list(data, 16)
        return
    entries = decode_piece(data)
    assert len(entries) <= TREE_PIECE_ENTRIES
    for entry in entries:
        assert not {b"/", b"\0"} & {entry.name[at : at + 1] for at in range(len(entry.name))}
        assert entry.name not in {b"", b".", b".."}
        assert all(b"\0" not in name for name in entry.attributes)
        link_of(entry.ext)
        if entry.kind in DEVICES:
            device_of(entry.ext)
    pieces = list(encode_pieces(entries))
    assert tuple(entry for piece in pieces for entry in decode_piece(piece)) == entries


def read_inventory(data: bytes) -> None:
    """u16 length ‖ root ‖ lists: a root that names lists which are whatever follows."""
    cut = 2 + int.from_bytes(data[:2], "big")
    root, piece = data[2:cut], data[cut:]
    for decode in (decode_root, decode_pack_list):
        for part in (root, piece):
            try:
                decode(part)
            except PeerFault:
                continue
    index = BlobId(b"i" * 32)
    inventory = load_inventory(index, lambda blob: root if blob == index else piece)
    encoded = encode_inventory(KEYS, inventory)
    blobs = {KEYS.blob_id(BlobKind.INDEX, part): part for part in (encoded.root, *encoded.pieces)}
    assert load_inventory(encoded.index, lambda blob: blobs[blob]) == inventory
    check_inventory(_FakeHead(), inventory.snapshots, inventory.packs)


class _FakeHead:
    """Commits to nothing at all."""

    snapshots_root = packs_root = bytes(32)
    number = 1


def read_snapshot(data: bytes) -> None:
    snapshot = decode_snapshot(data)
    try:
        again = encode_snapshot(snapshot)
    except LocalError as exc:
        raise AssertionError("a snapshot that can be read can't be written") from exc
    assert decode_snapshot(again) == snapshot


def read_hint(data: bytes) -> None:
    """What the home keeps to be faster, damaged: the look of a directory, and a row of the partial tree."""
    for name, found in read_finished(data).items():
        assert name == found.name
    assert not is_alike(read_look(data), b"content", [])
