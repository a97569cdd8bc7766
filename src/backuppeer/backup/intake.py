"""What a backup takes in: batches of files read by worker processes or threads, told from what is known, packed.

Knows: which blobs are new, who reads. Must not know: directories' entries, the walk, where packs go.

A worker process reads a batch and says what is in it, is told what is new, and gives that back compressed (ADR 0028).
Processes are started when a backup has read more than a few batches: a small one is over before they would be ready.
"""

import threading
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

import msgspec
import structlog

from backuppeer.backup.packer import Packer
from backuppeer.backup.processes import Job, Worker, WorkerEndedError, Workers, count_processors, shared_file
from backuppeer.backup.reading import (
    MET_BYTES,
    READ_MEMORY_BYTES,
    FileRead,
    FileToRead,
    Packed,
    PackTask,
    Reader,
    Reading,
    ReadTask,
)
from backuppeer.backup.worker import ReadStart
from backuppeer.crypto.keys import RepositoryKeys
from backuppeer.errors import InterruptedByUserError, LocalError
from backuppeer.ids import BlobId
from backuppeer.limits import READ_ALONE_BATCHES, READ_WORKERS
from backuppeer.repo.blob import Blob, BlobKind
from backuppeer.repo.index import Index

_log = structlog.get_logger()
D = TypeVar("D", bytes, memoryview)


class Engine(msgspec.Struct, frozen=True):
    """What all threads of one backup share."""

    keys: RepositoryKeys
    index: Index
    packer: Packer
    level: int
    dry_run: bool
    one_file_system: bool
    cancel: threading.Event

    def check_cancelled(self) -> None:
        """Stop here when the user said so.

        Raises:
            InterruptedByUserError: the job was cancelled.

        """
        if self.cancel.is_set():
            raise InterruptedByUserError("the backup was cancelled", hint="what was sent stays and speeds up the next")


class Reads(Protocol):
    """Reads a batch, and compresses what is wanted of it: a `Reader` here, or one in another process."""

    def read(self, files: Sequence[FileToRead], directories: Sequence[int]) -> Reading:
        """Read files; `directories`: open descriptors."""
        ...

    def pack(self, numbers: Sequence[int]) -> list[Blob]:
        """Return blobs of the last reading."""
        ...


class RemoteReader:
    """A `Reader` in a worker process. `is_eager`: most of what it reads will be wanted."""

    def __init__(self, worker: Worker, check: Callable[[], None], *, is_eager: bool) -> None:
        self._worker, self._check, self._is_eager = worker, check, is_eager
        self._reading = Reading([], [], [])

    def read(self, files: Sequence[FileToRead], directories: Sequence[int]) -> Reading:
        """Read files there."""
        task = msgspec.msgpack.encode(ReadTask(list(files), self._is_eager))
        self._reading = _decode_reading(self._worker.ask(task, directories, self._check))
        return self._reading

    def pack(self, numbers: Sequence[int]) -> list[Blob]:
        """Return blobs of the last reading, compressed there; in any order."""
        wanted, reading = set(numbers), self._reading
        blobs = self._take(reading.numbers, reading.packed, wanted)
        if more := sorted(wanted.difference(reading.numbers)):
            task = msgspec.msgpack.encode(PackTask(more))
            blobs += self._take(more, _decode_packed(self._worker.ask(task, (), self._check)), wanted)
        return blobs

    def _take(self, numbers: Sequence[int], packed: Sequence[Packed], wanted: AbstractSet[int]) -> list[Blob]:
        # Copied out, for the pack they go into is sealed long after the worker has the next batch; in one piece, for
        # thousands of small ones leave the allocator's memory full of holes.
        payloads = memoryview(bytes(self._worker.memory[: sum([item.payload_bytes for item in packed])]))
        ids, sizes = self._reading.blobs, self._reading.sizes
        blobs, at = [], 0
        for number, item in zip(numbers, packed, strict=True):
            if number in wanted:
                payload = payloads[at : at + item.payload_bytes]
                blobs.append(Blob(BlobId(ids[number]), BlobKind.DATA, item.codec, sizes[number], payload))
            at += item.payload_bytes
        return blobs


_decode_reading: Final = msgspec.msgpack.Decoder(Reading).decode
_decode_packed: Final = msgspec.msgpack.Decoder(list[Packed]).decode


class _Tools(threading.local):
    """Gives each thread its own `Reader`."""

    def __init__(self, engine: Engine) -> None:
        self.reader = Reader(engine.keys, engine.level, engine.check_cancelled)


def count_readers() -> int:
    """Return how many worker processes a long backup has: one more would wait less, and cost 25 MB."""
    return min(count_processors(), READ_WORKERS)


class Intake:
    """The reading of one backup; thread-safe. Leaving `with` ends its processes."""

    def __init__(self, engine: Engine, *, gives_way: bool = False) -> None:
        self.engine = engine
        self._tools = _Tools(engine)
        start = msgspec.msgpack.encode(ReadStart(engine.keys.export(), engine.level))
        self._met = shared_file(MET_BYTES)
        job = Job(start, (self._met.fileno(),), READ_MEMORY_BYTES, gives_way=gives_way)
        self._workers = Workers(job, check=engine.check_cancelled)
        self._is_eager = False
        self._counting = threading.Lock()
        self._batches = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.__exit__(kind, error, trace)
        self._met.close()

    def await_workers(self) -> int:
        """Wait until the processes that were started have begun; return how many there are."""
        return self._workers.await_workers()

    def start(self) -> None:
        """Start the processes; once only."""
        self._workers.start(count_readers())

    def read_files(self, files: Sequence[FileToRead], directories: Sequence[int]) -> list[FileRead]:
        """Read and pack the files of a batch; the result has one item per file, in order.

        A process that is ended from outside does not end the backup: this thread reads its batch again.

        Raises:
            InterruptedByUserError: the job was cancelled.
            BackupPeerError: the packs can't be stored any more.
            LocalError: a process failed, or was ended just when a file changed.

        """
        self.engine.check_cancelled()
        self._count_batch()
        owed: set[BlobId] = set()
        worker = self._workers.take()
        if worker is None:
            return self._bring_in(self._tools.reader, files, directories, owed)
        self._tools.reader.rest()
        is_well = False
        try:
            remote = RemoteReader(worker, self.engine.check_cancelled, is_eager=self._is_eager)
            results, blobs = self._read(remote, files, directories, owed)
            is_well = True
        except WorkerEndedError as exc:
            _log.warning("a worker process was ended from outside", reason=exc.message)
        finally:
            self._workers.give_back(worker, is_well=is_well)
        if not is_well:
            return self._bring_in(self._tools.reader, files, directories, owed)
        # Without the worker, which has the next batch by now: a full pack is sealed here, and may have to wait.
        self.engine.packer.add(blobs)
        return results

    def _count_batch(self) -> None:
        with self._counting:
            self._batches += 1
            is_due = self._batches == READ_ALONE_BATCHES
        if is_due:
            self.start()

    def _bring_in(
        self, reads: Reads, files: Sequence[FileToRead], directories: Sequence[int], owed: set[BlobId]
    ) -> list[FileRead]:
        """Read and pack."""
        results, blobs = self._read(reads, files, directories, owed)
        self.engine.packer.add(blobs)
        return results

    def _read(
        self, reads: Reads, files: Sequence[FileToRead], directories: Sequence[int], owed: set[BlobId]
    ) -> tuple[list[FileRead], list[Blob]]:
        """Return what came of each file, and the blobs to be added.

        `owed` is what was claimed and not added: others rely on it, so it must be brought now.
        """
        reading = reads.read(files, directories)
        if owed.difference(reading.blobs):
            raise LocalError(
                "a worker process was ended from outside just when a file changed", hint="run the same backup again"
            )
        packer = self.engine.packer
        fresh = packer.claim([BlobId(blob) for blob in reading.blobs]) | owed
        numbers = [number for number, blob in enumerate(reading.blobs) if blob in fresh]
        new_bytes = sum([reading.sizes[number] for number in numbers])
        self._is_eager = 2 * new_bytes > sum(reading.sizes)
        if self.engine.dry_run:
            packer.count_plain(new_bytes)
            return reading.files, []
        owed |= fresh
        return reading.files, reads.pack(numbers) if numbers else []

    def read_segment(self, chunks: Sequence[memoryview]) -> bytes:
        """Hash and pack the chunks of a large file that the walk read; returns their ids, joined.

        Raises:
            InterruptedByUserError: the job was cancelled.
            BackupPeerError: the packs can't be stored any more.

        """
        engine = self.engine
        engine.check_cancelled()
        named = [(engine.keys.blob_id(BlobKind.DATA, part), part) for part in chunks]
        fresh = self._claim(named)
        if engine.dry_run:
            engine.packer.count_plain(sum(map(len, fresh.values())))
        elif fresh:
            engine.packer.add(self._tools.reader.pack_segment(list(fresh.items()), sum(map(len, chunks))))
        return b"".join([blob for blob, _ in named])

    def pack_pieces(self, pieces: Sequence[tuple[BlobId, bytes]]) -> None:
        """Compress and add those of the named pieces of trees that nobody has yet.

        Raises:
            BackupPeerError: the packs can't be stored any more.

        """
        fresh = self._claim(pieces)
        if fresh and not self.engine.dry_run:
            self.engine.packer.add(self._tools.reader.pack_named(list(fresh.items()), BlobKind.TREE))

    def _claim(self, chunks: Sequence[tuple[BlobId, D]]) -> dict[BlobId, D]:
        fresh = self.engine.packer.claim([blob for blob, _ in chunks])
        return {blob: data for blob, data in chunks if blob in fresh}
