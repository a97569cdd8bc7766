"""Large files and streams: read by one thread into a few segment buffers, hashed and packed by the workers.

Knows: segments, where chunks may be cut when the rest of the file isn't there yet. Must not know: entries.

A cut depends only on the bytes before it, so all chunks of a segment stand but the last one, which merely ended where
the segment did: its bytes begin the next segment. A few segments go round; waiting for a free one is the
back-pressure that keeps memory constant. One is free when nobody has a view of it any more: what does not shrink stays
where it was read until its pack is sealed.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from backuppeer.backup.intake import Intake
from backuppeer.backup.jobs import Jobs
from backuppeer.backup.pages import PagePool
from backuppeer.limits import CHUNK_MAX_BYTES, SEGMENT_BYTES, SEGMENTS, SEGMENTS_UNDER_WAY
from backuppeer.repo.chunker import Chunker

_LENGTH: Final = SEGMENT_BYTES + CHUNK_MAX_BYTES
Fill = Callable[[memoryview], int]
"""Reads on into a buffer and returns the bytes read: less than it holds only at the end."""
Finished = Callable[[bytes, int], None]
"""Called with the joined chunk ids and the bytes read, after all segments of a file are packed."""


class Streamer:
    """Streams one large file at a time; used by one thread, the walk's."""

    def __init__(self, intake: Intake, jobs: Jobs) -> None:
        self._engine = intake.engine
        self._intake = intake
        self._jobs = jobs
        self._chunker = Chunker(intake.engine.keys.chunker_seed)
        self._segments = PagePool(_LENGTH, SEGMENTS, is_shared=False)

    def stream(self, fill: Fill, most: int, finished: Finished, *, reached: Callable[[int], None]) -> int:
        """Read at most `most` bytes (a file's size when it was opened); returns the bytes read; `reached` hears them.

        Raises:
            OSError: reading failed; `finished` is not called then. Or whatever else `fill` raises.
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
            end = min(start + SEGMENT_BYTES, start + most - total)
            filled = fill(segment[start:end]) if end > start else 0
            total += filled
            reached(total)
            chunks = list(self._chunker.split(segment[: start + filled]))
            is_last = filled < end - start or total >= most
            carried = memoryview(b"") if is_last else chunks.pop()
            self._submit(chunks, ids=ids)
            if is_last:
                break
        self._jobs.submit(_nothing, lambda _: finished(b"".join(ids), total))
        return total

    def _submit(self, chunks: list[memoryview], *, ids: list[bytes]) -> None:
        self._jobs.submit(partial(self._intake.read_segment, chunks), ids.append)

    def _take(self) -> memoryview:
        self._jobs.collect(most=SEGMENTS_UNDER_WAY - 1)
        while (segment := self._segments.find()) is None:
            if not len(self._jobs):
                return self._segments.take()
            self._jobs.collect(most=len(self._jobs) - 1)
        return segment


def _nothing() -> None:
    """Stand in the queue, so that what follows is called after the jobs before."""
