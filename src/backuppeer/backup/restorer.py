"""`restore`: a snapshot in, files below a target out.

Knows: what is checked before anything is written, what a restore is made of. Must not know: hosts, how to stay inside
the target (files.write does), the order of the work (restore_run).
"""

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import msgspec

from backuppeer.backup.jobs import Jobs
from backuppeer.backup.obstacles import check_way, has_entries, open_target, refuse_taken
from backuppeer.backup.pool import WorkerPool
from backuppeer.backup.restore_run import RestoreResult, RestoreRun
from backuppeer.backup.roots import normalise_path, split_path
from backuppeer.backup.selection import Choice, Selection, plan_way
from backuppeer.backup.standing import Keeper, Overwrite, Standing, may_replace
from backuppeer.backup.streams import NoProgress, PackSource, Progress
from backuppeer.backup.survey import Survey, survey
from backuppeer.backup.tidying import Tidier
from backuppeer.backup.trees import TreeReader, find_entry
from backuppeer.backup.verifier import Verifier
from backuppeer.backup.window import WindowRunner
from backuppeer.crypto.keys import RepositoryKeys
from backuppeer.errors import InterruptedByUserError, UserError
from backuppeer.files.dialect import Platform, this_platform, write_path
from backuppeer.files.scan import Found
from backuppeer.files.write import RestoreTarget
from backuppeer.limits import FETCH_AHEAD_PACKS
from backuppeer.repo.cache import TreeCache
from backuppeer.repo.index import Index
from backuppeer.repo.snapshot import Snapshot

__all__ = ["RestoreOptions", "RestoreResult", "Restorer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions:
    """What a restore is told."""

    overwrite: Overwrite = Overwrite.REFUSE
    choice: Choice | None = None
    delete: bool = False
    """Remove from restored folders what the snapshot does not have."""
    verify: bool = False
    """Read everything again afterwards."""
    platform: Platform = field(default_factory=this_platform)
    """Whose names can stand in the target."""
    workers: int = FETCH_AHEAD_PACKS
    cancel: threading.Event = field(default_factory=threading.Event)


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

    def survey(self, snapshot: Snapshot, path: bytes = b"/") -> Survey:
        """Say what a restore would write, keep and replace (paths relative to the target).

        Raises:
            NotFoundError: the snapshot has no such path.
            UserError: the target can't be used, or something that is never replaced stands on the way.
            InterruptedByUserError: cancelled.

        """
        selection, wanted = self._select(snapshot, split_path(normalise_path(path)))
        if not has_entries(self._target):
            return survey(selection, None, self._check_cancelled)
        with open_target(self._target, overwrite=False) as target:
            only_way = self._plan_way(snapshot, wanted)
            check_way(only_way, target, self._target)
            keeper = Keeper(target, self._options.overwrite)
            return survey(selection, keeper, self._check_cancelled, self._make_tidier(target, only_way))

    def _select(self, snapshot: Snapshot, wanted: Sequence[bytes]) -> tuple[Selection, list[bytes]]:
        """Return what is selected, and the names on the way to it."""
        way = find_entry(self._trees, snapshot.tree, wanted, is_typed=True)
        selection = Selection(self._trees, snapshot.tree, way, self._options.choice, platform=self._options.platform)
        return selection, [entry.name for entry in way]

    def _plan_way(self, snapshot: Snapshot, wanted: Sequence[bytes]) -> list[bytes]:
        return [write_path(path, self._options.platform) for path in plan_way(snapshot.paths, wanted)]

    def _make_tidier(self, target: RestoreTarget, only_way: Sequence[bytes]) -> Tidier | None:
        if not self._options.delete:
            return None
        choice, check = self._options.choice, self._check_cancelled
        return Tidier(
            self._trees,
            target,
            choice=choice,
            only_way=frozenset(only_way),
            check=check,
            platform=self._options.platform,
        )

    def examine_existing(self, paths: Sequence[bytes]) -> list[Found]:
        """Return what stands at paths that `survey` gave; the `name` of each is its path, from the target on."""
        if not paths:
            return []  # the target need not even be there
        with open_target(self._target, overwrite=False) as target:
            return [msgspec.structs.replace(target.examine(path), name=path) for path in paths]

    def run(self, snapshot: Snapshot, path: bytes = b"/") -> RestoreResult:
        """Restore all of `snapshot`, or the file or directory at the absolute `path`, below the target.

        Raises:
            NotFoundError: the snapshot has no such path.
            UserError: files exist and may not be overwritten, something that is never replaced stands on the way, or
                the target can't be used; nothing was written.
            InterruptedByUserError: cancelled; what is finished stays.
            LocalError: the target is full, IncompleteError: it is read-only; what is finished stays.
            IntegrityFault: not even the root of the snapshot can be read.

        """
        selection, wanted = self._select(snapshot, split_path(normalise_path(path)))
        only_way = self._plan_way(snapshot, wanted)
        mode = self._options.overwrite
        is_empty = not has_entries(self._target)
        if mode is Overwrite.REFUSE and not is_empty:
            refuse_taken(self.survey(snapshot, path).taken, self._target)
        if self._options.delete and mode is Overwrite.NEVER:
            raise UserError("to leave what stands there and to remove it are two wishes", hint="choose one of them")
        jobs = Jobs(self._options.workers, self._options.workers)
        with open_target(self._target, overwrite=may_replace(mode)) as target, ExitStack() as stack:
            check_way(only_way, target, self._target)
            keeper = None if is_empty else Keeper(target, mode)
            tidier = None if is_empty else self._make_tidier(target, only_way)
            pool = WorkerPool(self._keys, target, check=self._check_cancelled)
            run = RestoreRun(
                self._trees,
                self._index,
                target=target,
                pool=pool,
                runner=WindowRunner(self._source, self._index, hands=pool, jobs=jobs),
                progress=self._progress,
                standing=Standing(frozenset(only_way), keeper, tidier),
            )
            # Left in reverse: no worker may still write when the files it writes to are closed and removed.
            stack.callback(run.abandon)
            stack.enter_context(pool)
            stack.enter_context(jobs)
            run.restore(selection, self._check_cancelled)
            if self._options.verify:
                run.verify(
                    Verifier(self._keys, self._trees, self._index, target=target), selection, self._check_cancelled
                )
            return run.result(target)

    def _check_cancelled(self) -> None:
        if self._options.cancel.is_set():
            raise InterruptedByUserError("the restore was cancelled", hint="what is finished stays in the target")
