"""`backup`: paths in, a snapshot out.

Knows: the order in which things become true. Must not know: hosts, device keys (the agent makes and sends the head).

Order: everything a snapshot names is durable before the snapshot is sent, the snapshot is durable before the local
index knows it, and only then is there an inventory for a head to commit to. Broken off at any point, the repository
is what it was, plus packs that the next run finds useful.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from backuppeer.backup.exclusion import Exclusions, make_rules
from backuppeer.backup.intake import Engine, Intake, count_readers
from backuppeer.backup.jobs import Jobs
from backuppeer.backup.packer import Packer
from backuppeer.backup.publisher import Published, Publisher
from backuppeer.backup.roots import normalise_path, plan_roots
from backuppeer.backup.sighting import find_paths, name_paths
from backuppeer.backup.streams import NoProgress, PackSink, Progress
from backuppeer.backup.trees import TreeReader
from backuppeer.backup.walk import Tally, Walker
from backuppeer.crypto.keys import RepositoryKeys
from backuppeer.errors import IncompleteError, UserError
from backuppeer.ids import BlobId, SnapshotId
from backuppeer.limits import BATCHES_IN_FLIGHT, ENGINE_WORKERS, NOTED_SKIPS, SNAPSHOT_PATHS
from backuppeer.repo.blob import BlobKind
from backuppeer.repo.cache import TreeCache
from backuppeer.repo.head import Inventory
from backuppeer.repo.index import Index
from backuppeer.repo.snapshot import Snapshot, encode_snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveOptions:
    """What a backup is told; texts go into the snapshot. `now_ns` gives the wall clock."""

    host: str = ""
    user: str = ""
    tags: tuple[str, ...] = ()
    set_name: str = ""
    program: str = ""
    level: int = 2
    dry_run: bool = False
    one_file_system: bool = False
    exclusions: Exclusions = field(default_factory=Exclusions)
    workers: int = ENGINE_WORKERS
    cancel: threading.Event = field(default_factory=threading.Event)
    now_ns: Callable[[], int] = time.time_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveResult:
    """A finished backup. In a dry run the snapshot is what would stand; nothing was stored, `inventory` is None.

    `files`: regular files in it, `unchanged`: those of them that were not read. `bytes`: their size. `new_bytes`: plain
    bytes that no earlier snapshot held. `stored_bytes`: packs handed over, one copy. `errors`: files and directories
    named by `Progress.error_file`. `index`: blob id of the inventory's root, for the head.
    """

    snapshot_id: SnapshotId
    snapshot: Snapshot
    inventory: Inventory | None
    index: BlobId | None
    files: int
    dirs: int
    bytes: int
    new_bytes: int
    stored_bytes: int
    unchanged: int
    skipped: int
    errors: int


class Archiver:
    """Makes snapshots of one repository; one run at a time."""

    def __init__(
        self,
        keys: RepositoryKeys,
        index: Index,
        *,
        cache: TreeCache,
        sink: PackSink,
        progress: Progress | None = None,
        options: ArchiveOptions | None = None,
    ) -> None:
        self._keys = keys
        self._index = index
        self._cache = cache
        self._sink = sink
        self._progress = progress or NoProgress()
        self._options = options or ArchiveOptions()

    def run(self, paths: Sequence[bytes], parent: Snapshot | None = None) -> ArchiveResult:
        """Back up absolute `paths`; files that look as in `parent` are not read again.

        Raises:
            UserError: no path, too many, a relative one, or a pattern that is none.
            NotFoundError: none of the paths exists; nothing was read.
            IncompleteError: nothing at any of the paths could be read; no snapshot was made.
            InterruptedByUserError: cancelled; no snapshot was made.
            BackupPeerError: the sink failed; no snapshot was made.

        """
        options = self._options
        started_ns = options.now_ns()
        if len(paths) > SNAPSHOT_PATHS:
            raise UserError(
                f"{len(paths):,} paths are more than the {SNAPSHOT_PATHS:,} of one snapshot",
                hint="name the folders they are in, and leave out the rest: --exclude, --include",
            )
        there, missing = find_paths(paths, self._progress)
        root = plan_roots(there)
        packer = Packer(self._index, None if options.dry_run else self._sink)
        engine = Engine(
            self._keys,
            self._index,
            packer,
            options.level,
            options.dry_run,
            options.one_file_system,
            options.cancel,
        )
        rules = make_rules(options.exclusions)
        trees = TreeReader(self._keys, self._index, cache=self._cache)
        # The jobs end first: they use what the intake has.
        with Intake(engine) as intake, Jobs(max(options.workers, count_readers()), BATCHES_IN_FLIGHT) as jobs:
            walker = Walker(engine, intake, jobs, trees=trees, cache=self._cache, progress=self._progress)
            walker.tally.errors = missing
            tree = walker.walk(root, parent.tree if parent else b"", rules)
        if not (walker.tally.files or walker.tally.roots):
            # A snapshot of nothing would be `latest`, and hide the one that has the files.
            raise IncompleteError(
                f"nothing could be read of {name_paths(there)}", hint="no snapshot was made; who may read it?"
            )
        snapshot = self._make_snapshot(tree, there, tally=walker.tally, parent=parent, started_ns=started_ns)
        if walker.tally.skipped > NOTED_SKIPS:
            more = walker.tally.skipped - NOTED_SKIPS
            self._progress.note(f"left out {more} more sockets, which hold no data")
        engine.check_cancelled()
        return self._finish(packer, snapshot, walker.tally)

    def _make_snapshot(
        self, tree: bytes, paths: Sequence[bytes], *, tally: Tally, parent: Snapshot | None, started_ns: int
    ) -> Snapshot:
        options = self._options
        return Snapshot(
            tree=tree,
            time_ns=started_ns,
            paths=sorted({normalise_path(path) for path in paths}),
            host=options.host,
            user=options.user,
            tags=list(options.tags),
            set=options.set_name,
            files=tally.files,
            dirs=tally.dirs,
            bytes=tally.bytes,
            program=options.program,
            parent=self._keys.blob_id(BlobKind.SNAPSHOT, encode_snapshot(parent)) if parent else b"",
        )

    def _finish(self, packer: Packer, snapshot: Snapshot, tally: Tally) -> ArchiveResult:
        body = encode_snapshot(snapshot)
        snapshot_id = SnapshotId(self._keys.blob_id(BlobKind.SNAPSHOT, body))
        published: Published | None = None
        if not self._options.dry_run:
            # Those known by name only included: what can't be read now may be there later, a head drops nothing unsaid.
            names = dict.fromkeys([*self._index.snapshot_names(), snapshot_id])
            publisher = Publisher(self._keys, self._index, cache=self._cache, level=self._options.level)
            published = publisher.publish(packer, list(names), [body])
            self._index.add_snapshot(snapshot_id, body)
        return ArchiveResult(
            snapshot_id=snapshot_id,
            snapshot=snapshot,
            inventory=published.inventory if published else None,
            index=published.index if published else None,
            files=tally.files,
            dirs=tally.dirs,
            bytes=tally.bytes,
            new_bytes=packer.new_bytes,
            stored_bytes=packer.stored_bytes,
            unchanged=tally.unchanged,
            skipped=tally.skipped,
            errors=tally.errors,
        )
