"""Large files: read by the walk into a few segment buffers, hashed and packed by the workers.

Knows: segments, where chunks may be cut when the rest of the file isn't there yet. Must not know: entries.

A cut depends only on the bytes before it, so all chunks of a segment stand but the last one, which merely ended where
the segment did: its bytes begin the next segment. Four segments go round; waiting for a free one is the
back-pressure that keeps memory constant.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from backuppeer.backup.intake import Engine, Intake
from backuppeer.backup.jobs import Jobs
from backuppeer.files.read import Opened, read_into
from backuppeer.limits import CHUNK_MAX_BYTES, SEGMENT_BYTES, SEGMENTS
from backuppeer.repo.chunker import Chunker

_LENGTH: Final = SEGMENT_BYTES + CHUNK_MAX_BYTES
Finished = Callable[[bytes, int], None]
"""Called with the joined chunk ids and the bytes read, after all segments of a file are packed."""


class Streamer:
    """Streams one large file at a time; used by the walk's thread."""

    def __init__(self, engine: Engine, intake: Intake, jobs: Jobs) -> None:
        self._engine = engine
        self._intake = intake
        self._jobs = jobs
        self._chunker = Chunker(engine.keys.chunker_seed)
        self._free: list[memoryview] = []
        self._made = 0

    def stream(self, opened: Opened, finished: Finished, *, reached: Callable[[int], None]) -> int:
        """Read an open file up to the size it had when it was opened; returns the bytes read; `reached` hears them.

        Raises:
            OSError: reading failed; `finished` is not called then.
            InterruptedByUserError: the job was cancelled.
            BackupPeerError: the packs can't be stored any more.

        """
        ids: list[bytes] = []
        total, carried = 0, memoryview(b"")
        while True:
            self._engine.check_cancelled()
            segment = self._take()
            start = len(carried)
            segment[:start] = carried
            end = min(start + SEGMENT_BYTES, start + opened.size - total)
            filled = self._fill(opened.fd, segment[start:end]) if end > start else 0
            total += filled
            reached(total)
            chunks = list(self._chunker.split(segment[: start + filled]))
            is_last = filled < end - start or total >= opened.size
            carried = memoryview(b"") if is_last else chunks.pop()
            self._submit(segment, chunks, ids=ids)
            if is_last:
                break
        self._jobs.submit(_nothing, lambda _: finished(b"".join(ids), total))
        return total

    def _fill(self, fd: int, view: memoryview) -> int:
        return read_into(fd, view, len(view))

    def _submit(self, segment: memoryview, chunks: list[memoryview], *, ids: list[bytes]) -> None:
        def done(joined: bytes) -> None:
            ids.append(joined)
            self._free.append(segment)

        self._jobs.submit(partial(self._read, chunks), done)

    def _read(self, chunks: list[memoryview]) -> bytes:
        return self._intake.read_segment(chunks)

    def _take(self) -> memoryview:
        if not self._free and self._made < SEGMENTS:
            self._made += 1
            return memoryview(bytearray(_LENGTH))
        while not self._free:
            self._jobs.collect(most=max(0, len(self._jobs) - 1))
        return self._free.pop()


def _nothing() -> None:
    """Stand in the queue, so that what follows is called after the jobs before."""
