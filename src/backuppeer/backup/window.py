"""A bounded part of a restore: files wanted now, their blobs gathered by pack, fetched, checked and written.

Knows: which blob belongs where in which file. Must not know: trees, the order of directories.

Constant memory: a window is bounded in blobs, bytes and open files; plain bytes are written as soon as they are opened,
each blob once however many files want it. A file of one chunk is written whole by whoever opened the chunk; others are
written piece by piece under a temporary name and finished by the restorer's thread.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from backuppeer.backup.fetching import Fetched, fetch_parts, group_by_pack
from backuppeer.backup.jobs import Jobs
from backuppeer.backup.orders import Order, Part, WantedBlob, WholeFile
from backuppeer.backup.pool import CarriesOut
from backuppeer.backup.reading import describe_error
from backuppeer.backup.streams import PackSource
from backuppeer.errors import BackupPeerError, IntegrityFault
from backuppeer.files.write import FileWriter, RestoreTarget
from backuppeer.ids import BlobId, LogicalId
from backuppeer.limits import RESTORE_OPEN_FILES, RESTORE_WINDOW_BLOBS, RESTORE_WINDOW_BYTES
from backuppeer.repo.extension import SPARSE
from backuppeer.repo.index import Index, Location
from backuppeer.repo.tree import ID_BYTES, TreeEntry

Failure = BackupPeerError | OSError


class RestoredFile:
    """A file on its way back. `single`: it has one chunk; `complete`: all its chunks were handed to windows."""

    __slots__ = ("complete", "entry", "failure", "offset", "path", "single", "writer")

    def __init__(self, path: bytes, entry: TreeEntry) -> None:
        self.path = path
        self.entry = entry
        self.offset = 0
        self.single = not entry.depth and len(entry.content) == ID_BYTES
        self.complete = self.single
        self.writer: FileWriter | None = None
        self.failure: Failure | None = None


Wants = dict[BlobId, list[tuple[RestoredFile, int]]]


@dataclass(slots=True)
class Written:
    """What came of some blobs: plain bytes written, files of one chunk finished, and what failed of which file."""

    bytes: int = 0
    files: int = 0
    failures: list[tuple[RestoredFile, Failure]] = field(default_factory=list)


class Window:
    """What is wanted next, of about so many blobs; filled and run by one thread. `files`: those of several chunks."""

    def __init__(self, blobs: int = RESTORE_WINDOW_BLOBS) -> None:
        self._most_blobs = blobs
        self._parts: list[tuple[RestoredFile, Sequence[BlobId]]] = []
        self.files: dict[RestoredFile, None] = {}
        self._blobs = 0
        self._bytes = 0

    def want_whole(self, file: RestoredFile) -> None:
        """Take a file of one chunk."""
        self._parts.append((file, (BlobId(file.entry.content),)))
        self._blobs += 1
        self._bytes += file.entry.size

    def want(self, file: RestoredFile, blobs: Sequence[BlobId], *, size_bytes: int) -> None:
        """Take some chunks of a file of several, in the file's order; `size_bytes` is their share of it, about."""
        self._parts.append((file, blobs))
        self.files[file] = None
        self._blobs += len(blobs)
        self._bytes += size_bytes

    def is_full(self) -> bool:
        """Say whether it is time to run."""
        return (
            self._blobs >= self._most_blobs
            or self._bytes >= RESTORE_WINDOW_BYTES
            or len(self.files) >= RESTORE_OPEN_FILES
        )

    def plan(self, index: Index, target: RestoreTarget) -> tuple[Wants, list[Location], Written]:
        """Look up what is wanted; files whose chunks nobody knows, or that can't be created, fail here."""
        located = index.find_many(blob for _, blobs in self._parts for blob in blobs)
        wants: Wants = {}
        lost = Written()
        for file, blobs in self._parts:
            if file.failure is None and not file.single and file.writer is None:
                _create(file, target)
            places = [located[blob] for blob in blobs if blob in located]
            start, file.offset = file.offset, file.offset + sum(place.entry.plain_bytes for place in places)
            if len(places) < len(blobs):
                file.failure = file.failure or IntegrityFault("its data is missing: no known pack holds it")
            if file.single:
                _check_length(file)
            if file.failure is None:
                _want(file, places, start, wants)
            elif file.single:
                lost.failures.append((file, file.failure))
        for file in self.files:
            # Only now: a window may hold several parts of one file, and is planned when all of them are in it.
            _check_length(file)
        return wants, [located[blob] for blob in wants], lost


def _check_length(file: RestoredFile) -> None:
    if file.complete and file.failure is None and file.offset != file.entry.size:
        file.failure = IntegrityFault(f"its chunks have {file.offset} bytes, the snapshot says {file.entry.size}")


def _want(file: RestoredFile, places: Iterable[Location], offset: int, wants: Wants) -> None:
    for place in places:
        wants.setdefault(place.entry.blob, []).append((file, offset))
        offset += place.entry.plain_bytes


def _create(file: RestoredFile, target: RestoreTarget) -> None:
    try:
        file.writer = target.create_file(file.path, size=file.entry.size if SPARSE in file.entry.ext else 0)
    except (OSError, IntegrityFault) as exc:
        file.failure = exc


class WindowRunner:
    """Fetches and writes windows with several packs in flight."""

    def __init__(self, source: PackSource, index: Index, *, hands: CarriesOut, jobs: Jobs) -> None:
        self._source, self._find_spares = source, index.find_spares
        self._hands, self._jobs = hands, jobs

    def start(self, wants: Wants, places: list[Location], report: Callable[[Written], None]) -> None:
        """Begin to bring all wanted blobs to their files; `report` is called pack by pack, in the caller's thread.

        What is queued are plans, not bytes: a thread holds one pack at a time.
        """
        for pack, inside in group_by_pack(places):
            self._jobs.submit(partial(self._read, pack, inside, wants), report)

    def finish(self) -> None:
        """Return when everything that was started is written.

        Raises:
            InterruptedByUserError: the job was cancelled.

        """
        self._jobs.collect(most=0)

    def _read(self, pack: LogicalId, places: list[Location], wants: Wants) -> Written:
        """Read one pack and have written what it holds (in a thread)."""
        written = Written()
        for part, fetched in fetch_parts(self._source, pack=pack, places=places, find_spares=self._find_spares):
            if isinstance(fetched, BackupPeerError):
                written.failures += [(file, fetched) for place in part for file, _ in wants[place.entry.blob]]
                continue
            order, wanted, open_files = _order(part, fetched, wants)
            writers = [file.writer for file in open_files if file.writer is not None]
            report = self._hands.carry_out(order, fetched.pieces, writers)
            written.files += report.files
            written.bytes += report.bytes
            written.failures += [(wanted[failed.blob][failed.want], failed.cause()) for failed in report.failures]
        return written


def _order(
    part: Sequence[Location], fetched: Fetched, wants: Wants
) -> tuple[Order, list[list[RestoredFile]], dict[RestoredFile, int]]:
    """Return what to do with a part of a pack; for each blob whom it is for; and the numbers of files in the making."""
    starts = {place.entry.blob: (n, at) for n, (at, _, inside) in enumerate(fetched.ranges) for place in inside}
    open_files: dict[RestoredFile, int] = {}
    blobs: list[WantedBlob] = []
    wanted: list[list[RestoredFile]] = []
    for place in part:
        entry = place.entry
        files = wants[entry.blob]
        piece, start = starts[entry.blob]
        if len(files) == 1 and files[0][0].single:
            file = files[0][0]
            blobs.append(WantedBlob(entry, piece, entry.offset - start, [_describe(file)], []))
            wanted.append([file])
            continue
        whole = [file for file, _ in files if file.single]
        # Whoever has no writer failed when it was made, and is told of by the restorer's thread.
        parts = [(file, at) for file, at in files if not file.single and file.writer is not None]
        places_in = [
            Part(open_files.setdefault(file, len(open_files)), at, SPARSE in file.entry.ext) for file, at in parts
        ]
        blobs.append(WantedBlob(entry, piece, entry.offset - start, [_describe(file) for file in whole], places_in))
        wanted.append([*whole, *(file for file, _ in parts)])
    return Order(fetched.header, blobs, [offset for offset, _, _ in fetched.ranges]), wanted, open_files


def _describe(file: RestoredFile) -> WholeFile:
    entry = file.entry
    return WholeFile(
        file.path,
        entry.mode,
        entry.uid,
        entry.gid,
        entry.mtime_ns,
        entry.user,
        entry.group,
        entry.attributes,
        SPARSE in entry.ext,
    )


def explain(failure: Failure) -> str:
    """Return a failure in words, for the person who misses the file."""
    return describe_error(failure) if isinstance(failure, OSError) else failure.message
