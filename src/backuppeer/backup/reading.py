"""The work of one thread of a backup: read, cut, hash, and compress what is new.

Knows: buffers, chunks, which of them are new. Must not know: directories' entries, the walk, where packs go.

A job is as large as a hand-over between threads deserves (limits: BATCH_*, SEGMENT_BYTES). All small files of a batch
are read into one buffer first, so that the index is asked once per batch and the buffer stays in the processor's
cache. Each thread has its own buffer, chunker and compressor; nothing here is shared but the packer.
"""

import os
import threading
from collections.abc import Iterable, Sequence

import msgspec

from backuppeer.backup.packer import Packer
from backuppeer.crypto.keys import RepositoryKeys
from backuppeer.errors import InterruptedByUserError
from backuppeer.files.read import Opened, open_file, read_into
from backuppeer.files.scan import Directory
from backuppeer.ids import BlobId
from backuppeer.limits import BATCH_BYTES, CHUNK_MIN_BYTES, SMALL_FILE_BYTES
from backuppeer.repo.blob import Blob, BlobKind, Compressor
from backuppeer.repo.chunker import Chunker
from backuppeer.repo.index import Index

_SPARE_BYTES = 1
"""One byte more than a file should have is asked for, so that a file that grew is noticed without another call."""


class FileToRead(msgspec.Struct, frozen=True, gc=False):
    """A file of at most SMALL_FILE_BYTES as the walk found it; `directory` is kept open by the walk."""

    directory: Directory
    name: bytes
    size: int


class FileRead(msgspec.Struct, frozen=True, gc=False):
    """What came of a file. `problem`: empty, or what to tell; `opened` is None when nothing could be read at all."""

    opened: Opened | None
    content: bytes
    size: int
    problem: str


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


class Reader:
    """The tools of one thread; used by that thread only."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._compressor = Compressor(engine.level)
        self._chunker = Chunker(engine.keys.chunker_seed)
        # Touched only as far as files reach: a tree of small files never pays for the rest.
        self._buffer = memoryview(bytearray(BATCH_BYTES + SMALL_FILE_BYTES + _SPARE_BYTES))

    def read_files(self, files: Sequence[FileToRead]) -> list[FileRead]:
        """Read and pack files; the result has one item per file, in order.

        Raises:
            InterruptedByUserError: the job was cancelled.
            BackupPeerError: the packs can't be stored any more.

        """
        results: list[FileRead] = []
        chunks: list[tuple[BlobId, memoryview]] = []
        at = 0
        for file in files:
            self._engine.check_cancelled()
            if at and len(self._buffer) - at <= file.size:
                self.pack_chunks(chunks)
                chunks, at = [], 0
            result, used = self._read_file(file, self._buffer[at:], chunks)
            results.append(result)
            at += used
        self.pack_chunks(chunks)
        return results

    def _read_file(
        self, file: FileToRead, room: memoryview, chunks: list[tuple[BlobId, memoryview]]
    ) -> tuple[FileRead, int]:
        try:
            opened = open_file(file.directory, file.name)
            try:
                limit = min(opened.size + _SPARE_BYTES, len(room))
                size = read_into(opened.fd, room[:limit], opened.size)
            finally:
                os.close(opened.fd)
        except OSError as exc:
            return FileRead(None, b"", 0, describe_error(exc)), 0
        problem = opened.problem if size == opened.size else "changed its size while it was read"
        size = min(size, opened.size)
        return FileRead(opened, self._hash_chunks(room[:size], chunks), size, problem), size

    def _hash_chunks(self, data: memoryview, chunks: list[tuple[BlobId, memoryview]]) -> bytes:
        if len(data) <= CHUNK_MIN_BYTES:
            if not len(data):
                return b""
            blob = self._engine.keys.blob_id(BlobKind.DATA, data)
            chunks.append((blob, data))
            return blob
        named = [(self._engine.keys.blob_id(BlobKind.DATA, part), part) for part in self._chunker.split(data)]
        chunks += named
        return b"".join([blob for blob, _ in named])

    def read_segment(self, chunks: Sequence[memoryview]) -> bytes:
        """Hash and pack the chunks of a large file that the walk read; returns their ids, joined.

        Raises:
            InterruptedByUserError: the job was cancelled.
            BackupPeerError: the packs can't be stored any more.

        """
        self._engine.check_cancelled()
        named = [(self._engine.keys.blob_id(BlobKind.DATA, part), part) for part in chunks]
        self.pack_chunks(named)
        return b"".join([blob for blob, _ in named])

    def pack_chunks(self, chunks: Sequence[tuple[BlobId, memoryview | bytes]], kind: BlobKind = BlobKind.DATA) -> None:
        """Compress and add those of the named chunks that nobody has yet.

        Raises:
            BackupPeerError: the packs can't be stored any more.

        """
        engine = self._engine
        fresh = engine.packer.claim([blob for blob, _ in chunks])
        if not fresh:
            return
        unique = {blob: data for blob, data in chunks if blob in fresh}
        if engine.dry_run:
            if kind is BlobKind.DATA:
                engine.packer.count_plain(sum(map(len, unique.values())))
            return
        engine.packer.add(self._compress(kind, unique.items()))

    def _compress(self, kind: BlobKind, parts: Iterable[tuple[BlobId, memoryview | bytes]]) -> list[Blob]:
        pack_named = self._compressor.pack_named
        return [pack_named(blob, kind, part) for blob, part in parts]


class ReaderPool(threading.local):
    """Gives each thread its own `Reader`."""

    def __init__(self, engine: Engine) -> None:
        self.reader = Reader(engine)


def describe_error(error: OSError) -> str:
    """Return why a file could not be used, in words."""
    return (error.strerror or str(error)).lower()
