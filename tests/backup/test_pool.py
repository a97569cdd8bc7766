"""Orders of a restore: the same comes of them in a thread and in a worker process, whatever happens to either."""

import os
import select
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from backup.trees_on_disk import describe
from backuppeer.backup import pool as pool_module
from backuppeer.backup import processes as processes_module
from backuppeer.backup import restore_run
from backuppeer.backup.orders import Order, Part, WantedBlob, WholeFile, carry_out
from backuppeer.backup.pages import PagePool
from backuppeer.backup.pool import WorkerPool
from backuppeer.crypto.keys import RepositoryKeys, derive_heir, derive_repository_keys, derive_working
from backuppeer.crypto.seal import preferred_suite
from backuppeer.errors import IntegrityFault, InterruptedByUserError, LocalError
from backuppeer.files.metadata import MetadataNote
from backuppeer.files.write import RestoreTarget
from backuppeer.ids import RepositoryId
from backuppeer.limits import PACK_TARGET_BYTES, RESTORE_WORKERS
from backuppeer.repo.blob import BlobKind, Compressor
from backuppeer.repo.pack import PackDraft, seal_pack
from files.descriptors import count_open

SECRET = bytes(range(32))
KEYS = derive_repository_keys(derive_working(SECRET, 0), RepositoryId(bytes(16)))


class Pack:
    """A sealed pack of some blobs, and how to order them."""

    def __init__(self, *plain: bytes, keys: RepositoryKeys = KEYS):
        draft, compressor = PackDraft(), Compressor(3)
        blobs = [compressor.pack_blob(keys, BlobKind.DATA, data) for data in plain]
        for blob in blobs:
            draft.add(blob)
        closed = draft.close()
        sealed = seal_pack(closed, keys, preferred_suite())
        self.data, self.header = bytearray(sealed.data), sealed.header
        by_id = {entry.blob: entry for entry in closed.entries}
        self.entries = [by_id[blob.blob] for blob in blobs]

    def want(self, number, whole=(), parts=()):
        entry = self.entries[number]
        return WantedBlob(entry, 0, entry.offset, list(whole), list(parts))

    def order(self, *blobs):
        return Order(self.header, list(blobs), [0])


def whole(path, mode=0o640, mtime_ns=1_700_000_000_123_456_789, *, uid=None, attributes=None, is_sparse=False):
    owner = os.getuid() if uid is None else uid
    return WholeFile(path, mode, owner, os.getgid(), mtime_ns, "", "", attributes or {}, is_sparse)


def pay_no_heed():
    pass


@pytest.fixture
def target(tmp_path):
    with RestoreTarget(bytes(tmp_path / "target")) as target:
        yield target


def in_thread(target, check=pay_no_heed):
    return WorkerPool(KEYS, target, check=check)


def in_worker(target, check=pay_no_heed):
    pool = WorkerPool(KEYS, target, check=check)
    pool.start()
    assert pool.await_workers() >= 1
    return pool


@pytest.fixture(params=[in_thread, in_worker])
def hands(request):
    return request.param


def below(target) -> Path:
    return Path(f"/proc/self/fd/{target.folders.root_fd}").readlink()


def children() -> list[int]:
    """Return the workers that this process has started, from whichever thread; the oldest first."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"backuppeer.backup.worker" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return sorted(found)


def wait_ended(pid: int) -> None:
    """Wait for a process that need not be a child of ours."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    select.select([fd], [], [], 30)
    os.close(fd)


# --- the same in both
def test_whole_files_have_their_bytes_and_metadata(target, hands):
    pack = Pack(b"one", b"two" * 1000)
    order = pack.order(pack.want(1, [whole(b"b"), whole(b"c", mode=0o400)]), pack.want(0, [whole(b"a", mtime_ns=-1)]))
    with hands(target) as pool:
        report = pool.carry_out(order, [pack.data], [])
    assert (report.files, report.bytes, report.failures) == (3, 2 * 3000 + 3, [])
    for name, data, mode, mtime_ns in (
        ("a", b"one", 0o640, -1),
        ("b", b"two" * 1000, 0o640, 1_700_000_000_123_456_789),
        ("c", b"two" * 1000, 0o400, 1_700_000_000_123_456_789),
    ):
        path = below(target) / name
        assert path.read_bytes() == data
        assert (path.stat().st_mode & 0o7777, path.stat().st_mtime_ns) == (mode, mtime_ns)


@pytest.mark.parametrize("is_started", [False, True])
def test_packs_of_every_generation_are_opened_here_and_in_worker_processes(target, is_started):
    repository = RepositoryId(bytes(16))
    keys = [derive_repository_keys(derive_heir(SECRET, number, repository), repository) for number in (1, 2, 3)]
    pool = WorkerPool(keys[-1], target, check=pay_no_heed)
    if is_started:
        pool.start()
        assert pool.await_workers() >= 1
    with pool:
        for number, then in enumerate(keys):
            pack = Pack(b"of %d" % number, keys=then)
            report = pool.carry_out(pack.order(pack.want(0, [whole(b"%d" % number)])), [pack.data], [])
            assert report.failures == []
    assert [(below(target) / str(number)).read_bytes() for number in range(3)] == [b"of 0", b"of 1", b"of 2"]


def test_parts_get_into_files_that_the_agent_keeps(target, hands):
    pack = Pack(b"head", b"tail", b"other")
    writers = [target.create_file(name) for name in (b"long", b"twice")]
    order = pack.order(
        pack.want(1, parts=[Part(0, 4, False), Part(1, 5, False), Part(1, 1, False)]),
        pack.want(0, [whole(b"single")], [Part(0, 0, False)]),
        pack.want(2, parts=[Part(1, 0, False)]),
    )
    with hands(target) as pool:
        report = pool.carry_out(order, [memoryview(pack.data)], writers)
    for writer, name in zip(writers, (b"long", b"twice"), strict=True):
        writer.finish(whole(name))
    assert (below(target) / "long").read_bytes() == b"headtail"
    assert (below(target) / "twice").read_bytes() == b"otherail"[:5] + b"tail"
    assert (below(target) / "single").read_bytes() == b"head"
    assert (report.files, report.bytes, report.failures) == (1, 4 * 3 + 8 + 5, [])


def test_holes_and_attributes_are_those_of_the_original(target, hands):
    pack = Pack(b"x" + bytes(1 << 20))
    writer = target.create_file(b"long", size=4 << 20)
    attributes = {b"user.note": b"\0"}
    order = pack.order(pack.want(0, [whole(b"one", attributes=attributes, is_sparse=True)], [Part(0, 2 << 20, True)]))
    with hands(target) as pool:
        assert pool.carry_out(order, [pack.data], [writer]).failures == []
    writer.finish(whole(b"long", attributes=attributes))
    for name, size in (("one", (1 << 20) + 1), ("long", 4 << 20)):
        status = (below(target) / name).stat()
        assert status.st_size == size
        assert status.st_blocks * 512 <= 64 << 10
        assert os.getxattr(below(target) / name, "user.note") == b"\0"
    assert (below(target) / "long").read_bytes() == bytes(2 << 20) + b"x" + bytes((2 << 20) - 1)


def test_ranges_are_found_whatever_lies_between_them(target, hands):
    pack = Pack(b"first", b"second")
    pieces, blobs = [], []
    for number, entry in enumerate(pack.entries):
        pieces.append(bytes(number) + bytes(pack.data[entry.offset : entry.offset + entry.sealed_bytes]))
        blobs.append(WantedBlob(entry, number, number, [whole(b"%d" % number)], []))
    with hands(target) as pool:
        assert pool.carry_out(Order(pack.header, blobs, [0] * len(pieces)), pieces, []).files == 2
    assert (below(target) / "1").read_bytes() == b"second"


def test_a_pack_that_lies_in_pages_is_found_at_its_offsets_and_not_copied(target, hands, monkeypatch):
    pack = Pack(b"first", b"second")
    monkeypatch.setattr(pool_module, "_copy", None)  # in_thread doesn't copy either
    room = PagePool(PACK_TARGET_BYTES, 1, is_shared=True).take()
    room[: len(pack.data)] = pack.data
    second = pack.entries[1]
    piece = room[second.offset : second.offset + second.sealed_bytes]
    order = Order(pack.header, [WantedBlob(second, 0, 0, [whole(b"b")], [])], [second.offset])
    with hands(target) as pool:
        for _ in range(3):
            assert pool.carry_out(order, [piece], []).files == 1
            (below(target) / "b").rename(below(target) / "done")
    assert (below(target) / "done").read_bytes() == b"second"


def test_a_damaged_blob_costs_only_what_is_made_of_it(target, hands):
    pack = Pack(b"good", b"bad")
    writer = target.create_file(b"long")
    pack.data[pack.entries[1].offset] ^= 1
    order = pack.order(pack.want(1, [whole(b"x"), whole(b"y")], [Part(0, 0, False)]), pack.want(0, [whole(b"z")]))
    with hands(target) as pool:
        report = pool.carry_out(order, [pack.data], [writer])
    writer.abort()
    assert [(failed.blob, failed.want) for failed in report.failures] == [(0, 0), (0, 1), (0, 2)]
    assert all(isinstance(failed.cause(), IntegrityFault) for failed in report.failures)
    assert report.files == 1
    assert [path.name for path in below(target).iterdir()] == ["z"]


def test_a_header_that_is_none_fails_everything(target, hands):
    pack = Pack(b"good")
    order = Order(bytes(64), [pack.want(0, [whole(b"x"), whole(b"y")])], [0])
    with hands(target) as pool:
        report = pool.carry_out(order, [pack.data], [])
    assert [(failed.blob, failed.want) for failed in report.failures] == [(0, 0), (0, 1)]


def test_what_the_disk_refuses_is_told_with_its_number_and_the_rest_goes_on(target, hands):
    pack = Pack(b"data")
    (below(target) / "taken").write_bytes(b"mine")
    order = pack.order(pack.want(0, [whole(b"nowhere/x"), whole(b"taken"), whole(b"../out"), whole(b"free")]))
    with hands(target) as pool:
        report = pool.carry_out(order, [pack.data], [])
    causes = [failed.cause() for failed in report.failures]
    assert [type(cause) for cause in causes] == [FileNotFoundError, FileExistsError, IntegrityFault]
    assert (report.files, (below(target) / "taken").read_bytes()) == (1, b"mine")
    assert not (below(target).parent / "out").exists()


def test_overwriting_is_as_the_target_says(tmp_path, hands):
    pack = Pack(b"data")
    with RestoreTarget(bytes(tmp_path), overwrite=True) as target, hands(target) as pool:
        (tmp_path / "taken").write_bytes(b"mine")
        assert pool.carry_out(pack.order(pack.want(0, [whole(b"taken")])), [pack.data], []).files == 1
    assert (tmp_path / "taken").read_bytes() == b"data"


def test_metadata_that_could_not_be_set_is_counted_once(target, hands):
    pack = Pack(b"data")
    order = pack.order(pack.want(0, [whole(b"x", uid=2**40), whole(b"y", uid=2**40)]))
    with hands(target) as pool:
        pool.carry_out(order, [pack.data], [])
        pool.carry_out(pack.order(pack.want(0, [whole(b"z", uid=2**40)])), [pack.data], [])
    assert target.notes == {MetadataNote.OWNER: 3}


# --- workers as processes
def test_several_orders_one_after_the_other_leave_no_process_and_no_descriptor(target):
    pack = Pack(b"data")
    before = count_open()
    with in_worker(target) as pool:
        workers = children()
        for n in range(20):
            writer = target.create_file(b"long%d" % n)
            pool.carry_out(pack.order(pack.want(0, [whole(b"%d" % n)], [Part(0, 0, False)])), [pack.data], [writer])
            writer.finish(whole(b"long%d" % n))
        for pid in workers:
            assert len(list(Path(f"/proc/{pid}/fd").iterdir())) < 16
    assert len(list(below(target).iterdir())) == 40
    assert not set(workers) & set(children())
    assert count_open() == before


@pytest.mark.parametrize("most", [1, RESTORE_WORKERS])
def test_there_are_as_many_workers_as_processors_up_to_the_limit(target, monkeypatch, most):
    monkeypatch.setattr(pool_module, "RESTORE_WORKERS", most)
    for processors in (most, most + 60):
        monkeypatch.setattr(pool_module, "count_processors", lambda processors=processors: processors)
        with WorkerPool(KEYS, target, check=pay_no_heed) as pool:
            pool.start()
            assert pool.await_workers() == most
            assert len(children()) == most, "counted once they have begun: before, the system may not name them yet"
    assert children() == []


def test_no_secret_is_in_the_arguments_or_the_environment_of_a_worker(target, monkeypatch):
    monkeypatch.setenv("AWS_SECRET", "hunter2")
    with in_worker(target):
        for pid in children():
            shown = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
            assert b"backuppeer.backup.worker" in shown
            assert b"hunter2" not in shown
            for secret in (KEYS.export()[20:], SECRET):
                assert secret not in shown
                assert secret.hex().encode() not in shown


def kill(pids):
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        wait_ended(pid)


def test_an_order_whose_worker_is_killed_is_taken_up_by_another(target, monkeypatch):
    monkeypatch.setattr(pool_module, "count_processors", lambda: 2)
    pack = Pack(b"data")
    with in_worker(target) as pool, capture_logs() as logs:
        kill([pool._workers._idle[-1]._process.pid])  # the next to be taken
        for name in (b"x", b"y"):
            assert pool.carry_out(pack.order(pack.want(0, [whole(name)])), [pack.data], []).files == 1
        assert [entry["event"] for entry in logs] == ["a worker process was ended from outside"]
        assert pool.await_workers() == 1


def test_a_second_worker_that_is_killed_ends_the_restore_with_words(target, monkeypatch):
    monkeypatch.setattr(pool_module, "count_processors", lambda: 2)
    pack = Pack(b"data")
    with in_worker(target) as pool:
        kill(children())
        with pytest.raises(LocalError, match="worker process") as caught:
            pool.carry_out(pack.order(pack.want(0, [whole(b"x")])), [pack.data], [])
    assert "memory" in caught.value.hint


def test_what_the_first_worker_finished_counts_and_what_somebody_else_put_there_does_not(target, hands):
    pack = Pack(b"data")
    order = pack.order(pack.want(0, [whole(b"done"), whole(b"foreign"), whole(b"new")]))
    with hands(target) as pool:
        pool.carry_out(pack.order(pack.want(0, [whole(b"done")])), [pack.data], [])
        (below(target) / "foreign").write_bytes(b"data")
        report = pool.carry_out(msgspec.structs.replace(order, is_again=True), [pack.data], [])
    assert report.files == 2
    assert [(failed.want, type(failed.cause())) for failed in report.failures] == [(1, FileExistsError)]


def test_a_fault_in_a_worker_is_not_lost(target):
    pack = Pack(b"data")
    with in_worker(target) as pool, capture_logs() as logs, pytest.raises(LocalError, match="failed"):
        pool.carry_out(pack.order(pack.want(0, parts=[Part(7, 0, False)])), [pack.data], [])
    assert "IndexError" in logs[0]["exception"]


def test_where_no_worker_can_be_started_the_thread_does_it(target, monkeypatch):
    def refuse(*_args, **_options):
        raise BlockingIOError

    monkeypatch.setattr(processes_module.subprocess, "Popen", refuse)
    pack = Pack(b"data")
    with WorkerPool(KEYS, target, check=pay_no_heed) as pool:
        pool.start()
        assert pool.await_workers() == 0
        assert pool.carry_out(pack.order(pack.want(0, [whole(b"x")])), [pack.data], []).files == 1


@pytest.mark.parametrize(
    "fault", [("processes.sys.executable", "/bin/false"), ("pool.RestoreStart", lambda *_: "no start")]
)
def test_a_worker_that_ends_at_once_is_done_without(target, monkeypatch, fault):
    monkeypatch.setattr(f"backuppeer.backup.{fault[0]}", fault[1])
    pack = Pack(b"data")
    with WorkerPool(KEYS, target, check=pay_no_heed) as pool:
        pool.start()
        assert pool.await_workers() == 0
        assert pool.carry_out(pack.order(pack.want(0, [whole(b"x")])), [pack.data], []).files == 1


@pytest.mark.parametrize("equal", [False, True])
def test_a_cancelled_order_ends_soon_and_nothing_is_written_after_it(target, monkeypatch, equal):
    monkeypatch.setattr(processes_module, "WORKER_LOOK_S", 0.0)
    pack = Pack(*(b"%d" % n for n in range(3000)))
    order = pack.order(*(pack.want(n, [whole(b"%d" % n)]) for n in range(3000)))
    if equal:
        order = pack.order(pack.want(0, [whole(b"%d" % n) for n in range(3000)]))

    def check():
        if any(below(target).iterdir()):  # it has begun
            raise InterruptedByUserError("enough")

    with in_worker(target, check) as pool:
        with pytest.raises(InterruptedByUserError):
            pool.carry_out(order, [pack.data], [])
        written = len(list(below(target).iterdir()))
        assert 0 < written < 3000
    assert len(list(below(target).iterdir())) == written


def test_a_cancelled_restore_does_not_wait_for_a_worker_that_hangs(target, monkeypatch):
    monkeypatch.setattr(processes_module, "WORKER_LOOK_S", 0.0)
    monkeypatch.setattr(processes_module, "WORKER_END_S", 0.1)
    pack = Pack(b"data")

    def check():
        raise InterruptedByUserError("enough")

    with in_worker(target, check) as pool:
        workers = children()
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        with pytest.raises(InterruptedByUserError):
            pool.carry_out(pack.order(pack.want(0, [whole(b"x")])), [pack.data], [])
    assert not set(workers) & set(children())
    assert not list(below(target).iterdir())


def test_workers_end_when_their_agent_is_killed(tmp_path):
    script = textwrap.dedent(
        """
        import sys, time
        from backup.test_pool import KEYS, Pack, children, in_worker, whole
        from backuppeer.files.write import RestoreTarget
        with RestoreTarget(sys.argv[1].encode()) as target, in_worker(target) as pool:
            print(*children(), flush=True)
            pack = Pack(*(b"%d" % n for n in range(3000)))
            while True:
                pool.carry_out(pack.order(*(pack.want(n, [whole(b"%d" % n)]) for n in range(3000))), [pack.data], [])
        """
    )
    command = [sys.executable, "-c", script, str(tmp_path / "target")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as agent:
        workers = [int(word) for word in agent.stdout.readline().split()]
        assert workers
        agent.kill()
    for pid in workers:
        wait_ended(pid)
        assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text()


# --- a whole restore
def test_a_restore_by_workers_is_the_same_as_one_without(repository, source, tmp_path, monkeypatch):
    monkeypatch.setattr(restore_run, "RESTORE_FIRST_BLOBS", 1)
    carried = []

    def carry(self, order, pieces, files):
        carried.append(self.await_workers())
        return carry_in_worker(self, order, pieces, files)

    carry_in_worker = WorkerPool.carry_out
    monkeypatch.setattr(WorkerPool, "carry_out", carry)
    for n in range(300):
        path = source / f"{n % 7}" / f"{n}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(n * 7))
        path.chmod(0o600 + n % 64)
    (source / "long").write_bytes(os.urandom(5 << 20))
    result = repository.backup(source)
    restored = repository.restore(result.snapshot, tmp_path / "target")
    assert restored.errors == 0
    assert carried[-1] >= 1
    assert describe(tmp_path / "target" / str(source).lstrip("/")) == describe(source)


def test_orders_are_carried_out_as_they_are_given(target):
    """`carry_out` itself asks before each file whether anybody still wants it."""
    pack = Pack(b"1", b"2")
    asked = []

    def check():
        asked.append(len(list(below(target).iterdir())))

    order = pack.order(pack.want(0, [whole(b"0"), whole(b"1")]), pack.want(1, [whole(b"2")]))
    carry_out(order, [pack.data], [], keys=KEYS, target=target, check=check)
    assert asked == [0, 1, 2]
