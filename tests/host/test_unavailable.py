"""A store that is unplugged, foreign, full, read-only or in use is unavailable, and never taken for empty."""

import errno
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import StoreUnavailable
from backuppeer.host.disk import explain_database_failure, write_all
from backuppeer.host.leases import Lease
from backuppeer.host.store import Store, create_store, open_store
from backuppeer.ids import PeerId
from backuppeer.limits import MIB
from backuppeer.proof.merkle import compute_stored_id
from host.host_world import NOW_MS, World, agreement_id, put_pack

A = agreement_id()
NOBODY = 65534


def test_a_missing_folder_is_unavailable_and_not_made(directory: Path, world: World) -> None:
    with pytest.raises(StoreUnavailable, match="no store") as caught:
        open_store(directory, world.peer)
    assert caught.value.hint
    assert not directory.exists()


def test_an_empty_mount_point_is_unavailable_and_stays_empty(directory: Path, world: World) -> None:
    directory.mkdir()
    with pytest.raises(StoreUnavailable):
        open_store(directory, world.peer)
    assert not any(directory.iterdir())


def test_a_foreign_store_is_refused_by_name(store: Store, directory: Path) -> None:
    store.close()
    stranger = PeerId(SigningKey.from_seed(b"s" * 32).public)
    for opener in (open_store, create_store):
        with pytest.raises(StoreUnavailable, match="belongs to another peer"):
            opener(directory, stranger)


@pytest.mark.parametrize("text", ["", "hello\n", "backup-peer store 2\nstore {s}\npeer {p}\n", "\xff" * 9000])
def test_a_marker_that_is_not_ours_opens_nothing(store: Store, directory: Path, world: World, text: str) -> None:
    store.close()
    marker = directory / "backup-peer-store"
    peer = marker.read_text().split()[-1]
    marker.write_text(text.format(s="0" * 32, p=peer))
    with pytest.raises(StoreUnavailable):
        open_store(directory, world.peer)


def test_a_store_that_lost_its_marker_is_not_made_anew(store: Store, directory: Path, world: World) -> None:
    store.close()
    (directory / "backup-peer-store").unlink()
    with pytest.raises(StoreUnavailable, match="without its marker"):
        create_store(directory, world.peer)


def test_one_store_is_open_in_one_place_only(store: Store, directory: Path, world: World) -> None:
    with pytest.raises(StoreUnavailable, match="in use"):
        open_store(directory, world.peer)
    store.close()
    open_store(directory, world.peer).close()


def test_unplugged_in_mid_work_nothing_answers_empty(store: Store, lease: Lease, directory: Path, world: World) -> None:
    stored = put_pack(store, b"x" * 1000)
    store.heads.put_head(A, world.head(1), world.grant(), signer=world.host, now_ms=NOW_MS)
    data = os.urandom(50_000)
    incoming = store.receive(A, compute_stored_id(data), len(data))
    incoming.write(data[:20_000])
    away = directory.with_name("unplugged")
    directory.rename(away)
    incoming.write(data[20_000:])
    with pytest.raises(StoreUnavailable):
        incoming.commit()
    for call in (
        lambda: store.has(A, stored),
        lambda: store.read(A, stored, offset=0, length=1),
        lambda: store.list_packs(A),
        lambda: store.usage(A),
        lambda: store.receive(A, stored, 1000),
        lambda: store.heads.get(A),
        lambda: store.heads.put_head(A, world.head(1), world.grant(), signer=world.host, now_ms=NOW_MS),
        lambda: store.leases.put(world.agree(2)),
    ):
        with pytest.raises(StoreUnavailable):
            call()
    directory.mkdir()
    with pytest.raises(StoreUnavailable):
        store.has(A, stored)
    shutil.copy(away / "backup-peer-store", directory)
    with pytest.raises(StoreUnavailable, match="not the one that was opened"):
        store.has(A, stored)
    shutil.rmtree(directory)
    away.rename(directory)
    assert store.has(A, stored)
    assert not store.has(A, compute_stored_id(data))
    assert store.usage(A).reserved_bytes == 0


class FullDisk:
    """Writes until `room` bytes are used, then fails as the system would, after a short write."""

    def __init__(self, room: int, code: int) -> None:
        self.room = room
        self.code = code

    def __call__(self, descriptor: int, data: bytes | bytearray | memoryview) -> None:
        taken = data[: self.room]
        write_all(descriptor, taken)
        self.room -= len(taken)
        if len(taken) < len(data):
            raise OSError(self.code, os.strerror(self.code))


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "full"), (errno.EDQUOT, "full"), (errno.EIO, "fails"), (errno.EROFS, "written")]
)
def test_a_disk_that_fails_in_mid_pack_leaves_nothing_half_written(
    directory: Path, world: World, code: int, words: str
) -> None:
    store = create_store(directory, world.peer, floor_bytes=0, write=FullDisk(2 * MIB + 100, code))
    try:
        store.leases.put(world.agree())
        kept = put_pack(store, os.urandom(MIB))
        with pytest.raises(StoreUnavailable, match=words):
            put_pack(store, os.urandom(2 * MIB))
        assert not any((directory / "incoming").iterdir())
        usage = store.usage(A)
        assert (usage.used_bytes, usage.reserved_bytes, usage.packs) == (MIB, 0, 1)
        assert [row.stored for row in store.list_packs(A)] == [kept]
    finally:
        store.close()


LIMITED = """
import signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from host.host_world import World, put_pack
from backuppeer.errors import StoreUnavailable
from backuppeer.host.store import create_store
import os, resource
world = World()
store = create_store(Path(sys.argv[1]), world.peer, floor_bytes=0)
store.leases.put(world.agree())
put_pack(store, b"small")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, resource.RLIM_INFINITY))
try:
    put_pack(store, os.urandom(3_000_000))
except StoreUnavailable as exc:
    print("refused:", exc.message)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
put_pack(store, b"still alive")
print("packs:", store.usage(bytes([1]) * 16).packs, "reserved:", store.usage(bytes([1]) * 16).reserved_bytes)
print("incoming:", len(os.listdir(Path(sys.argv[1]) / "incoming")))
store.close()
"""


def test_a_write_that_the_system_itself_cuts_short_is_refused_and_forgotten(directory: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    command = [sys.executable, "-c", LIMITED, str(directory), str(Path(__file__).parent.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "refused: the disk of the store" in done.stdout
    assert "packs: 2 reserved: 0" in done.stdout
    assert "incoming: 0" in done.stdout


@pytest.fixture
def public_directory() -> Iterator[Path]:
    """A directory that an unprivileged user can reach, also when the tests run as root."""
    path = Path(tempfile.mkdtemp(prefix="backup-peer-test-"))
    yield path
    for entry in [path, *path.rglob("*")]:
        if entry.is_dir():
            entry.chmod(0o700)
    shutil.rmtree(path)


def test_a_read_only_store_is_unavailable_and_unchanged(public_directory: Path, world: World) -> None:
    directory = public_directory / "store"
    create_store(directory, world.peer, floor_bytes=0).close()
    is_root = os.geteuid() == 0
    for entry in [directory, *directory.rglob("*")]:
        if is_root:
            os.chown(entry, NOBODY, NOBODY)
        entry.chmod(0o555 if entry.is_dir() else 0o444)
    public_directory.chmod(0o755)
    before = sorted(p.name for p in directory.rglob("*"))
    if is_root:
        os.seteuid(NOBODY)
    try:
        with pytest.raises(StoreUnavailable):
            open_store(directory, world.peer)
    finally:
        if is_root:
            os.seteuid(0)
    assert sorted(p.name for p in directory.rglob("*")) == before


def test_the_disk_floor_is_kept(directory: Path, world: World) -> None:
    floor = shutil.disk_usage(directory.parent).total * 2
    store = create_store(directory, world.peer, floor_bytes=floor)
    try:
        store.leases.put(world.agree())
        with pytest.raises(Exception, match="disk is nearly full: 0 B free now"):
            store.receive(A, compute_stored_id(b"x"), 1)
    finally:
        store.close()


def test_a_quota_that_the_catalogue_runs_into_is_not_only_asked_of_its_mount(directory: Path) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    told = explain_database_failure(error, directory)
    assert isinstance(told, StoreUnavailable)
    assert "full" in told.hint
