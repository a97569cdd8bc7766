"""`backup`: paths in, a snapshot out.

Knows: the order in which things become true. Must not know: hosts, device keys (the agent makes and sends the head).

Order: everything a snapshot names is durable before the snapshot is sent, the snapshot is durable before the local
index knows it, and only then is there an inventory for a head to commit to. Broken off at any point, the repository
is what it was, plus packs that the next run finds useful.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from backuppeer.backup.ahead import Ahead, Muted
from backuppeer.backup.exclusion import Exclusions, Rules, make_rules
from backuppeer.backup.intake import Engine, Intake, count_readers
from backuppeer.backup.jobs import Jobs
from backuppeer.backup.packer import Packer
from backuppeer.backup.past import Past
from backuppeer.backup.piped import StreamPacker
from backuppeer.backup.priority import Priorities, Scout, Urgent
from backuppeer.backup.publisher import Published, Publisher
from backuppeer.backup.roots import Root, normalise_path, plan_roots
from backuppeer.backup.sighting import explain_nothing, find_paths
from backuppeer.backup.streaming import Fill
from backuppeer.backup.streams import NoProgress, PackSink, Progress
from backuppeer.backup.tally import Tally
from backuppeer.backup.trail import Trail
from backuppeer.backup.trees import TreeReader
from backuppeer.backup.walk import Walker
from backuppeer.crypto.keys import RepositoryKeys
from backuppeer.errors import UserError
from backuppeer.ids import BlobId, LogicalId, SnapshotId
from backuppeer.limits import BATCHES_IN_FLIGHT, ENGINE_WORKERS, NOTED_SKIPS, SNAPSHOT_PATHS
from backuppeer.repo.blob import BlobKind
from backuppeer.repo.cache import TreeCache
from backuppeer.repo.head import Inventory
from backuppeer.repo.index import Index, Trust
from backuppeer.repo.partial import PartialTree
from backuppeer.repo.snapshot import Snapshot, encode_snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveOptions:
    """What a backup is told; texts and `ext` go into the snapshot. `now_ns` gives the wall clock."""

    host: str = ""
    user: str = ""
    tags: tuple[str, ...] = ()
    set_name: str = ""
    program: str = ""
    level: int = 2
    dry_run: bool = False
    one_file_system: bool = False
    exclusions: Exclusions = field(default_factory=Exclusions)
    ext: Mapping[str, bytes] = field(default_factory=dict)
    named: AbstractSet[LogicalId] | None = None
    """As for `Publisher`."""
    priorities: tuple[str, ...] = ()
    """Patterns of what is read and sent first, the most important first."""
    workers: int = ENGINE_WORKERS
    gives_way: bool = False
    """Nobody waits for it: its processes and threads come after others."""
    cancel: threading.Event = field(default_factory=threading.Event)
    now_ns: Callable[[], int] = time.time_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveResult:
    """A finished backup. In a dry run the snapshot is what would stand; nothing was stored, `inventory` is None.

    `files`: regular files in it, `unchanged`: those of them that were not read. `bytes`: their size. `new_bytes`: plain
    bytes that no earlier snapshot held. `stored_bytes`: packs handed over, one copy. `errors`: files and directories
    named by `Progress.error_file`. `index`: blob id of the inventory's root, for the head. `read_bytes`: of the files
    that were read. `trust`: of the walk, to be given to `Index.end_walk` once a head names what it stored.
    """

    snapshot_id: SnapshotId
    snapshot: Snapshot
    inventory: Inventory | None
    index: BlobId | None
    trust: Trust | None = None
    files: int
    dirs: int
    bytes: int
    new_bytes: int
    stored_bytes: int
    unchanged: int
    read_bytes: int
    skipped: int
    errors: int


class Archiver:
    """Makes snapshots of one repository; one run at a time.

    `partial`: where a run that breaks off leaves what it had finished, and the next finds it. Whoever makes the
    snapshot stand lets go of it.
    """

    def __init__(
        self,
        keys: RepositoryKeys,
        index: Index,
        *,
        cache: TreeCache,
        partial: PartialTree | None = None,
        sink: PackSink,
        progress: Progress | None = None,
        options: ArchiveOptions | None = None,
    ) -> None:
        self._keys = keys
        self._index = index
        self._cache = cache
        self._partial = partial
        self._sink = sink
        self._progress = progress or NoProgress()
        self._options = options or ArchiveOptions()

    def run(
        self,
        paths: Sequence[bytes],
        parent: Snapshot | None = None,
        grafts: Mapping[bytes, Snapshot] | None = None,
    ) -> ArchiveResult:
        """Back up absolute `paths`; files that look as in `parent`, or at a path of `grafts` as there, are not read.

        Raises:
            UserError: no path, too many, a relative one, or a pattern that is none.
            NotFoundError: none of the paths exists; nothing was read.
            NotFoundError: nothing at any of the paths could be read; no snapshot was made.
            InterruptedByUserError: cancelled; no snapshot was made.
            BackupPeerError: the sink failed; no snapshot was made.

        """
        options = self._options
        started_ns = options.now_ns()
        _check_number(paths)
        there, missing = find_paths(paths, self._progress)
        root = plan_roots(there)
        engine = self._make_engine()
        rules = make_rules(options.exclusions)
        before = parent.tree if parent else b""
        urgent = self._find_urgent(engine, root, before, rules)
        # The jobs end first: they use what the intake has.
        workers, gives_way = max(options.workers, count_readers()), options.gives_way
        with (
            Intake(engine, gives_way=gives_way) as intake,
            Jobs(workers, BATCHES_IN_FLIGHT, gives_way=gives_way) as jobs,
        ):
            ahead = self._read_ahead(intake, jobs, urgent) if urgent else None
            trust = self._index.begin_walk()
            walker = self._make_walker(intake, jobs, grafts, ahead, trust=trust)
            walker.tally.errors = missing
            tree = walker.walk(root, before, rules)
        if not (walker.tally.files or walker.tally.roots):
            # A snapshot of nothing would be `latest`, and hide the one that has the files.
            raise explain_nothing(there)
        snapshot = self._make_snapshot(tree, there, tally=walker.tally, parent=parent, started_ns=started_ns)
        if walker.tally.skipped > NOTED_SKIPS:
            more = walker.tally.skipped - NOTED_SKIPS
            self._progress.note(f"left out {more} more sockets, which hold no data")
        engine.check_cancelled()
        return self._finish(engine.packer, snapshot, walker.tally, trust=None if options.dry_run else trust)

    def _find_urgent(self, engine: Engine, root: Root, before: bytes, rules: Rules) -> Urgent | None:
        priorities = Priorities(self._options.priorities)
        if not priorities:
            return None
        trees = TreeReader(self._keys, self._index, cache=self._cache)
        return Scout(engine, trees, priorities).search(root, before, rules)

    def _read_ahead(self, intake: Intake, jobs: Jobs, urgent: Urgent) -> Ahead:
        """Read what is urgent, and return when it is durable."""
        if urgent.more:
            self._progress.note(
                f"--priority fits {urgent.more:,} more new files than are read first: these come with all others"
            )
        muted = Muted(self._progress)
        entries = self._make_walker(intake, jobs, progress=muted).read_files(urgent.files)
        intake.engine.packer.flush_content()
        return Ahead({path: entry for path, entry in entries.items() if path not in muted.failed}, muted.told)

    def run_stream(self, path: bytes, fill: Fill) -> ArchiveResult:
        """Back up what `fill` reads, to its end, as the file at the absolute `path` (see `read_stream_name`).

        Raises:
            InterruptedByUserError: cancelled; no snapshot was made.
            BackupPeerError: the sink failed, or `fill` did; no snapshot was made.

        """
        options = self._options
        started_ns = options.now_ns()
        engine = self._make_engine()
        with Intake(engine) as intake, Jobs(options.workers, BATCHES_IN_FLIGHT) as jobs:
            packed = StreamPacker(intake, jobs, cache=self._cache, progress=self._progress)
            tree = packed.pack(path, fill, now_ns=started_ns)
        engine.check_cancelled()
        snapshot = self._make_snapshot(tree, [path], tally=packed.tally, parent=None, started_ns=started_ns)
        return self._finish(engine.packer, snapshot, packed.tally)

    def _make_engine(self) -> Engine:
        options = self._options
        return Engine(
            self._keys,
            self._index,
            Packer(self._index, None if options.dry_run else self._sink),
            options.level,
            options.dry_run,
            options.one_file_system,
            options.cancel,
        )

    def _make_walker(
        self,
        intake: Intake,
        jobs: Jobs,
        grafts: Mapping[bytes, Snapshot] | None = None,
        ahead: Ahead | None = None,
        *,
        trust: Trust | None = None,
        progress: Progress | None = None,
    ) -> Walker:
        trees = TreeReader(self._keys, self._index, cache=self._cache)
        return Walker(
            intake,
            jobs,
            past=Past(trees, grafts=grafts, partial=self._partial, trust=trust),
            cache=self._cache,
            trail=Trail(None if self._options.dry_run else self._partial, self._cache),
            progress=progress or self._progress,
            ahead=ahead,
        )

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
            ext=dict(options.ext),
        )

    def _finish(self, packer: Packer, snapshot: Snapshot, tally: Tally, *, trust: Trust | None = None) -> ArchiveResult:
        body = encode_snapshot(snapshot)
        snapshot_id = SnapshotId(self._keys.blob_id(BlobKind.SNAPSHOT, body))
        published: Published | None = None
        if not self._options.dry_run:
            # Those known by name only included: what can't be read now may be there later, a head drops nothing unsaid.
            names = dict.fromkeys([*self._index.snapshot_names(), snapshot_id])
            level, named = self._options.level, self._options.named
            publisher = Publisher(self._keys, self._index, cache=self._cache, level=level, named=named)
            published = publisher.publish(packer, list(names), [body])
            self._index.add_snapshot(snapshot_id, body)
        return ArchiveResult(
            snapshot_id=snapshot_id,
            snapshot=snapshot,
            inventory=published.inventory if published else None,
            index=published.index if published else None,
            trust=trust,
            files=tally.files,
            dirs=tally.dirs,
            bytes=tally.bytes,
            new_bytes=packer.new_bytes,
            stored_bytes=packer.stored_bytes,
            unchanged=tally.unchanged,
            read_bytes=tally.read_bytes,
            skipped=tally.skipped,
            errors=tally.errors,
        )


def _check_number(paths: Sequence[bytes]) -> None:
    if len(paths) > SNAPSHOT_PATHS:
        raise UserError(
            f"{len(paths):,} paths are more than the {SNAPSHOT_PATHS:,} of one snapshot",
            hint="name the folders they are in, and leave out the rest: --exclude, --include",
        )
