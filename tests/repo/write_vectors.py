"""Writes tests/vectors/{pack,tree,snapshot,inventory}.json and the packs beside them.

Run by hand when the format gains something, never to make a failing test pass: the vectors are the format.

    cd tests && python -m repo.write_vectors
"""

import json
import struct
from hashlib import shake_128
from pathlib import Path
from unittest import mock

import msgspec

from backuppeer.crypto.seal import Opener, Suite
from backuppeer.proof.merkle import root_of_set
from backuppeer.repo import layout
from backuppeer.repo.blob import BlobKind
from backuppeer.repo.extension import Link, encode_extension
from backuppeer.repo.head import Inventory, encode_inventory
from backuppeer.repo.pack import PackDraft, seal_pack
from backuppeer.repo.snapshot import encode_snapshot
from backuppeer.repo.tree import EntryKind, encode_pieces
from repo.building import KEYS, MASTER, REPOSITORY, entry, make_blob, make_snapshot, noise

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
PLAIN = [
    (BlobKind.DATA, b""),
    (BlobKind.DATA, b"x"),
    (BlobKind.DATA, noise("vector", 1000)),
    (BlobKind.DATA, b"one line of text, many times over\n" * 60),
    (BlobKind.TREE, next(encode_pieces([entry(b"a.txt", content=bytes(32))]))),
    (BlobKind.SNAPSHOT, encode_snapshot(make_snapshot(bytes(32)))),
    (BlobKind.INDEX, b"\x01" + bytes(16)),
]
CONTENT_LENGTHS = [1, 262_143, 262_144, 262_145, 270_321, 270_336, 300_000, 1 << 20, (1 << 20) - 15, 9_999_999]
CONTENT_LENGTHS += [(8 << 20) + 1, (16 << 20) - 16]


def _stream(label: str):
    """Bytes in place of the system's randomness: for vectors only."""
    state = {"at": 0}

    def token_bytes(count: int) -> bytes:
        start = state["at"]
        state["at"] += count
        return shake_128(label.encode()).digest(start + count)[start:]

    return token_bytes


def write_pack(name: str, suite: Suite) -> dict[str, object]:
    with mock.patch("backuppeer.repo.pack.secrets.token_bytes", _stream(name)):
        draft = PackDraft()
        for kind, data in PLAIN:
            assert draft.add(make_blob(data, kind))
        closed = draft.close()
        pack = seal_pack(closed, KEYS, suite)
    (VECTORS / f"{name}.bin").write_bytes(pack.data)
    header = layout.parse_header(pack.header)
    opener = Opener(KEYS.pack_key(suite, 1, header.salt), suite, header.raw)
    footer = opener.open(layout.SLOT_FOOTER, pack.data[-112:-64])
    start, length = struct.unpack_from(">II", footer)
    plain_of = {KEYS.blob_id(kind, data): data for kind, data in PLAIN}
    return {
        "file": f"{name}.bin",
        "suite": int(suite),
        "salt": header.salt.hex(),
        "pack_key": KEYS.pack_key(suite, 1, header.salt).hex(),
        "header": pack.header.hex(),
        "pack_bytes": closed.length,
        "stored_id": pack.stored.hex(),
        "logical_id": closed.logical.hex(),
        "footer": footer.hex(),
        "directory": opener.open(layout.SLOT_DIRECTORY, pack.data[start : start + length]).hex(),
        "entries": [
            {
                "blob": e.blob.hex(),
                "kind": int(e.kind),
                "codec": int(e.codec),
                "slot": e.slot,
                "offset": e.offset,
                "sealed_bytes": e.sealed_bytes,
                "plain_bytes": e.plain_bytes,
                "plain": plain_of[e.blob].hex(),
            }
            for e in closed.entries
        ],
    }


def _directory(*rows: tuple[int, int, int, int], version: int = 1, count: int | None = None) -> str:
    head = struct.pack(">B16sI", version, b"l" * 16, len(rows) if count is None else count)
    return (head + b"".join(struct.pack(">BBII32s", *row, b"b" * 32) for row in rows)).hex()


def hostile_packs(pack: dict[str, object]) -> dict[str, object]:
    header = bytes.fromhex(str(pack["header"]))

    def changed(at: int, value: int) -> str:
        return (header[:at] + bytes([value]) + header[at + 1 :]).hex()

    size = int(str(pack["pack_bytes"]))
    return {
        "headers": {
            "wrong magic": changed(0, 0),
            "version 2": changed(8, 2),
            "suite 0": changed(9, 0),
            "suite 3": changed(9, 3),
            "reserved set": changed(11, 1),
            "short": header[:63].hex(),
        },
        "flips": [[pack["file"], at] for at in (size - 1, size - 64, size - 65, size - 112, size - 113, size - 420)],
        "directories": {
            "version 2": _directory((1, 0, 16, 0), version=2),
            "no entries": _directory(),
            "kind 0": _directory((0, 0, 16, 0)),
            "kind 5": _directory((5, 0, 16, 0)),
            "codec 2": _directory((1, 2, 16, 0)),
            "sealed below a tag": _directory((1, 0, 15, 0)),
            "raw lengths differ": _directory((1, 0, 17, 2)),
            "compressed above plain": _directory((1, 1, 20, 3)),
            "plain over 4 MiB": _directory((1, 1, 20, (4 << 20) + 1)),
            "blobs beyond the directory": _directory((1, 1, 300_000, 300_000)),
            "gap of 15": _directory((1, 0, size - 112 - 79 - 64 - 15, size - 112 - 79 - 64 - 31)),
            "count too high": _directory((1, 0, 16, 0), count=2),
            "count too low": _directory((1, 0, 16, 0), (1, 0, 16, 0), count=1),
        },
    }


def tree_vectors() -> dict[str, object]:
    found = [
        entry(b"data", size=3, content=noise("chunk", 32), user="ann", group="staff", mtime_ns=-1),
        entry(b"dir", EntryKind.DIRECTORY, mode=0o4755, content=noise("pieces", 64)),
        entry(b"huge", size=2**40, content=noise("lists", 32), depth=1, inode=2**64 - 1),
        entry(b"link", EntryKind.SYMLINK, mode=0o777, target=b"../\xff"),
        entry(b"null", EntryKind.CHARACTER_DEVICE, mode=0o666, ext=encode_extension(device=(1, 3))),
        entry(
            b"other name", size=3, content=noise("chunk", 32), ext=encode_extension(link=Link(2049, 2), is_sparse=True)
        ),
        entry(
            b"pipe", EntryKind.FIFO, mode=0o600, ext=encode_extension(attributes={b"user.b": b"", b"user.a": b"\xff"})
        ),
        entry(b"sda", EntryKind.BLOCK_DEVICE, mode=0o660, ext=encode_extension(device=(259, 70_000))),
        entry(b"zz\xff", uid=2**32 - 1, gid=2**32 - 1, ext={"k": b"v"}),
    ]
    wide = [entry(b"%09d" % i) for i in range(10_000)]
    base = msgspec.msgpack.decode(msgspec.msgpack.encode(entry(b"a")))

    def bad(*rows: dict[int, object]) -> str:
        return msgspec.msgpack.encode([1, [[row.get(i, value) for i, value in enumerate(base)] for row in rows]]).hex()

    return {
        "piece": next(encode_pieces(found)).hex(),
        "entries": [list(msgspec.structs.astuple(e)) for e in found],
        "wide_counts": [len(msgspec.msgpack.decode(p)[1]) for p in encode_pieces(wide)],
        "hostile": {
            "version 2": "920290",
            "trailing bytes": "92019000",
            "not msgpack": "c1",
            "unsorted": bad({1: b"b"}, {1: b"a"}),
            "twice": bad({}, {}),
            "empty name": bad({1: b""}),
            "dot": bad({1: b"."}),
            "dotdot": bad({1: b".."}),
            "slash": bad({1: b"a/b"}),
            "nul": bad({1: b"a\0b"}),
            "kind 0": bad({0: 0}),
            "kind 7": bad({0: 7}),
            "pipe with content": bad({0: 4, 9: bytes(32)}),
            "device without numbers": bad({0: 5}),
            "device numbers of a file": bad({14: {"device": bytes(8)}}),
            "link of 8 bytes": bad({14: {"link": bytes(8)}}),
            "holes with a value": bad({14: {"sparse": b"x"}}),
            "attributes that are no map": bad({14: {"xattrs": b"\x90"}}),
            "attribute name with nul": bad({14: {"xattrs": msgspec.msgpack.encode({b"a\0": b""})}}),
            "mode with type bits": bad({2: 0o100644}),
            "negative size": bad({8: -1}),
            "content no multiple of 32": bad({9: bytes(31)}),
            "file with target": bad({10: b"t"}),
            "link without target": bad({0: 3}),
            "directory with lists": bad({0: 2, 13: 1}),
            "depth 2": bad({13: 2}),
            "field too many": msgspec.msgpack.encode([1, [[*base, 0]]]).hex(),
        },
    }


def snapshot_vectors() -> dict[str, object]:
    snapshot = make_snapshot(noise("root", 32), paths=[b"/home/\xff"], tags=["t"], parent=noise("parent", 32))
    data = encode_snapshot(snapshot)
    fields = msgspec.msgpack.decode(data)

    def bad(**changes: object) -> str:
        return msgspec.msgpack.encode(fields | changes).hex()

    return {
        "snapshot": data.hex(),
        "id": KEYS.blob_id(BlobKind.SNAPSHOT, data).hex(),
        "fields": fields,
        "hostile": {
            "version 2": bad(v=2),
            "unknown field": bad(new=1),
            "tree no multiple of 32": bad(tree=bytes(33)),
            "no tree": bad(tree=b""),
            "parent short": bad(parent=bytes(31)),
            "negative count": bad(files=-1),
            "path as text": bad(paths=["/home"]),
            "not a map": "90",
        },
    }


def inventory_vectors() -> dict[str, object]:
    inventory = Inventory(
        tuple(noise(("s", i), 32) for i in range(2)), tuple(i.to_bytes(16, "big") for i in range(4094, 4100))
    )
    encoded = encode_inventory(KEYS, inventory)
    return {
        "snapshots": [s.hex() for s in inventory.snapshots],
        "packs": [p.hex() for p in inventory.packs],
        "root": encoded.root.hex(),
        "pieces": [p.hex() for p in encoded.pieces],
        "index": encoded.index.hex(),
        "snapshots_root": root_of_set(inventory.snapshots).hex(),
        "packs_root": root_of_set(inventory.packs).hex(),
        "hostile_roots": {
            "version 2": "920292c400c400",
            "snapshots no multiple of 32": msgspec.msgpack.encode([1, [bytes(31), b""]]).hex(),
            "a third list": msgspec.msgpack.encode([1, [b"", b"", b""]]).hex(),
            "trailing bytes": "920192c400c40000",
        },
        "hostile_pieces": {"empty": "", "version only": "01", "version 2": "02" + "00" * 16, "cut": "01" + "00" * 17},
    }


def _default(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(type(value))


def _write(name: str, about: str, content: dict[str, object]) -> None:
    text = json.dumps({"about": about} | content, indent=1, default=_default)
    (VECTORS / name).write_text(text + "\n", encoding="utf-8")


def main() -> None:
    packs = [write_pack("pack-aes", Suite.AES_256_GCM), write_pack("pack-chacha", Suite.CHACHA20_POLY1305)]
    lengths = [[n, layout.padded_length(n)] for n in CONTENT_LENGTHS]
    keys = {"master": MASTER.hex(), "generation": 1, "repository": REPOSITORY.hex()}
    about = "docs/format.md. Hex throughout. "
    content = {"keys": keys, "packs": packs, "padded_lengths": lengths, "hostile": hostile_packs(packs[0])}
    _write(
        "pack.json",
        about + "padded_lengths: [content, pack]. hostile.directories are plain directories, to be "
        "sealed with matching footers into a pack; hostile.flips: [file, offset] of a bit to change.",
        content,
    )
    _write("tree.json", about + "wide_counts: entries per piece of a directory of 10,000 names %09d.", tree_vectors())
    _write("snapshot.json", about + "Keys as in pack.json.", snapshot_vectors())
    _write("inventory.json", about + "Keys as in pack.json.", inventory_vectors())


if __name__ == "__main__":
    main()
