"""The independent reader restores what the repository room wrote, and says what it can't."""

import ast
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from backuppeer.crypto.identity import Purpose, SigningKey
from backuppeer.crypto.seal import Suite
from backuppeer.crypto.words import encode_words
from backuppeer.host.store import create_store
from backuppeer.ids import PeerId, StoredId
from backuppeer.repo.blob import BlobKind
from backuppeer.repo.extension import Link, encode_extension
from backuppeer.repo.tree import EntryKind, encode_pieces
from repo.building import MASTER, REPOSITORY, StoreFolder, entry, noise

TOOL = Path(__file__).resolve().parents[2] / "tools" / "read_backup.py"
FILES = {b"empty": b"", b"small": b"hello\n", b"text": b"many words " * 40_000, b"big": noise("big", 3_500_000)}
HOLE = b"\0" * (2 << 20) + b"end"
MTIME = 1_600_000_000_123_456_789


def run(store: Path, *arguments: object, master: bytes = MASTER) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-W", "error", str(TOOL), str(store), *map(str, arguments)]
    return subprocess.run(command, input=encode_words(master) + "\n", capture_output=True, text=True, check=False)


def fill(folder: StoreFolder) -> None:
    """Two snapshots: an early one with one file, a late one with everything."""
    early = folder.add_tree([folder.add_file(b"old", b"old content")])
    folder.add_snapshot(early, time_ns=10**18)
    entries = [folder.add_file(name, data, mtime_ns=MTIME, mode=0o640) for name, data in FILES.items()]
    entries.append(folder.add_file(b"hole", HOLE))
    entries.append(folder.add_file(b"many-chunks", noise("many", 4200 * 16), chunk_bytes=16))
    entries.append(entry(b"link", EntryKind.SYMLINK, target=b"../outside", mode=0o777, mtime_ns=MTIME))
    entries.append(folder.add_file(b"bytes-\xff", b"not utf-8"))
    deep = folder.add_directory(b"deep", [folder.add_directory(b"er", [folder.add_file(b"f", b"deep")], mode=0o755)])
    entries.append(deep)
    wide = [entry(f"{i:05}".encode()) for i in range(3000)]
    home = folder.add_directory(b"home", [*entries, folder.add_directory(b"wide", wide, mode=0o755)], mtime_ns=MTIME)
    folder.add_snapshot(folder.add_tree([home]), time_ns=2 * 10**18)
    folder.finish()


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> StoreFolder:
    folder = StoreFolder(tmp_path_factory.mktemp("store"))
    fill(folder)
    return folder


@pytest.fixture
def own_store(tmp_path) -> StoreFolder:
    """A small store that a test may damage."""
    folder = StoreFolder(tmp_path / "store")
    entries = [folder.add_file(b"first", b"one")]
    folder.flush()
    entries.append(folder.add_file(b"second", b"two"))
    folder.flush()
    folder.add_snapshot(folder.add_tree(entries))
    folder.finish()
    return folder


def test_it_imports_nothing_of_the_program():
    imported = set()
    for node in ast.walk(ast.parse(TOOL.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(str(node.module).split(".")[0])
    allowed = {"blake3", "cryptography", "zstandard", "msgspec", "mnemonic"}
    assert imported <= allowed | set(sys.stdlib_module_names)


def test_without_its_libraries_it_names_them_in_one_line():
    command = [sys.executable, "-S", str(TOOL), "--help"]  # -S: nothing that was installed can be imported
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    for name in ("blake3", "cryptography", "zstandard", "msgspec", "mnemonic"):
        assert name in line


def test_everything_of_the_latest_snapshot_comes_back(store, tmp_path):
    target = tmp_path / "out"
    done = run(store.root, "--target", target)
    assert (done.returncode, done.stderr) == (0, "")
    home = target / "home"
    for name, data in FILES.items():
        path = home / os.fsdecode(name)
        info = path.stat()
        assert path.read_bytes() == data
        assert (stat.S_IMODE(info.st_mode), info.st_mtime_ns) == (0o640, MTIME)
    assert (home / "hole").read_bytes() == HOLE
    assert (home / "many-chunks").read_bytes() == noise("many", 4200 * 16)
    assert (home / "link").readlink() == Path("../outside")
    assert (home / "link").lstat().st_mtime_ns == MTIME
    assert (home / "deep" / "er" / "f").read_bytes() == b"deep"
    assert (home / os.fsdecode(b"bytes-\xff")).read_bytes() == b"not utf-8"
    assert len(list((home / "wide").iterdir())) == 3000
    assert home.stat().st_mtime_ns == MTIME


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_owners_come_back_for_root(tmp_path):
    folder = StoreFolder(tmp_path / "store")
    theirs = folder.add_file(b"theirs", b"x", uid=1234, gid=4321, mode=0o4755)
    folder.add_snapshot(folder.add_tree([theirs]))
    folder.finish()
    assert run(folder.root, "--target", tmp_path / "out").returncode == 0
    info = (tmp_path / "out" / "theirs").stat()
    assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (1234, 4321, 0o4755)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make devices")
def test_pipes_devices_links_and_attributes_come_back(tmp_path):
    folder = StoreFolder(tmp_path / "store")
    link = encode_extension(link=Link(7, 2))
    attributes = encode_extension(attributes={b"user.note": b"\0\xff"})
    rows = [
        folder.add_file(b"a", b"one file", inode=5, ext=link),
        folder.add_file(b"attributes", b"x", ext=attributes),
        folder.add_directory(b"d", [folder.add_file(b"b", b"one file", inode=5, ext=link)], ext=attributes, mode=0o755),
        entry(b"null", EntryKind.CHARACTER_DEVICE, mode=0o620, ext=encode_extension(device=(1, 3))),
        entry(b"pipe", EntryKind.FIFO, mode=0o640, mtime_ns=-5),
    ]
    folder.add_snapshot(folder.add_tree(rows))
    folder.finish()
    done = run(folder.root, "--target", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    out = tmp_path / "out"
    assert (out / "a").samefile(out / "d" / "b")
    assert (out / "a").read_bytes() == b"one file"
    for name in ("attributes", "d"):
        assert os.getxattr(out / name, "user.note") == b"\0\xff"
    null, pipe = (out / "null").lstat(), (out / "pipe").lstat()
    assert (null.st_mode, null.st_rdev) == (stat.S_IFCHR | 0o620, os.makedev(1, 3))
    assert (pipe.st_mode, pipe.st_mtime_ns) == (stat.S_IFIFO | 0o640, -5)


def test_holes_stay_holes(store, tmp_path):
    run(store.root, "--target", tmp_path / "out")
    info = (tmp_path / "out" / "home" / "hole").stat()
    assert info.st_blocks * 512 < info.st_size


def test_list_shows_every_snapshot_and_a_prefix_chooses_one(store, tmp_path):
    listed = run(store.root, "--list")
    assert listed.returncode == 0
    early = store.snapshots[0].hex()
    assert [line.split()[0] for line in listed.stdout.splitlines()[1:]] == [s.hex()[:16] for s in store.snapshots]
    done = run(store.root, "--snapshot", early[:8], "--target", tmp_path / "out")
    assert done.returncode == 0
    assert (tmp_path / "out" / "old").read_bytes() == b"old content"
    assert run(store.root, "--snapshot", "zz", "--target", tmp_path / "none").returncode == 10


def test_check_reads_every_pack(store):
    done = run(store.root, "--check")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_store_sealed_with_chacha_is_read(tmp_path):
    folder = StoreFolder(tmp_path / "store", suite=Suite.CHACHA20_POLY1305)
    folder.add_snapshot(folder.add_tree([folder.add_file(b"f", b"content")]))
    folder.finish()
    assert run(folder.root, "--target", tmp_path / "out").returncode == 0
    assert (tmp_path / "out" / "f").read_bytes() == b"content"


def test_other_words_find_nothing(store):
    done = run(store.root, "--list", master=bytes(32))
    assert done.returncode == 10
    assert "no finished backup" in done.stderr


def test_words_that_are_no_words_are_refused(store):
    command = [sys.executable, str(TOOL), str(store.root), "--list"]
    for text in ("abandon " * 24, "abandon " * 23, "x " * 24, ""):
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_a_target_with_something_in_it_is_refused(store, tmp_path):
    (tmp_path / "mine").write_text("mine")
    assert run(store.root, "--target", tmp_path).returncode == 2


def test_a_missing_pack_is_named_and_the_rest_comes_back(own_store, tmp_path):
    own_store.paths[own_store.packs[0]].unlink()
    done = run(own_store.root, "--target", tmp_path / "out")
    assert done.returncode == 15
    assert own_store.packs[0].hex() in done.stderr
    assert "/first:" in done.stderr
    assert (tmp_path / "out" / "second").read_bytes() == b"two"
    assert not (tmp_path / "out" / "first").exists()


def test_a_pack_with_a_flipped_bit_anywhere_is_not_believed(own_store, tmp_path):
    path = own_store.paths[own_store.packs[1]]
    data = bytearray(path.read_bytes())
    data[150_000] ^= 1  # in the padding: no seal that is opened covers it, the Merkle root does
    path.write_bytes(data)
    done = run(own_store.root, "--target", tmp_path / "out")
    assert done.returncode == 15
    assert path.name in done.stderr
    assert (tmp_path / "out" / "first").read_bytes() == b"one"
    assert not (tmp_path / "out" / "second").exists()
    assert run(own_store.root, "--check").returncode == 15


@pytest.mark.parametrize("name", ["agreement", "head"])
def test_statements_with_a_changed_bit_are_refused(own_store, name):
    path = own_store.folder / name
    data = path.read_bytes()
    for at in (5, 10, 30, len(data) // 3, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        done = run(own_store.root, "--list")
        assert done.returncode in {10, 15}
        assert "Traceback" not in done.stderr


def test_a_head_signed_by_another_device_is_refused(own_store):
    signed = own_store.signed_head
    forged = signed[:-64] + SigningKey.from_seed(b"x" * 32).sign(Purpose.HEAD, signed[4:-64])
    own_store.write_head(forged, own_store.signed_grant)
    done = run(own_store.root, "--list")
    assert done.returncode == 15
    assert "signature of a head" in done.stderr


def test_a_rolled_back_inventory_does_not_pass_for_the_head(own_store, tmp_path):
    other = StoreFolder(tmp_path / "other")
    other.add_snapshot(other.add_tree([other.add_file(b"else", b"else")]))
    other.finish()
    (own_store.folder / "head").write_bytes((other.folder / "head").read_bytes())
    assert run(own_store.root, "--list").returncode == 15


@pytest.mark.parametrize("name", [b"..", b".", b"a/b", b"/etc", b"nul\0"])
def test_names_that_escape_are_refused(tmp_path, name):
    # The encoder refuses such names, so the piece is made by replacing a name of the same length.
    folder = StoreFolder(tmp_path / "store")
    good = folder.add_file(b"Z" * len(name), b"content")
    from_encoder = folder.add_tree([good])
    assert from_encoder
    piece = _piece_of(good).replace(b"Z" * len(name), name)
    folder.add_snapshot(folder.add(BlobKind.TREE, piece))
    folder.finish()
    done = run(folder.root, "--target", tmp_path / "out")
    assert done.returncode == 15
    assert "holds the name" in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_a_link_is_never_written_through(tmp_path):
    folder = StoreFolder(tmp_path / "store")
    outside = tmp_path / "outside"
    outside.mkdir()
    link = entry(b"d", EntryKind.SYMLINK, target=os.fsencode(outside))
    inside = folder.add_directory(b"d", [folder.add_file(b"f", b"escaped")])
    root = folder.add(BlobKind.TREE, _piece_of(link)) + folder.add(BlobKind.TREE, _piece_of(inside))
    folder.add_snapshot(root)
    folder.finish()
    done = run(folder.root, "--target", tmp_path / "out")
    assert done.returncode == 15
    assert list(outside.iterdir()) == []


def _piece_of(*entries) -> bytes:
    return next(iter(encode_pieces(entries)))


def test_a_store_that_the_host_itself_wrote_is_read(store, tmp_path):
    root = tmp_path / "host"
    made = create_store(root, PeerId(store.host.public))
    agreement = (store.folder / "agreement").read_bytes()
    made.leases.put(agreement)
    for path in store.paths.values():
        data = path.read_bytes()
        with made.receive(store.agreement, StoredId(bytes.fromhex(path.name)), len(data)) as incoming:
            incoming.write(data)
            incoming.commit()
    made.heads.put_head(store.agreement, store.signed_head, store.signed_grant, signer=store.host, now_ms=1)
    made.close()
    done = run(root, "--target", tmp_path / "out", "--check")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out" / "home" / "deep" / "er" / "f").read_bytes() == b"deep"


def test_the_repository_of_the_head_is_the_one_restored(store):
    assert REPOSITORY.hex() in run(store.root, "--list").stdout
