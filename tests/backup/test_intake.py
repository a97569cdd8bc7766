"""Batches of a backup: the same comes of them in a thread and in a worker process, whatever happens to either."""

import mmap
import os
import signal
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from backup.memory_engine import MemorySink, Vault
from backup.test_pool import children, wait_ended
from backup.trees_on_disk import describe
from backuppeer.backup import intake as intake_module
from backuppeer.backup import processes as processes_module
from backuppeer.backup.intake import Engine, Intake, RemoteReader
from backuppeer.backup.packer import Packer
from backuppeer.backup.processes import Worker
from backuppeer.backup.reading import MET_BYTES, READ_MEMORY_BYTES, FileToRead, Met, Reader
from backuppeer.errors import InterruptedByUserError, LocalError
from backuppeer.limits import BATCH_BYTES, CHUNK_MIN_BYTES, READ_ALONE_BATCHES, READ_WORKERS, SMALL_FILE_BYTES
from backuppeer.repo.blob import BlobKind, Codec
from files.descriptors import count_open

LEVEL = 3


class Batch:
    """Files in folders, and what the walk would hand over of them."""

    def __init__(self, root: Path):
        self.root, self.folders, self.files = root, [], []

    def add(self, folder: str, name: str, data: bytes, size: int | None = None):
        path = self.root / folder
        path.mkdir(exist_ok=True)
        (path / name).write_bytes(data)
        if not self.folders or self.folders[-1][0] != folder:
            self.folders.append((folder, os.open(path, os.O_RDONLY | os.O_DIRECTORY)))
        found = len(data) if size is None else size
        self.files.append(FileToRead(len(self.folders) - 1, os.fsencode(name), found))

    @property
    def directories(self):
        return [fd for _, fd in self.folders]


@pytest.fixture
def batch(tmp_path):
    made = Batch(tmp_path)
    yield made
    for fd in made.directories:
        os.close(fd)


class Bench:
    """An intake over a repository in memory; `drafts` are the packs it made."""

    def __init__(self, repository, *, dry_run=False, gives_way=False):
        self.cancel = threading.Event()
        self.sink = MemorySink(repository.keys, repository.index, Vault())
        self.packer = Packer(repository.index, None if dry_run else self.sink)
        self.engine = Engine(repository.keys, repository.index, self.packer, LEVEL, dry_run, False, self.cancel)
        self.intake = Intake(self.engine, gives_way=gives_way)

    def finish(self):
        """Return the payloads of all packs by blob id."""
        self.packer.finish([], lambda _: self._root())
        drafts = self.sink.drafts
        return {
            entry.blob: (entry.codec, payload)
            for draft in drafts
            for entry, payload in zip(draft.entries, draft.payloads, strict=True)
            if entry.kind is BlobKind.DATA
        }

    def _root(self):
        return [Reader(self.engine.keys, LEVEL, lambda: None).pack_named([(bytes(32), b"root")], BlobKind.INDEX)[0]]


@pytest.fixture
def bench(repository):
    made = Bench(repository)
    with made.intake:
        yield made


@pytest.fixture(params=["thread", "process", "eager process"])
def either(bench, request):
    if request.param != "thread":
        start(bench, is_eager=request.param == "eager process")
    return bench


def start(bench, *, is_eager=False):
    bench.intake.start()
    assert bench.intake.await_workers() >= 1
    bench.intake._is_eager = is_eager


def named_in(results):
    """Return the blob ids that files consist of."""
    return {result.content[at : at + 32] for result in results for at in range(0, len(result.content), 32)}


def fill(batch):
    batch.add("a", "empty", b"", size=7)
    batch.add("a", "text", b"all work and no play " * 400)
    batch.add("b", "again", b"all work and no play " * 400)
    batch.add("b", "random", os.urandom(5000))
    batch.add("c", "long", os.urandom(3 * CHUNK_MIN_BYTES))


# --- the same in both
def test_files_are_named_and_each_blob_is_packed_once(batch, either):
    fill(batch)
    results = either.intake.read_files(batch.files, batch.directories)
    assert [result.problem for result in results] == [""] * 5
    assert [result.size for result in results] == [0, 8400, 8400, 5000, 3 * CHUNK_MIN_BYTES]
    keys = either.engine.keys
    assert results[1].content == results[2].content == keys.blob_id(BlobKind.DATA, b"all work and no play " * 400)
    packed = either.finish()
    assert set(packed) == named_in(results)
    assert packed[results[1].content][0] is Codec.ZSTD
    assert packed[results[3].content] == (Codec.RAW, (batch.root / "b" / "random").read_bytes())
    assert either.packer.new_bytes == 8400 + 5000 + 3 * CHUNK_MIN_BYTES


def test_what_is_known_is_not_packed_again(batch, either):
    fill(batch)
    first = either.intake.read_files(batch.files, batch.directories)
    new_bytes = either.packer.new_bytes
    assert either.intake.read_files(batch.files, batch.directories) == first
    assert either.packer.new_bytes == new_bytes


def test_metadata_is_what_the_open_file_said(batch, either):
    batch.add("a", "f", b"data")
    path = batch.root / "a" / "f"
    path.chmod(0o741)
    os.utime(path, ns=(5, -7))
    (result,) = either.intake.read_files(batch.files, batch.directories)
    status = path.stat()
    assert (result.opened.mode, result.opened.mtime_ns, result.opened.inode) == (0o741, -7, status.st_ino)
    assert result.opened.ctime_ns == status.st_ctime_ns


def test_what_can_t_be_read_is_told_file_by_file(batch, either):
    batch.add("a", "there", b"data")
    batch.add("a", "gone", b"data")
    (batch.root / "a" / "gone").unlink()
    batch.add("a", "link", b"data")
    (batch.root / "a" / "link").unlink()
    (batch.root / "a" / "link").symlink_to("there")
    there, gone, link = either.intake.read_files(batch.files, batch.directories)
    assert there.problem == ""
    assert (gone.opened, gone.problem) == (None, "no such file or directory")
    assert link.opened is None


def test_a_file_that_grew_takes_no_room_of_those_after_it(batch, either):
    """Found small, now larger than a batch: it is cut and told; the others are read whole."""
    batch.add("a", "grown", os.urandom(BATCH_BYTES + SMALL_FILE_BYTES + 10), size=10)
    batch.add("a", "full", os.urandom(SMALL_FILE_BYTES))
    grown, full = either.intake.read_files(batch.files, batch.directories)
    assert grown.problem == "changed its size while it was read"
    assert full.problem == ""
    assert full.size == SMALL_FILE_BYTES
    either.finish()


def test_a_file_that_grew_a_little_is_read_whole(batch, either):
    batch.add("a", "grown", b"longer than it was", size=4)
    (grown,) = either.intake.read_files(batch.files, batch.directories)
    assert (grown.problem, grown.size) == ("", 18)


def test_the_fullest_batch_of_what_does_not_shrink_fits_the_shared_memory(batch, either):
    batch.add("a", "most", os.urandom(BATCH_BYTES - 1))
    batch.add("a", "last", os.urandom(SMALL_FILE_BYTES))
    assert all(not result.problem for result in either.intake.read_files(batch.files, batch.directories))
    assert sum(len(payload) for _, payload in either.finish().values()) == BATCH_BYTES - 1 + SMALL_FILE_BYTES
    assert READ_MEMORY_BYTES > BATCH_BYTES + SMALL_FILE_BYTES


def test_a_cancelled_backup_reads_no_more(batch, either):
    fill(batch)
    either.cancel.set()
    with pytest.raises(InterruptedByUserError):
        either.intake.read_files(batch.files, batch.directories)


def test_a_dry_run_counts_and_compresses_nothing(batch, repository):
    fill(batch)
    bench = Bench(repository, dry_run=True)
    with bench.intake as intake:
        intake.start()
        assert intake.await_workers() >= 1
        intake.read_files(batch.files, batch.directories)
    assert bench.packer.new_bytes == 8400 + 5000 + 3 * CHUNK_MIN_BYTES
    assert bench.sink.drafts == []


# --- processes
def test_processes_are_started_once_a_backup_is_not_a_small_one(batch, bench):
    batch.add("a", "f", b"data")
    before = set(children())
    for _ in range(READ_ALONE_BATCHES - 1):
        bench.intake.read_files(batch.files, batch.directories)
    assert set(children()) == before
    for _ in range(5):
        bench.intake.read_files(batch.files, batch.directories)
    assert bench.intake.await_workers() == min(processes_module.count_processors(), READ_WORKERS)


def test_there_are_no_more_processes_than_the_limit_whatever_the_machine(monkeypatch):
    monkeypatch.setattr(intake_module, "count_processors", lambda: 64)
    assert intake_module.count_readers() == READ_WORKERS
    monkeypatch.setattr(intake_module, "count_processors", lambda: 1)
    assert intake_module.count_readers() == 1


def test_many_batches_leave_no_process_and_no_descriptor(batch, repository):
    fill(batch)
    before = count_open()
    bench = Bench(repository)
    with bench.intake as intake:
        intake.start()
        assert intake.await_workers() >= 1
        workers = set(children())
        for _ in range(20):
            intake.read_files(batch.files, batch.directories)
        for pid in workers:
            assert len(list(Path(f"/proc/{pid}/fd").iterdir())) < 16
    assert not workers & set(children())
    assert count_open() == before


def kill_before(monkeypatch, step):
    """Have the worker killed just before it is asked to `step` for the first time."""
    original, is_done = getattr(RemoteReader, step), []

    def killed(self, *args):
        if not is_done:
            is_done.append(True)
            os.kill(self._worker._process.pid, signal.SIGKILL)
            wait_ended(self._worker._process.pid)
        return original(self, *args)

    monkeypatch.setattr(RemoteReader, step, killed)


@pytest.mark.parametrize(("step", "is_eager"), [("read", False), ("read", True), ("pack", False)])
def test_a_batch_whose_worker_is_killed_is_read_again(batch, bench, monkeypatch, step, is_eager):
    fill(batch)
    start(bench, is_eager=is_eager)
    kill_before(monkeypatch, step)
    with capture_logs() as logs:
        results = bench.intake.read_files(batch.files, batch.directories)
    assert [entry["event"] for entry in logs] == ["a worker process was ended from outside"]
    packed = bench.finish()
    assert set(packed) == {
        result.content[at : at + 32] for result in results for at in range(0, len(result.content), 32)
    }


def test_a_blob_that_others_rely_on_is_never_missed_in_silence(batch, bench, monkeypatch):
    """Claimed for this batch, so that another left it out; then the worker is killed and the file has changed."""
    batch.add("a", "f", b"data")
    bench.intake.start()
    assert bench.intake.await_workers() >= 1
    kill_before(monkeypatch, "pack")
    claim = bench.packer.claim

    def claim_and_change(blobs):
        fresh = claim(blobs)
        (batch.root / "a" / "f").write_bytes(b"other")
        return fresh

    monkeypatch.setattr(bench.packer, "claim", claim_and_change)
    with pytest.raises(LocalError, match="just when a file changed") as caught:
        bench.intake.read_files(batch.files, batch.directories)
    assert "again" in caught.value.hint


def count_asked(monkeypatch):
    """Count from now on how often workers are asked."""
    asked, ask = [], Worker.ask
    monkeypatch.setattr(Worker, "ask", lambda self, *args: asked.append(1) or ask(self, *args))
    return asked


def test_new_files_cost_a_worker_one_message_and_known_ones_are_not_compressed(batch, bench, monkeypatch):
    fill(batch)
    start(bench)
    asked = count_asked(monkeypatch)
    packed = []
    bench.intake.read_files(batch.files, batch.directories)
    assert len(asked) == 2, "nobody knew that all would be new"
    batch.add("d", "new", os.urandom(50_000))
    asked.clear()
    bench.intake.read_files(batch.files[-1:], batch.directories)
    assert len(asked) == 1
    decode = intake_module._decode_reading
    monkeypatch.setattr(intake_module, "_decode_reading", lambda data: packed.append(decode(data)) or packed[-1])
    for _ in range(2):
        bench.intake.read_files(batch.files, batch.directories)
    assert packed[-1].numbers == [], "of the batch before all was known"


def test_what_another_worker_met_but_nobody_added_is_asked_for(batch, bench):
    fill(batch)
    start(bench, is_eager=True)
    met = Met(memoryview(mmap.mmap(bench.intake._met.fileno(), MET_BYTES)))
    for data in (b"all work and no play " * 400, (batch.root / "b" / "random").read_bytes()):
        assert met.is_new(bench.engine.keys.blob_id(BlobKind.DATA, data))
    results = bench.intake.read_files(batch.files, batch.directories)
    packed = bench.finish()
    assert set(packed) == named_in(results)
    assert packed[results[3].content] == (Codec.RAW, (batch.root / "b" / "random").read_bytes())


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=50))
def test_met_is_told_of_what_was_met_unless_another_took_its_place(blobs):
    met, places = Met(memoryview(bytearray(64 * 8))), {}
    for blob in blobs:
        place, word = int.from_bytes(blob[:8], "little") % 64, blob[:8]
        assert met.is_new(blob) == (places.get(place, bytes(8)) != word)
        places[place] = word


def test_a_fault_in_a_worker_is_not_lost(batch, bench):
    bench.intake.start()
    assert bench.intake.await_workers() >= 1
    batch.files.append(FileToRead(9, b"in no directory", 1))
    with capture_logs() as logs, pytest.raises(LocalError, match="failed"):
        bench.intake.read_files(batch.files, batch.directories)
    assert "IndexError" in logs[0]["exception"]


@pytest.mark.timeout(60)
def test_who_waits_for_a_worker_that_another_thread_heard_does_not_wait_for_ever(bench):
    workers = bench.intake._workers
    bench.intake.start()
    first = workers._starting[0]
    wait = first.wait

    def wait_too_late():
        while first in workers._starting:
            workers._look_at_starting()  # the other thread is faster
        wait()

    first.wait = wait_too_late
    assert bench.intake.await_workers() >= 1


# --- a whole backup
def test_a_backup_by_processes_is_the_same_as_one_without(repository, source, tmp_path, monkeypatch):
    monkeypatch.setattr(intake_module, "READ_ALONE_BATCHES", 1)
    monkeypatch.setattr("backuppeer.backup.nodes.BATCH_FILES", 10)
    read, asked = Intake.read_files, []

    def read_when_ready(self, files, directories):
        if asked:
            self.await_workers()
        asked.append(len(files))
        return read(self, files, directories)

    monkeypatch.setattr(Intake, "read_files", read_when_ready)
    remote = []
    monkeypatch.setattr(
        intake_module, "RemoteReader", lambda *args, **fields: remote.append(1) or RemoteReader(*args, **fields)
    )
    for n in range(300):
        path = source / f"{n % 7}" / f"{n}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(n * 7) * 2)
        path.chmod(0o600 + n % 64)
    result = repository.backup(source)
    assert remote
    assert repository.restore(result.snapshot, tmp_path / "target").errors == 0
    assert describe(tmp_path / "target" / str(source).lstrip("/")) == describe(source)
    # A second time, by threads: nothing is new.
    monkeypatch.setattr(intake_module, "READ_ALONE_BATCHES", 1 << 30)
    for path in source.rglob("*"):
        os.utime(path, ns=(1, 1), follow_symlinks=False)
    again = repository.backup(source)
    assert again.new_bytes == 0


@pytest.mark.parametrize("gives_way", [True, False])
def test_the_processes_of_a_backup_that_nobody_waits_for_give_way(repository, gives_way):
    with Bench(repository, gives_way=gives_way).intake as intake:
        intake._workers.start(1)
        assert intake._workers.await_workers() == 1
        worker = intake._workers.take()
        own = os.getpriority(os.PRIO_PROCESS, 0)
        nicer = os.getpriority(os.PRIO_PROCESS, worker._process.pid) - own
        intake._workers.give_back(worker, is_well=True)
    assert nicer == (min(own + 10, 19) - own if gives_way else 0)
