"""`restore`: a snapshot in, files below a target out.

Knows: the order of directories, files and metadata, which errors are whose. Must not know: hosts, how to stay inside
the target (files.write does).

Order: nothing is written before existing files were looked for; directories are made on the way in, files filled
window by window, and a directory gets its metadata after everything in it is finished. A file that can't be verified
is named and left out; the rest comes back.
"""

import errno
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice

import msgspec

from backuppeer.backup.jobs import Jobs
from backuppeer.backup.obstacles import check_way, has_entries, open_target, refuse_taken
from backuppeer.backup.pool import WorkerPool
from backuppeer.backup.roots import normalise_path, split_path
from backuppeer.backup.selection import Selection, Walk, find_taken, plan_way
from backuppeer.backup.streams import NoProgress, PackSource, Progress
from backuppeer.backup.trees import TreeReader, Visit, find_entry
from backuppeer.backup.window import Failure, RestoredFile, Window, WindowRunner, Written, explain
from backuppeer.crypto.keys import RepositoryKeys
from backuppeer.errors import IncompleteError, IntegrityFault, InterruptedByUserError, Unavailable
from backuppeer.files.scan import Found
from backuppeer.files.write import RestoreTarget
from backuppeer.limits import FETCH_AHEAD_PACKS, RESTORE_FIRST_BLOBS
from backuppeer.repo.cache import TreeCache
from backuppeer.repo.index import Index
from backuppeer.repo.snapshot import Snapshot
from backuppeer.repo.tree import EntryKind

_PART_BLOBS = 64
"""Chunks of one file handed to a window at a time; a window may be larger than meant by this."""
_ENDS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""What one file met, every further one would meet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions:
    """What a restore is told."""

    overwrite: bool = False
    workers: int = FETCH_AHEAD_PACKS
    cancel: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreResult:
    """What came back. Errors by cause: data wrong or missing, hosts not reachable now, this machine's disk.

    `notes`: for each kind of metadata that could not be set, for how many entries.
    """

    files: int
    dirs: int
    bytes: int
    integrity_errors: int
    unavailable_errors: int
    local_errors: int
    notes: Mapping[str, int]

    @property
    def errors(self) -> int:
        """All errors; each was named by `Progress.error_file`."""
        return self.integrity_errors + self.unavailable_errors + self.local_errors


class Restorer:
    """Restores from one repository into one target directory (absolute path, made if missing)."""

    def __init__(
        self,
        keys: RepositoryKeys,
        index: Index,
        *,
        cache: TreeCache,
        source: PackSource,
        target: bytes,
        progress: Progress | None = None,
        options: RestoreOptions | None = None,
    ) -> None:
        self._keys = keys
        self._index = index
        self._source = source
        self._target = target
        self._progress = progress or NoProgress()
        self._options = options or RestoreOptions()
        self._trees = TreeReader(keys, index, cache=cache, source=source)

    def find_existing(self, snapshot: Snapshot, path: bytes = b"/") -> list[bytes]:
        """Return the paths in the target (relative to it) that a restore would replace.

        Raises:
            NotFoundError: the snapshot has no such path.
            UserError: the target can't be used, or something that is never replaced stands on the way.
            InterruptedByUserError: cancelled.

        """
        wanted = split_path(normalise_path(path))
        way = find_entry(self._trees, snapshot.tree, wanted)
        if not has_entries(self._target):
            return []
        with open_target(self._target, overwrite=False) as target:
            check_way(plan_way(snapshot.paths, wanted), target, self._target)
            return list(find_taken(Selection(self._trees, snapshot.tree, way), target, self._check_cancelled))

    def examine_existing(self, paths: Sequence[bytes]) -> list[Found]:
        """Return what stands at paths that `find_existing` gave; the `name` of each is its path, from the target on."""
        with open_target(self._target, overwrite=False) as target:
            return [msgspec.structs.replace(target.examine(path), name=path) for path in paths]

    def run(self, snapshot: Snapshot, path: bytes = b"/") -> RestoreResult:
        """Restore all of `snapshot`, or the file or directory at the absolute `path`, below the target.

        Raises:
            NotFoundError: the snapshot has no such path.
            UserError: files exist and may not be overwritten, something that is never replaced stands on the way, or
                the target can't be used; nothing was written.
            InterruptedByUserError: cancelled; what is finished stays.
            IncompleteError: the target is full or read-only; what is finished stays.
            IntegrityFault: not even the root of the snapshot can be read.

        """
        wanted = split_path(normalise_path(path))
        way = find_entry(self._trees, snapshot.tree, wanted)
        only_way = plan_way(snapshot.paths, wanted)
        if not self._options.overwrite:
            refuse_taken(self.find_existing(snapshot, path), self._target)
        jobs = Jobs(self._options.workers, self._options.workers)
        with open_target(self._target, overwrite=self._options.overwrite) as target, ExitStack() as stack:
            check_way(only_way, target, self._target)
            pool = WorkerPool(self._keys, target, check=self._check_cancelled)
            run = _Run(
                self._trees,
                self._index,
                target=target,
                pool=pool,
                runner=WindowRunner(self._source, hands=pool, jobs=jobs),
                progress=self._progress,
                only_way=frozenset(only_way),
            )
            # Left in reverse: no worker may still write when the files it writes to are closed and removed.
            stack.callback(run.abandon)
            stack.enter_context(pool)
            stack.enter_context(jobs)
            run.restore(Selection(self._trees, snapshot.tree, way), self._check_cancelled)
            return run.result(target)

    def _check_cancelled(self) -> None:
        if self._options.cancel.is_set():
            raise InterruptedByUserError("the restore was cancelled", hint="what is finished stays in the target")


class _Run:
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
        only_way: Collection[bytes],
    ) -> None:
        self._trees = trees
        self._index = index
        self._target = target
        self._pool: WorkerPool | None = pool
        self._runner = runner
        self._progress = progress
        self._only_way = only_way
        self._window = Window(RESTORE_FIRST_BLOBS)
        self._left: list[Visit] = []
        self._running: tuple[list[RestoredFile], list[Visit]] = ([], [])
        self._open: dict[RestoredFile, None] = {}
        self._walk = Walk()
        self._files = self._dirs = self._bytes = 0
        self._integrity = self._unavailable = self._local = 0

    def restore(self, selection: Selection, check: Callable[[], None]) -> None:
        above = [visit for visit in selection.above() if self._make_directory(visit) is True]
        for visit in selection.visits(self._walk):
            check()
            self._take(visit)
            if self._walk.errors:
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
        elif kind == EntryKind.SYMLINK:
            self._make_symlink(visit)
        else:
            self._take_file(visit)

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

    def _make_symlink(self, visit: Visit) -> None:
        try:
            self._target.make_symlink(visit.path, visit.entry.target, visit.entry)
        except (OSError, IntegrityFault) as exc:
            self._fail(visit.path, exc)

    def _take_file(self, visit: Visit) -> None:
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
        if self._pool is not None and window.is_full():
            # More than a handful: from the second window on there are hands of their own.
            self._pool.start()
            self._pool = None
        wants, places, lost = window.plan(self._index, self._target)
        self._finish_running()
        self._report(lost)
        self._runner.start(wants, places, self._report)
        self._running = ([file for file in window.files if file.complete], left)

    def _finish_running(self) -> None:
        self._runner.finish()
        files, left = self._running
        self._running = ([], [])
        for file in files:
            self._finish(file)
        for visit in left:
            try:
                self._target.finish_directory(visit.path, visit.entry)
            except OSError as exc:
                self._fail(visit.path, exc)
        self._tell()

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
            self._fail(file.path, file.failure)
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
                self._fail(file.path, failure)
            else:
                file.failure = file.failure or failure
        self._tell()

    def _tell(self) -> None:
        self._progress.update(files=self._files, bytes=self._bytes)

    def _report_unread(self) -> None:
        for path, error in self._walk.errors:
            self._fail(path, error)
        self._walk.errors.clear()

    def _fail(self, path: bytes, failure: Failure) -> None:
        if isinstance(failure, OSError):
            self._local += 1
        elif isinstance(failure, Unavailable):
            self._unavailable += 1
        else:
            self._integrity += 1
        self._progress.error_file(b"/" + path, explain(failure))
        if isinstance(failure, OSError) and failure.errno in _ENDS:
            raise IncompleteError(
                f"the target takes no more ({explain(failure)}); what is finished stays: {self._files} of the files",
                hint="make room there, or choose another target: --target DIR",
            )

    def result(self, target: RestoreTarget) -> RestoreResult:
        notes = {str(note): count for note, count in target.notes.items()}
        for note, count in notes.items():
            self._progress.note(f"{note} could not be set for {count} {'entry' if count == 1 else 'entries'}")
        return RestoreResult(
            files=self._files,
            dirs=self._dirs,
            bytes=self._bytes,
            integrity_errors=self._integrity,
            unavailable_errors=self._unavailable,
            local_errors=self._local,
            notes=notes,
        )
