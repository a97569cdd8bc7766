"""Small files read, named and compressed: the same in a thread of the agent and in a worker process.

Knows: buffers, chunks, what came of each file. Must not know: which chunks are new, the walk, where packs go, which
process this is.

All files of a batch are read into one buffer first, so that the index is asked once per batch and the buffer stays in
the processor's cache. Then whoever asked says which of the blobs nobody has yet, and those are compressed.
"""

import mmap
import os
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from backuppeer.crypto.keys import RepositoryKeys
from backuppeer.files.read import Opened, has_changed, open_file, read_into
from backuppeer.ids import BlobId
from backuppeer.limits import BATCH_BYTES, CHUNK_MIN_BYTES, SEGMENT_LENT_PERMILLE, SMALL_FILE_BYTES
from backuppeer.repo.blob import Blob, BlobKind, Codec, Compressor
from backuppeer.repo.chunker import Chunker

_SPARE_BYTES = 1
"""One byte more than a file should have is asked for, so that a file that grew is noticed without another call."""
_BUFFER_BYTES: Final = BATCH_BYTES + SMALL_FILE_BYTES + _SPARE_BYTES
"""A batch is full as soon as it has BATCH_BYTES, and its last file has no more than SMALL_FILE_BYTES."""
READ_MEMORY_BYTES: Final = (_BUFFER_BYTES // mmap.PAGESIZE + 2) * mmap.PAGESIZE
"""What a backup's worker shares with the agent: the payloads of one batch, none longer than its plaintext, the flag."""


_WORD_BYTES: Final = 8
MET_BYTES: Final = 2**17 * _WORD_BYTES
"""The table has 131,072 places: a gigabyte of small files."""


class FileToRead(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A file of at most SMALL_FILE_BYTES as the walk found it; `directory`: its number in the batch."""

    directory: int
    name: bytes
    size: int


class FileRead(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What came of a file. `problem`: empty, or what to tell; `opened` is None when nothing could be read at all.

    `content`: ids of its blobs, joined; `size`: bytes that were read.
    """

    opened: Opened | None
    content: bytes
    size: int
    problem: str


class ReadTask(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Read these; the descriptors of their directories come with it.

    `is_eager`: compress at once what no worker of this backup has met yet, for nearly all of it will be wanted.
    """

    files: list[FileToRead]
    is_eager: bool


class PackTask(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Compress these of the blobs of the last reading."""

    numbers: list[int]


class Packed(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A payload that lies in the shared memory, after those before it."""

    codec: Codec
    payload_bytes: int


class Reading(msgspec.Struct, array_like=True, frozen=True):
    """A batch that was read: one item per file, in order; the blobs in it, each once, and their plain bytes.

    `numbers`: those of the blobs that were compressed already, with `packed`; others are to be asked for.
    """

    files: list[FileRead]
    blobs: list[bytes]
    sizes: list[int]
    numbers: list[int] = []
    packed: list[Packed] = []


class Met:
    """Which blobs the workers of a backup have met: a table that all share, and only a hint.

    Each place has the first bytes of the last id that belongs there. Two workers that ask at once may both be told
    "new", and an id may be pushed out by another: then one is compressed in vain, or asked for once more.
    """

    def __init__(self, memory: memoryview) -> None:
        """`memory`: MET_BYTES, zeroed at the start."""
        self._table = memory.cast("Q")
        self._mask = len(self._table) - 1

    def is_new(self, blob: bytes) -> bool:
        """Say whether nobody has met it; from now on it is met."""
        beginning = int.from_bytes(blob[:_WORD_BYTES], "little")
        place = beginning & self._mask
        if self._table[place] == beginning:
            return False
        self._table[place] = beginning
        return True


class Reader:
    """The tools of one thread; used by that thread only. `check` ends the work by raising."""

    def __init__(self, keys: RepositoryKeys, level: int, check: Callable[[], None]) -> None:
        self._keys, self._check = keys, check
        self._compressor = Compressor(level)
        self._chunker = Chunker(keys.chunker_seed)
        self._buffer = memoryview(b"")
        self._plain: dict[BlobId, memoryview] = {}

    def read(self, files: Sequence[FileToRead], directories: Sequence[int]) -> Reading:
        """Read the files of one batch; `directories`: open descriptors."""
        self._plain = {}
        if not self._buffer:
            # Touched only as far as files reach: a tree of small files never pays for the rest.
            self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        results: list[FileRead] = []
        at = 0
        # A file that grew may have what no other needs; so none takes the room of those that come after it.
        spare = len(self._buffer) - sum([file.size for file in files])
        for file in files:
            self._check()
            room = self._buffer[at : at + file.size + spare]
            result, used = self._read_file(directories[file.directory], file.name, room)
            results.append(result)
            at += used
            spare += file.size - used
        sizes = [len(data) for data in self._plain.values()]
        return Reading(results, list(self._plain), sizes)

    def _read_file(self, directory: int, name: bytes, room: memoryview) -> tuple[FileRead, int]:
        try:
            opened = open_file(directory, name)
            try:
                limit = min(opened.size + _SPARE_BYTES, len(room))
                size = read_into(opened.fd, room[:limit], opened.size)
                is_torn = has_changed(opened)
            finally:
                os.close(opened.fd)
        except OSError as exc:
            return FileRead(None, b"", 0, describe_error(exc)), 0
        problem = opened.problem if size == opened.size else "changed its size while it was read"
        if is_torn and not problem:
            problem = "changed while it was read"
        size = min(size, opened.size)
        return FileRead(opened, self._name_chunks(room[:size]), size, problem), size

    def _name_chunks(self, data: memoryview) -> bytes:
        if len(data) <= CHUNK_MIN_BYTES:
            if not len(data):
                return b""
            blob = self._keys.blob_id(BlobKind.DATA, data)
            self._plain[blob] = data
            return blob
        named = [(self._keys.blob_id(BlobKind.DATA, part), part) for part in self._chunker.split(data)]
        self._plain.update(named)
        return b"".join([blob for blob, _ in named])

    def pack(self, numbers: Sequence[int]) -> list[Blob]:
        """Return blobs of the last reading, compressed where that pays; before the next reading."""
        items = list(self._plain.items())
        return self.pack_named([items[number] for number in numbers], BlobKind.DATA)

    def rest(self) -> None:
        """Let go of the buffer until files are read again."""
        self._plain, self._buffer = {}, memoryview(b"")

    def pack_named(self, chunks: Sequence[tuple[BlobId, memoryview | bytes]], kind: BlobKind) -> list[Blob]:
        """Return the blobs of chunks whose ids are known."""
        pack_named = self._compressor.pack_named
        return [pack_named(blob, kind, data) for blob, data in chunks]

    def pack_segment(self, chunks: Sequence[tuple[BlobId, memoryview]], segment_bytes: int) -> list[Blob]:
        """Return the blobs of chunks of a segment of a large file; if most of it stays raw, they lie in it still."""
        pack_named = self._compressor.pack_named
        blobs = [pack_named(blob, BlobKind.DATA, data, is_lent=True) for blob, data in chunks]
        raw_bytes = sum([blob.plain_bytes for blob in blobs if blob.codec is Codec.RAW])
        if raw_bytes * 1000 >= segment_bytes * SEGMENT_LENT_PERMILLE:
            return blobs
        # A few such chunks must not hold all segments until their pack is full.
        return [replace(blob, payload=bytes(blob.payload)) for blob in blobs]


def lay_out(blobs: Sequence[Blob], memory: memoryview) -> list[Packed]:
    """Put the payloads of `blobs` into shared memory, one after the other (in a worker process)."""
    at = 0
    for blob in blobs:
        memory[at : at + len(blob.payload)] = blob.payload
        at += len(blob.payload)
    return [Packed(blob.codec, len(blob.payload)) for blob in blobs]


def describe_error(error: OSError) -> str:
    """Return why a file could not be used, in words."""
    return (error.strerror or str(error)).lower()
