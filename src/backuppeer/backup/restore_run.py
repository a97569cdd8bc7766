"""One restore under way: directories on the way in, files window by window, what is told of them.

Knows: the order in which things are made and finished, which errors are whose. Must not know: which snapshot it is,
what stood in the target before.

Directories are made on the way in, files filled window by window, further names of files linked when their window is
done, and a directory gets its metadata after everything in it is finished. A file that can't be verified is named and
left out; the rest comes back.
"""

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from backuppeer.backup.links import LinkGroups
from backuppeer.backup.obstacles import explain_end
from backuppeer.backup.pool import WorkerPool
from backuppeer.backup.selection import Selection, Walk
from backuppeer.backup.standing import Keeper, LeftAlone, Standing, is_same
from backuppeer.backup.streams import Progress
from backuppeer.backup.tidying import Tidier
from backuppeer.backup.trees import TreeReader, Visit
from backuppeer.backup.verifier import Verifier
from backuppeer.backup.window import Failure, RestoredFile, Window, WindowRunner, Written, explain
from backuppeer.errors import IntegrityFault, Unavailable
from backuppeer.files.metadata import MetadataNote
from backuppeer.files.scan import FoundKind
from backuppeer.files.write import RestoreTarget
from backuppeer.limits import NOTED_SKIPS, RESTORE_FIRST_BLOBS
from backuppeer.repo.extension import LINK, device_of
from backuppeer.repo.index import Index
from backuppeer.repo.tree import DEVICES, EntryKind

_PART_BLOBS = 64
"""Chunks of one file handed to a window at a time; a window may be larger than meant by this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreResult:
    """What came back. Errors by cause: data wrong or missing, hosts not reachable now, this machine's disk.

    `integrity_dirs`, `unavailable_dirs`: how many of these were folders that could not be read, whatever is in them.

    `left`: what stood there already and was left. `removed`: entries that were too much (`delete`). `verified`: files
    compared afterwards. `notes`: for each kind of metadata that could not be set, for how many entries.
    """

    files: int
    dirs: int
    bytes: int
    left: LeftAlone
    removed: int
    verified: int
    integrity_errors: int
    unavailable_errors: int
    local_errors: int
    integrity_dirs: int
    unavailable_dirs: int
    notes: Mapping[str, int]

    @property
    def errors(self) -> int:
        """All errors; each was named by `Progress.error_file`."""
        return self.integrity_errors + self.unavailable_errors + self.local_errors


class _Running(NamedTuple):
    """What ends with the window under way, in this order: its files, further names of files, directories."""

    files: list[RestoredFile]
    linked: list[tuple[Visit, bytes]]
    left: list[Visit]


class RestoreRun:
    """State of one restore: the window being filled, directories to finish, counts."""

    def __init__(
        self,
        trees: TreeReader,
        index: Index,
        *,
        target: RestoreTarget,
        pool: WorkerPool,
        runner: WindowRunner,
        progress: Progress,
        standing: Standing,
    ) -> None:
        self._trees = trees
        self._index = index
        self._target = target
        self._pool: WorkerPool | None = pool
        self._runner = runner
        self._progress = progress
        self._only_way, self._keeper, self._tidier = standing
        self._window = Window(RESTORE_FIRST_BLOBS)
        self._left: list[Visit] = []
        self._links = LinkGroups()
        self._linked: list[tuple[Visit, bytes]] = []
        self._running = _Running([], [], [])
        self._open: dict[RestoredFile, None] = {}
        self._walk = Walk()
        self._files = self._dirs = self._bytes = 0
        self._left_alone = LeftAlone()
        self._removed = self._renamed = self._verified = 0
        self._failed: set[bytes] = set()
        self._failed_in: set[bytes] = set()
        self._integrity = self._unavailable = self._local = 0
        self._integrity_dirs = self._unavailable_dirs = 0

    def restore(self, selection: Selection, check: Callable[[], None]) -> None:
        """Restore what is selected; `check` ends the work by raising.

        Raises:
            InterruptedByUserError: cancelled; what is finished stays.
            LocalError: the target is full, IncompleteError: it is read-only; what is finished stays.

        """
        above = [visit for visit in selection.above() if self._make_directory(visit) is True]
        for visit in selection.visits(self._walk):
            check()
            self._take(visit)
            if self._walk.errors or self._walk.renamed:
                self._report_unread()
            if self._window.is_full():
                self._run_window()
        self._report_unread()
        self._left += reversed(above)
        self._run_window()
        self._finish_running()

    def _take(self, visit: Visit) -> None:
        kind = visit.entry.kind
        if visit.leaving:
            self._left.append(visit)
        elif kind == EntryKind.DIRECTORY:
            if self._make_directory(visit) is None:
                self._walk.skip()
        elif self._keeper is not None and self._keep(self._keeper, visit):
            pass
        elif kind == EntryKind.FILE:
            self._take_file(visit)
        else:
            self._make_other(visit)

    def _keep(self, keeper: Keeper, visit: Visit) -> bool:
        """Leave what stands there already, with the metadata of the snapshot where it is the same file."""
        entry = visit.entry
        try:
            found = keeper.find_kept(visit)
            if found is None:
                return False
            if entry.kind == EntryKind.FILE and is_same(found, entry):
                if (found.mode, found.uid, found.gid) != (entry.mode, *self._target.names.owner_of(entry)):
                    self._target.renew_metadata(visit.path, entry)
                if entry.ext:
                    self._links.find_first(visit.path, entry)  # other names of it may be missing
        except OSError as exc:
            self._fail(visit.path, exc)
            return True
        self._left_alone.add(visit, found)
        return True

    def _make_directory(self, visit: Visit) -> bool | None:
        """Return whether it was made; None when it could not be."""
        try:
            # Looked at before; but a symlink that comes there since is not replaced either.
            made = self._target.make_directory(visit.path, replace=visit.path not in self._only_way)
        except (OSError, IntegrityFault) as exc:
            self._fail(visit.path, exc)
            return None
        self._dirs += 1
        return made

    def _make_other(self, visit: Visit) -> None:
        entry = visit.entry
        try:
            if entry.kind == EntryKind.SYMLINK:
                self._target.make_symlink(visit.path, entry.target, entry)
            else:
                numbers = device_of(entry.ext) if entry.kind in DEVICES else (0, 0)
                self._target.make_node(visit.path, FoundKind(entry.kind), entry, numbers=numbers)
        except (OSError, IntegrityFault) as exc:
            self._fail(visit.path, exc)

    def _take_file(self, visit: Visit) -> None:
        if visit.entry.ext:
            first = self._links.find_first(visit.path, visit.entry)
            if first is not None:
                self._linked.append((visit, first))
                return
        file = RestoredFile(visit.path, visit.entry)
        if not visit.entry.content:
            self._take_empty(file)
            return
        if file.single:
            self._window.want_whole(file)
            return
        chunks = self._trees.chunks_of(visit.entry)
        self._open[file] = None
        try:
            part = list(islice(chunks, _PART_BLOBS))
            while part:
                rest = list(islice(chunks, _PART_BLOBS))
                file.complete = not rest
                self._window.want(file, part, size_bytes=min(file.entry.size, len(part) << 20))
                if self._window.is_full():
                    self._run_window()
                part = rest
        except (IntegrityFault, Unavailable) as exc:
            file.failure = exc
            file.complete = True
            self._window.want(file, [], size_bytes=0)

    def _take_empty(self, file: RestoredFile) -> None:
        if file.entry.size:
            self._fail(file.path, IntegrityFault(f"the snapshot names no data for its {file.entry.size} bytes"))
            return
        try:
            self._target.write_file(file.path, b"", file.entry)
        except (OSError, IntegrityFault) as exc:
            self._fail(file.path, exc)
        else:
            self._files += 1

    def _run_window(self) -> None:
        """Start the window that is full; while it is fetched and written, the walk fills the next one."""
        window, self._window = self._window, Window()
        left, self._left = self._left, []
        linked, self._linked = self._linked, []
        if self._pool is not None and window.is_full():
            # More than a handful: from the second window on there are hands of their own.
            self._pool.start()
            self._pool = None
        wants, places, lost = window.plan(self._index, self._target)
        self._finish_running()
        self._report(lost)
        self._runner.start(wants, places, self._report)
        self._running = _Running([file for file in window.files if file.complete], linked, left)

    def _finish_running(self) -> None:
        self._runner.finish()
        running, self._running = self._running, _Running([], [], [])
        for file in running.files:
            self._finish(file)
        for visit, first in running.linked:
            self._link(visit, first)
        for visit in running.left:
            if self._tidier is not None and visit.leaving:
                self._tidy(self._tidier, visit)
            try:
                self._target.finish_directory(visit.path, visit.entry)
            except OSError as exc:
                self._fail(visit.path, exc)
        self._tell()

    def _tidy(self, tidier: Tidier, visit: Visit) -> None:
        """Remove what the snapshot does not have, unless something of the folder failed: it may be all there is."""
        if visit.path in self._failed_in:
            self._progress.note(f"nothing was removed from /{os.fsdecode(visit.path)}: not all of it is restored")
            return
        try:
            for removal in tidier.tidy(visit):
                if removal.problem is None:
                    self._removed += 1
                elif removal.problem.errno == errno.EXDEV:
                    self._progress.note(
                        f"left alone /{os.fsdecode(removal.path)}: another file system is mounted there"
                    )
                else:
                    self._fail(removal.path, removal.problem)
        except (OSError, IntegrityFault, Unavailable) as exc:
            self._fail(visit.path, exc)

    def _link(self, visit: Visit, first: bytes) -> None:
        failure = self._links.failures.get(first)
        try:
            if failure is not None:
                raise failure
            self._target.link_file(visit.path, first)
        except (OSError, IntegrityFault, Unavailable) as exc:
            self._fail(visit.path, exc)
        else:
            self._files += 1
            self._bytes += visit.entry.size

    def _finish(self, file: RestoredFile) -> None:
        del self._open[file]
        writer, file.writer = file.writer, None
        if writer is not None and file.failure is not None:
            writer.abort()
        elif writer is not None:
            try:
                writer.finish(file.entry)
            except OSError as exc:
                file.failure = exc
        if file.failure is not None:
            self._fail_file(file, file.failure)
        else:
            self._files += 1

    def abandon(self) -> None:
        """Remove what is unfinished; nothing after a run that went through."""
        for file in self._open:
            if file.writer is not None:
                file.writer.abort()
        self._open.clear()

    def _report(self, written: Written) -> None:
        self._files += written.files
        self._bytes += written.bytes
        for file, failure in written.failures:
            if file.single:
                self._fail_file(file, failure)
            else:
                file.failure = file.failure or failure
        self._tell()

    def _tell(self) -> None:
        left = self._left_alone
        self._progress.update(files=self._files + left.files, bytes=self._bytes + left.bytes)

    def _report_unread(self) -> None:
        for path, error in self._walk.errors:
            self._unavailable_dirs += isinstance(error, Unavailable)
            self._integrity_dirs += not isinstance(error, Unavailable)
            self._fail(path, error)
        self._walk.errors.clear()
        for stored, place in self._walk.renamed:
            self._renamed += 1
            if self._renamed <= NOTED_SKIPS:
                self._progress.note(f"/{os.fsdecode(stored)} can't have that name here: it is {os.fsdecode(place)}")
        self._walk.renamed.clear()

    def _fail_file(self, file: RestoredFile, failure: Failure) -> None:
        if LINK in file.entry.ext:
            self._links.failures[file.path] = failure
        self._fail(file.path, failure)

    def _fail(self, path: bytes, failure: Failure) -> None:
        if isinstance(failure, OSError):
            self._local += 1
        elif isinstance(failure, Unavailable):
            self._unavailable += 1
        else:
            self._integrity += 1
        self._failed.add(path)
        self._failed_in.update((path, path.rpartition(b"/")[0]))
        self._progress.error_file(b"/" + path, explain(failure), is_away=isinstance(failure, Unavailable))
        # What one file met, every further one would meet.
        if isinstance(failure, OSError) and (end := explain_end(path, failure, finished=self._files)):
            raise end

    def verify(self, verifier: Verifier, selection: Selection, check: Callable[[], None]) -> None:
        """Compare what stands in the target with the snapshot; what differs counts as not restored."""
        files = size_bytes = 0

        def on_file(size: int) -> None:
            nonlocal files, size_bytes
            files, size_bytes = files + 1, size_bytes + size
            self._verified = files
            self._progress.update(files=files, bytes=size_bytes)

        self._progress.enter("verifying")
        for visit, problem in verifier.run(selection, on_file=on_file, check=check):
            if visit.path not in self._failed:
                self._local += 1
                self._progress.error_file(b"/" + visit.path, problem)

    def result(self, target: RestoreTarget) -> RestoreResult:
        """Return what came back, and tell what metadata could not be set."""
        if self._renamed > NOTED_SKIPS:
            self._progress.note(f"{self._renamed - NOTED_SKIPS:,} more have other names here")
        notes = {str(note): count for note, count in target.notes.items()}
        for note, count in notes.items():
            deed = "made" if note == MetadataNote.DEVICES else "set"
            self._progress.note(f"{note} could not be {deed} for {count} {'entry' if count == 1 else 'entries'}")
        return RestoreResult(
            files=self._files,
            dirs=self._dirs,
            bytes=self._bytes,
            left=self._left_alone,
            removed=self._removed,
            verified=self._verified,
            integrity_errors=self._integrity,
            unavailable_errors=self._unavailable,
            local_errors=self._local,
            integrity_dirs=self._integrity_dirs,
            unavailable_dirs=self._unavailable_dirs,
            notes=notes,
        )
