"""A bounded part of a restore: files wanted now, their blobs gathered by pack, fetched, checked and written.

Knows: which blob belongs where in which file. Must not know: trees, the order of directories.

Constant memory: a window is bounded in blobs, bytes and open files; plain bytes are written as soon as they are opened,
each blob once however many files want it. A file of one chunk is written whole by the worker that opened it; others
are written piece by piece under a temporary name and finished by the restorer's thread.
"""

from collections.abc import Callable
from functools import partial

from backuppeer.backup.fetching import group_by_pack, read_pack
from backuppeer.backup.jobs import Jobs
from backuppeer.backup.reading import describe_error
from backuppeer.backup.streams import PackSource
from backuppeer.crypto.keys import RepositoryKeys
from backuppeer.errors import BackupPeerError, IntegrityFault
from backuppeer.files.metadata import Metadata
from backuppeer.files.write import FileWriter, RestoreTarget
from backuppeer.ids import BlobId, LogicalId
from backuppeer.limits import RESTORE_OPEN_FILES, RESTORE_WINDOW_BLOBS, RESTORE_WINDOW_BYTES
from backuppeer.repo.index import Index, Location
from backuppeer.repo.tree import TreeEntry

Failure = BackupPeerError | OSError


class RestoredFile:
    """A file on its way back. `complete`: all its chunks were handed to windows."""

    __slots__ = ("complete", "failure", "metadata", "offset", "path", "single", "size", "writer")

    def __init__(self, path: bytes, entry: TreeEntry) -> None:
        self.path = path
        self.size = entry.size
        self.metadata = make_metadata(entry)
        self.offset = 0
        self.single = False
        self.complete = False
        self.writer: FileWriter | None = None
        self.failure: Failure | None = None


Wants = dict[BlobId, list[tuple[RestoredFile, int]]]


class Window:
    """What is wanted next; filled and run by one thread."""

    def __init__(self) -> None:
        self._parts: list[tuple[RestoredFile, list[BlobId]]] = []
        self.files: dict[RestoredFile, None] = {}
        self._blobs = 0
        self._bytes = 0
        self._multiple = 0

    def want(self, file: RestoredFile, blobs: list[BlobId], *, size_bytes: int) -> None:
        """Take some chunks of a file, in the file's order; `size_bytes` is their share of it, about."""
        self._parts.append((file, blobs))
        self.files[file] = None
        self._blobs += len(blobs)
        self._bytes += size_bytes
        self._multiple += not file.single

    def is_full(self) -> bool:
        """Say whether it is time to run."""
        return (
            self._blobs >= RESTORE_WINDOW_BLOBS
            or self._bytes >= RESTORE_WINDOW_BYTES
            or self._multiple >= RESTORE_OPEN_FILES
        )

    def plan(self, index: Index, target: RestoreTarget) -> tuple[Wants, list[Location]]:
        """Look up what is wanted; files whose chunks nobody knows, or that can't be created, fail here."""
        located = index.find_many(blob for _, blobs in self._parts for blob in blobs)
        wants: Wants = {}
        for file, blobs in self._parts:
            if file.failure is None and not file.single and file.writer is None:
                _create(file, target)
            for blob in blobs:
                place = located.get(blob)
                if place is None:
                    file.failure = file.failure or IntegrityFault("its data is missing: no known pack holds it")
                elif file.failure is None:
                    wants.setdefault(blob, []).append((file, file.offset))
                    file.offset += place.plain_bytes
        for file in self.files:
            if file.complete and file.failure is None and file.offset != file.size:
                file.failure = IntegrityFault(f"its chunks have {file.offset} bytes, the snapshot says {file.size}")
        return wants, [located[blob] for blob in wants]


def _create(file: RestoredFile, target: RestoreTarget) -> None:
    try:
        file.writer = target.create_file(file.path)
    except (OSError, IntegrityFault) as exc:
        file.failure = exc


class WindowRunner:
    """Fetches and writes windows with several packs in flight."""

    def __init__(
        self, keys: RepositoryKeys, source: PackSource, *, target: RestoreTarget, jobs: Jobs, check: Callable[[], None]
    ) -> None:
        self._keys = keys
        self._source = source
        self._target = target
        self._jobs = jobs
        self._check = check

    def start(self, wants: Wants, places: list[Location], report: Callable[[int], None]) -> None:
        """Begin to bring all wanted blobs to their files; failures are noted in the files. `report` gets bytes written.

        What is queued are plans, not bytes: a worker holds one pack at a time.
        """

        def done(result: tuple[int, list[tuple[RestoredFile, Failure]]]) -> None:
            written, failures = result
            for file, failure in failures:
                file.failure = file.failure or failure
            report(written)

        for pack, inside in group_by_pack(places):
            self._jobs.submit(partial(self._read, pack, inside, wants), done)

    def finish(self) -> None:
        """Return when everything that was started is written.

        Raises:
            InterruptedByUserError: the job was cancelled.

        """
        self._jobs.collect(most=0)

    def _read(
        self, pack: LogicalId, places: list[Location], wants: Wants
    ) -> tuple[int, list[tuple[RestoredFile, Failure]]]:
        """Read one pack and write what it holds (in a worker); return the bytes written and what failed."""
        written = 0
        failures: list[tuple[RestoredFile, Failure]] = []
        for place, outcome in read_pack(self._keys, self._source, pack=pack, places=places):
            self._check()
            for file, offset in wants[place.blob]:
                if isinstance(outcome, BackupPeerError):
                    failures.append((file, outcome))
                    continue
                try:
                    self._write(file, offset, outcome)
                except (OSError, IntegrityFault) as exc:
                    failures.append((file, exc))
                else:
                    written += len(outcome)
        return written, failures

    def _write(self, file: RestoredFile, offset: int, plain: bytes) -> None:
        if file.writer is not None:
            file.writer.write_at(offset, plain)
        elif len(plain) == file.size:
            self._target.write_file(file.path, plain, file.metadata)


def make_metadata(entry: TreeEntry) -> Metadata:
    """Return what is to be set on an entry when it is back."""
    return Metadata(entry.mode, entry.uid, entry.gid, entry.mtime_ns, entry.user, entry.group)


def explain(failure: Failure) -> str:
    """Return a failure in words, for the person who misses the file."""
    return describe_error(failure) if isinstance(failure, OSError) else failure.message
