"""Blobs in a given order out of packs in whatever order is cheap: fetched ahead, in constant memory.

Knows: the index, packs, windows. Must not know: files, archives.

What is to be told is a row of steps, each bytes that are known or a blob that is wanted. They are taken up in windows
of 16 MiB: while one window is told the packs of the next are fetched and opened side by side. Every blob is checked
against its id before it is told; one that can't be had ends the row at its place.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import msgspec

from backuppeer.backup.fetching import Outcome, group_by_pack, read_pack
from backuppeer.backup.streams import PackSource
from backuppeer.crypto.keys import RepositoryKeys
from backuppeer.errors import BackupPeerError, IntegrityFault, InterruptedByUserError
from backuppeer.ids import BlobId, LogicalId
from backuppeer.limits import FETCH_AHEAD_PACKS, INDEX_BATCH, MIB
from backuppeer.repo.index import Index, Location

WINDOW_BYTES: Final = 16 * MIB
"""Plain bytes of a window; two are under way. A pack's worth: what was saved in one go lies in one or two packs."""


class Literal(msgspec.Struct, frozen=True, gc=False):
    """Bytes as they are."""

    data: bytes


class Want(msgspec.Struct, frozen=True, gc=False):
    """A blob of the file at `path`."""

    blob: BlobId
    path: bytes


class End(msgspec.Struct, frozen=True, gc=False):
    """The file at `path` is over, and should have had `size` bytes."""

    path: bytes
    size: int


Step = Literal | Want | End
_Placed = tuple[Step, Location | None]
_Window = tuple[list[Step], dict[BlobId, Future[dict[BlobId, Outcome]]]]


class ReadAhead:
    """Reads blobs of one repository; `cancel` ends it between two packs."""

    def __init__(self, keys: RepositoryKeys, index: Index, source: PackSource, cancel: threading.Event) -> None:
        self._keys, self._index, self._source, self._cancel = keys, index, source, cancel

    def run(self, steps: Iterable[Step]) -> Iterator[tuple[Step, bytes]]:
        """Yield each step with its bytes, verified; none for an `End`.

        Raises:
            IntegrityFault: a blob is in no known pack, or no copy of it verifies; the message names the file.
            Unavailable: nobody who has it can be reached.
            InterruptedByUserError: cancelled.

        """
        pool = ThreadPoolExecutor(FETCH_AHEAD_PACKS, thread_name_prefix="dump")
        try:
            ahead: _Window | None = None
            for window in self._windows(steps):
                started = self._start(pool, window)
                if ahead is not None:
                    yield from self._tell(ahead)
                ahead = started
            if ahead is not None:
                yield from self._tell(ahead)
        finally:
            pool.shutdown(cancel_futures=True)

    def _windows(self, steps: Iterable[Step]) -> Iterator[list[_Placed]]:
        window: list[_Placed] = []
        size = 0
        for step, place in self._place(steps):
            window.append((step, place))
            size += place.plain_bytes if place is not None else len(step.data) if isinstance(step, Literal) else 0
            if size >= WINDOW_BYTES:
                yield window
                window, size = [], 0
        if window:
            yield window

    def _place(self, steps: Iterable[Step]) -> Iterator[_Placed]:
        """Yield the steps with the places of what they want, looked up a batch at a time."""
        batch: list[Step] = []
        for step in steps:
            batch.append(step)
            if len(batch) == INDEX_BATCH:
                yield from self._look_up(batch)
                batch = []
        yield from self._look_up(batch)

    def _look_up(self, batch: Sequence[Step]) -> Iterator[_Placed]:
        places = self._index.find_many([step.blob for step in batch if isinstance(step, Want)])
        for step in batch:
            yield step, places.get(step.blob) if isinstance(step, Want) else None

    def _start(self, pool: ThreadPoolExecutor, window: Sequence[_Placed]) -> _Window:
        wanted = {place.blob: place for _, place in window if place is not None}
        coming: dict[BlobId, Future[dict[BlobId, Outcome]]] = {}
        for pack, places in group_by_pack(wanted.values()):
            future = pool.submit(self._fetch, pack, places)
            coming |= {place.blob: future for place in places}
        return [step for step, _ in window], coming

    def _fetch(self, pack: LogicalId, places: Sequence[Location]) -> dict[BlobId, Outcome]:
        if self._cancel.is_set():
            raise InterruptedByUserError("the dump was cancelled")
        read = read_pack(self._keys, self._source, pack=pack, places=places, find_spares=self._index.find_spares)
        return {place.blob: outcome for place, outcome in read}

    def _tell(self, window: _Window) -> Iterator[tuple[Step, bytes]]:
        steps, coming = window
        for step in steps:
            yield step, self._bytes_of(step, coming)

    def _bytes_of(self, step: Step, coming: dict[BlobId, Future[dict[BlobId, Outcome]]]) -> bytes:
        if isinstance(step, Literal):
            return step.data
        if isinstance(step, End):
            return b""
        future = coming.get(step.blob)
        if future is None:
            raise name_file(step.path, IntegrityFault("a part of it is in no known pack"))
        outcome = future.result()[step.blob]
        if isinstance(outcome, BackupPeerError):
            raise name_file(step.path, outcome)
        return outcome


def name_file(path: bytes, error: BackupPeerError) -> BackupPeerError:
    """Return an error of the same sort that says which file it is about."""
    name = "/" + path.decode("utf-8", "surrogateescape")
    return type(error)(f"{name}: {error.message}", hint=error.hint)
