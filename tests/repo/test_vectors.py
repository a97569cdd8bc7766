"""The vectors of docs/format.md: this room reads them, writes the same, and so does the independent reader."""

import importlib.util
import json
import struct
import sys
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from backuppeer.crypto.seal import Sealer
from backuppeer.errors import IntegrityFault, NewerFormatError
from backuppeer.ids import LogicalId, SnapshotId
from backuppeer.proof.merkle import compute_stored_id, root_of_set
from backuppeer.repo import layout
from backuppeer.repo.blob import BlobKind
from backuppeer.repo.head import Inventory, decode_pack_list, decode_root, encode_inventory
from backuppeer.repo.pack import PackOpener, open_directory, parse_header
from backuppeer.repo.snapshot import decode_snapshot, encode_snapshot
from backuppeer.repo.tree import TreeEntry, decode_piece, encode_pieces
from repo.building import KEYS, MASTER, REPOSITORY, entry, keys_for

TESTS = Path(__file__).resolve().parents[1]
VECTORS = TESTS / "vectors"
PACK, TREE, SNAPSHOT, INVENTORY = (
    json.loads((VECTORS / f"{name}.json").read_text()) for name in ("pack", "tree", "snapshot", "inventory")
)
unhex = bytes.fromhex


@pytest.fixture(scope="module")
def reader() -> ModuleType:
    """tools/read_backup.py: shares no code with the program."""
    spec = importlib.util.spec_from_file_location("read_backup", TESTS.parent / "tools" / "read_backup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["read_backup"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("vector", PACK["packs"], ids=lambda v: v["file"])
def test_packs_open_to_what_the_vector_says(vector):
    data = (VECTORS / vector["file"]).read_bytes()
    assert len(data) == vector["pack_bytes"]
    assert compute_stored_id(data).hex() == vector["stored_id"]
    directory = open_directory(keys_for, data, len(data))
    assert directory.logical.hex() == vector["logical_id"]
    assert directory.header.raw.hex() == vector["header"] == data[:64].hex()
    opener = PackOpener(KEYS, directory.header)
    opened = [
        {
            "blob": e.blob.hex(),
            "kind": int(e.kind),
            "codec": int(e.codec),
            "slot": e.slot,
            "offset": e.offset,
            "sealed_bytes": e.sealed_bytes,
            "plain_bytes": e.plain_bytes,
            "plain": opener.open_entry(e, data[e.offset : e.offset + e.sealed_bytes]).hex(),
        }
        for e in directory.entries
    ]
    assert opened == vector["entries"]
    assert layout.encode_directory(directory.logical, directory.entries).hex() == vector["directory"]
    assert KEYS.pack_key(vector["suite"], 1, unhex(vector["salt"])).hex() == vector["pack_key"]


@pytest.mark.parametrize("vector", PACK["packs"], ids=lambda v: v["file"])
def test_the_independent_reader_opens_the_same_packs(reader, vector, tmp_path):
    repository = reader.Repository(MASTER, REPOSITORY)
    path = tmp_path / "packs" / vector["stored_id"][:2] / vector["stored_id"]
    path.parent.mkdir(parents=True)
    path.write_bytes((VECTORS / vector["file"]).read_bytes())
    repository.scan(tmp_path)
    assert repository.problems == []
    assert repository.logicals == {unhex(vector["logical_id"])}
    for e in vector["entries"]:
        assert repository.fetch(e["kind"], unhex(e["blob"])).hex() == e["plain"]


@pytest.mark.parametrize(("content", "length"), PACK["padded_lengths"])
def test_padded_lengths_are_those_of_the_vector(content, length):
    assert layout.padded_length(content) == length


@pytest.mark.parametrize("name", PACK["hostile"]["headers"])
def test_hostile_headers_are_refused(name):
    with pytest.raises(NewerFormatError if name == "version 2" else IntegrityFault):
        parse_header(unhex(PACK["hostile"]["headers"][name]))


@pytest.mark.parametrize(("file", "at"), PACK["hostile"]["flips"])
def test_flipped_bits_are_refused(file, at):
    data = bytearray((VECTORS / file).read_bytes())
    data[at] ^= 1
    with pytest.raises(IntegrityFault):
        open_directory(keys_for, data, len(data))


@pytest.mark.parametrize("name", PACK["hostile"]["directories"])
def test_hostile_directories_are_refused_by_both_readers(reader, name, tmp_path):
    vector = PACK["packs"][0]
    data = bytearray((VECTORS / vector["file"]).read_bytes())
    plain = unhex(PACK["hostile"]["directories"][name])
    header = parse_header(unhex(vector["header"]))
    sealer = Sealer(unhex(vector["pack_key"]), header.suite, header.raw)
    size = len(plain) + 16
    start = len(data) - 112 - size
    footer = struct.pack(">IIQI12x", start, size, len(data), (len(plain) - 21) // 42)
    view = memoryview(data)
    sealer.seal_into(layout.SLOT_DIRECTORY, plain, view[start : start + size])
    sealer.seal_into(layout.SLOT_FOOTER, footer, view[-112:-64])
    with pytest.raises(IntegrityFault):
        open_directory(keys_for, data, len(data))
    repository = reader.Repository(MASTER, REPOSITORY)
    path = tmp_path / "packs" / "00" / ("00" * 32)
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    repository.scan(tmp_path)
    assert len(repository.problems) == 1
    assert repository.logicals == set()


def test_trees_decode_and_encode_as_the_vector_says():
    decoded = decode_piece(unhex(TREE["piece"]))
    shown = json.loads(json.dumps([msgspec.structs.astuple(e) for e in decoded], default=bytes.hex))
    assert shown == TREE["entries"]
    assert [p.hex() for p in encode_pieces(decoded)] == [TREE["piece"]]
    wide = [entry(b"%09d" % i) for i in range(10_000)]
    assert [len(decode_piece(p)) for p in encode_pieces(wide)] == TREE["wide_counts"]
    assert all(isinstance(e, TreeEntry) for e in decoded)


@pytest.mark.parametrize("name", TREE["hostile"])
def test_hostile_trees_are_refused(name):
    with pytest.raises(IntegrityFault):
        decode_piece(unhex(TREE["hostile"][name]))


def test_snapshots_decode_and_encode_as_the_vector_says():
    data = unhex(SNAPSHOT["snapshot"])
    snapshot = decode_snapshot(data)
    assert json.loads(json.dumps(msgspec.structs.asdict(snapshot), default=bytes.hex)) == SNAPSHOT["fields"]
    assert encode_snapshot(snapshot) == data
    assert KEYS.blob_id(BlobKind.SNAPSHOT, data).hex() == SNAPSHOT["id"]


@pytest.mark.parametrize("name", SNAPSHOT["hostile"])
def test_hostile_snapshots_are_refused(name):
    with pytest.raises(IntegrityFault):
        decode_snapshot(unhex(SNAPSHOT["hostile"][name]))


def test_inventories_encode_as_the_vector_says(reader):
    snapshots = tuple(SnapshotId(unhex(s)) for s in INVENTORY["snapshots"])
    packs = tuple(LogicalId(unhex(p)) for p in INVENTORY["packs"])
    encoded = encode_inventory(KEYS, Inventory(snapshots, packs))
    assert encoded.root.hex() == INVENTORY["root"]
    assert [p.hex() for p in encoded.pieces] == INVENTORY["pieces"]
    assert encoded.index.hex() == INVENTORY["index"]
    for root in (root_of_set, reader.set_root):
        assert root(snapshots).hex() == INVENTORY["snapshots_root"]
        assert root(packs).hex() == INVENTORY["packs_root"]


@pytest.mark.parametrize("name", INVENTORY["hostile_roots"])
def test_hostile_roots_are_refused(name):
    with pytest.raises(IntegrityFault):
        decode_root(unhex(INVENTORY["hostile_roots"][name]))


@pytest.mark.parametrize("name", INVENTORY["hostile_pieces"])
def test_hostile_pieces_are_refused(name):
    with pytest.raises(IntegrityFault):
        decode_pack_list(unhex(INVENTORY["hostile_pieces"][name]))
