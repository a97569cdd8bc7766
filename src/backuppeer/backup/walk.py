"""The walk of a backup: from directories on disk to tree pieces, with all reading done by worker threads.

Knows: the order of things, what is compared with the parent snapshot, when a directory is complete. Must not know:
packs, snapshots.

Theory of operation. One thread (the caller's) walks depth first, lists directories, compares entries with the
parent's and hands out jobs: batches of files to read, batches of unchanged files whose blobs must still be known,
segments of large files, batches of tree pieces. Jobs are collected in the order they were submitted. A `Node` is a
directory in the making; it counts what it waits for and becomes an entry of its parent when that is nothing. Only
this thread touches nodes, so they need no lock. Callbacks of jobs queue further work but never wait, so they can't
recurse; waiting happens in the walk itself.

Memory: the nodes on the way down and those with jobs in flight; a directory's own entries are held together.
"""

import os
from collections import deque
from functools import partial

from backuppeer.backup.entries import is_untouched, make_entry, make_file_entry, matches
from backuppeer.backup.exclusion import Rules
from backuppeer.backup.intake import Engine, Intake
from backuppeer.backup.jobs import Jobs
from backuppeer.backup.looking import look
from backuppeer.backup.nodes import Batch, KnownBatch, Node, Todo, TreeBatch
from backuppeer.backup.reading import FileRead, describe_error
from backuppeer.backup.roots import Root
from backuppeer.backup.streaming import Streamer
from backuppeer.backup.streams import Progress
from backuppeer.backup.trees import TreeReader, split_ids
from backuppeer.errors import BackupPeerError, IntegrityFault
from backuppeer.files.metadata import OwnerNames
from backuppeer.files.read import Opened, has_changed, look_at_entry, open_file
from backuppeer.files.scan import (
    Directory,
    Found,
    FoundKind,
    examine_path,
    find_virtual_mounts,
    join_path,
    open_directory,
    read_mount_table,
)
from backuppeer.ids import BlobId
from backuppeer.limits import KNOWN_BATCH, NOTED_SKIPS, SMALL_FILE_BYTES, TREE_BATCH, TREE_DEPTH
from backuppeer.repo.blob import BlobKind
from backuppeer.repo.cache import TreeCache
from backuppeer.repo.tree import TreeEntry, cut_content, encode_pieces


class Tally:
    """Counts of one walk. `roots`: wanted directories that could be listed, and wanted symlinks."""

    __slots__ = ("bytes", "dirs", "errors", "files", "roots", "skipped", "unchanged")

    def __init__(self) -> None:
        self.files = self.dirs = self.bytes = self.unchanged = self.errors = self.skipped = self.roots = 0


class Walker:
    """One walk over wanted paths. `trees` reads the parent snapshot; used once, by one thread."""

    def __init__(
        self,
        engine: Engine,
        intake: Intake,
        jobs: Jobs,
        *,
        trees: TreeReader,
        cache: TreeCache,
        progress: Progress,
    ) -> None:
        self._engine, self._intake = engine, intake
        self._jobs = jobs
        self._trees = trees
        self._cache = cache
        self._progress = progress
        self._told_bytes = 0
        self._streamer = Streamer(engine, intake, jobs)
        self._names = OwnerNames()
        self._virtual = find_virtual_mounts(read_mount_table())
        self._batch = Batch()
        self._known = KnownBatch()
        self._pieces = TreeBatch()
        self._again: deque[tuple[Node, int, Found]] = deque()
        self.tally = Tally()

    def walk(self, root: Root, before: bytes, rules: Rules) -> bytes:
        """Walk and return the joined piece ids of the root directory; `before`: those of the parent snapshot, or b"".

        `rules`: what is left out, above `/`.

        Raises:
            InterruptedByUserError: the job was cancelled.
            BackupPeerError: the packs can't be stored any more.

        """
        top = Node(b"/", Todo(0, _examine_top(), None, root), None, rules)
        self._fill(top, root, before)
        stack = [top]
        while stack:
            self._engine.check_cancelled()
            node = stack[-1]
            if not node.todo:
                self._settle(stack.pop())
            elif child := self._enter(node, node.todo.pop()):
                stack.append(child)
            self._pump()
            self._read_again()
        while self._hand_out(everything=True) or len(self._jobs) or self._again:
            self._jobs.collect(most=0)
            self._read_again()
            self._report()
        return top.content

    # --- going down
    def _enter(self, parent: Node, todo: Todo) -> Node | None:
        node = Node(join_path(parent.path, todo.found.name), todo, parent, parent.rules)
        parent.waiting += 1
        if node.depth > TREE_DEPTH:
            self._fail(node.path, f"lies more than {TREE_DEPTH} directories deep")
        elif todo.found.device != parent.found.device and todo.root is None and self._is_left_out(node.path):
            pass
        else:
            self._fill(node, todo.root, todo.before.content if todo.before else b"")
        return node

    def _is_left_out(self, mount: bytes) -> bool:
        """Say whether the directory stays empty, and tell of it."""
        if mount in self._virtual:
            why = "not files but the system's own state"
        elif self._engine.one_file_system:
            why = "another file system"
        else:
            return False
        self._progress.note(f"left out {_show(mount)}: {why}")
        return True

    def _fill(self, node: Node, root: Root | None, before: bytes) -> None:
        """List a directory and take in its entries; what can't be read is reported and the node stays empty."""
        try:
            directory, found = look(node, root, self._fail)
        except OSError as exc:
            self._fail(node.path, describe_error(exc))
            return
        self.tally.roots += root is not None and root.whole
        try:
            earlier = self._read_before(node, before)
            below = root.below if root else {}
            for item in found:
                self._take(node, directory, found=item, before=earlier.get(item.name), root=below.get(item.name))
        finally:
            directory.release()
        node.todo.reverse()

    def _read_before(self, node: Node, content: bytes) -> dict[bytes, TreeEntry]:
        if not content:
            return {}
        try:
            entries = tuple(self._trees.entries(content))
        except BackupPeerError:
            return {}  # the cache lost it: everything is read, nothing is stored twice
        node.before = entries
        self._known.add_directory(node, content)
        return {entry.name: entry for entry in entries}

    # --- one entry
    def _take(
        self, node: Node, directory: Directory, *, found: Found, before: TreeEntry | None, root: Root | None
    ) -> None:
        slot = len(node.entries)
        node.entries.append(None)
        if found.kind is FoundKind.FILE:
            if before is not None and matches(found, before):
                node.entries[slot] = before
                self._known.add(node, slot, found=found, entry=before)
            else:
                self._take_file(node, slot, directory=directory, found=found)
        elif found.kind is FoundKind.DIRECTORY:
            node.todo.append(Todo(slot, found, before, root))
        elif found.kind is FoundKind.OTHER:
            self._skip(join_path(node.path, found.name))
        else:
            self.tally.roots += root is not None and found.kind is FoundKind.SYMLINK
            self._set(node, slot, self._describe(node, directory, found=found, before=before), before)

    def _describe(self, node: Node, directory: Directory, *, found: Found, before: TreeEntry | None) -> TreeEntry:
        """Return the entry of what needs no reading."""
        if before is not None and is_untouched(found, before):
            return make_entry(found, self._names, attributes=before.attributes)
        attributes, problem = look_at_entry(directory, found.name)
        if problem:
            self._fail(join_path(node.path, found.name), problem)
        return make_entry(found, self._names, attributes=attributes)

    def _take_file(self, node: Node, slot: int, *, directory: Directory, found: Found) -> None:
        if found.size == 0:
            node.entries[slot] = self._describe(node, directory, found=found, before=None)
            self.tally.files += 1
        elif found.size > SMALL_FILE_BYTES:
            self._stream(node, slot, directory=directory, found=found)
        else:
            self._batch.add(node, slot, directory=directory, found=found)
            if self._batch.is_full():
                self._pump()

    def _set(self, node: Node, slot: int, entry: TreeEntry, before: TreeEntry | None) -> None:
        """Keep the parent's own object where nothing changed: that is how an unchanged directory is seen."""
        node.entries[slot] = before if before is not None and before == entry else entry

    def _skip(self, path: bytes) -> None:
        self.tally.skipped += 1
        if self.tally.skipped <= NOTED_SKIPS:
            self._progress.note(f"left out {_show(path)}: a socket, which holds no data")

    def _fail(self, path: bytes, message: str) -> None:
        self.tally.errors += 1
        self._progress.error_file(path, message)

    # --- large files
    def _stream(self, node: Node, slot: int, *, directory: Directory, found: Found) -> None:
        self._pump()
        path = join_path(node.path, found.name)
        try:
            opened = open_file(directory.fd, found.name)
            try:
                finished = partial(self._streamed, node, slot, found.name, opened)
                size = self._streamer.stream(opened, finished, reached=self._report)
                node.waiting += 1
                if size != opened.size or has_changed(opened):
                    self._fail(path, "changed while it was read")
                if opened.problem:
                    self._fail(path, opened.problem)
            finally:
                os.close(opened.fd)
        except OSError as exc:
            self._fail(path, describe_error(exc))

    def _streamed(self, node: Node, slot: int, name: bytes, opened: Opened, content: bytes, size: int) -> None:  # noqa: PLR0917 - bound by partial
        lists = cut_content(content)
        if lists:
            content = self._add_pieces(lists)
        depth = 1 if lists else 0
        node.entries[slot] = make_file_entry(name, opened, self._names, content=content, size=size, depth=depth)
        self._count(size)
        self._settle(node)

    def _count(self, size: int) -> None:
        self.tally.files += 1
        self.tally.bytes += size

    # --- jobs
    def _pump(self) -> None:
        """Hand out full batches, collect what is finished; the only place, beside segments, where the walk waits."""
        if self._hand_out(everything=False):
            self._jobs.collect()
            self._report()

    def _report(self, streamed_bytes: int = 0) -> None:
        """Tell the totals; `streamed_bytes` of a large file are read but not counted yet."""
        # Never back: a file that was streamed is counted only when its last segment is packed.
        self._told_bytes = max(self._told_bytes, self.tally.bytes + streamed_bytes)
        self._progress.update(files=self.tally.files, bytes=self._told_bytes, new_bytes=self._engine.packer.new_bytes)

    def _hand_out(self, *, everything: bool) -> bool:
        handed = False
        if self._batch.files and (everything or self._batch.is_full()):
            batch, self._batch = self._batch, Batch()
            self._jobs.submit(partial(self._read_batch, batch), partial(self._batch_read, batch))
            handed = True
        if len(self._known) >= (1 if everything else KNOWN_BATCH):
            known, self._known = self._known, KnownBatch()
            self._jobs.submit(partial(self._look_up, known), partial(self._looked_up, known))
            handed = True
        if len(self._pieces.pieces) >= (1 if everything else TREE_BATCH):
            pieces, self._pieces = self._pieces.pieces, TreeBatch()
            self._jobs.submit(partial(self._pack_pieces, pieces), lambda _: None)
            handed = True
        return handed

    def _read_batch(self, batch: Batch) -> list[FileRead]:
        return self._intake.read_files(batch.files, [directory.fd for directory in batch.directories])

    def _batch_read(self, batch: Batch, results: list[FileRead]) -> None:
        for (node, slot), file, result in zip(batch.places, batch.files, results, strict=True):
            if result.problem:
                self._fail(join_path(node.path, file.name), result.problem)
            if result.opened is not None:
                node.entries[slot] = make_file_entry(
                    file.name, result.opened, self._names, content=result.content, size=result.size
                )
                self._count(result.size)
        for directory in batch.directories:
            directory.release()
        for node in batch.nodes:
            self._settle(node)

    def _look_up(self, known: KnownBatch) -> set[BlobId]:
        """Return the blobs of a batch that the index does not hold (in a worker)."""
        wanted: set[BlobId] = set()
        for _, _, _, entry in known.files:
            if entry.depth:
                wanted.update(split_ids(entry.content))
            wanted.update(self._chunks_of(entry))
        for _, content in known.whole:
            wanted.update(split_ids(content))
        return wanted - self._engine.index.known(wanted)

    def _chunks_of(self, entry: TreeEntry) -> list[BlobId]:
        try:
            return list(self._trees.chunks_of(entry))
        except IntegrityFault:
            return [BlobId(b"")]  # a content list the cache lost: an id nobody has, so the file is read again

    def _looked_up(self, known: KnownBatch, missing: set[BlobId]) -> None:
        for node, slot, found, entry in known.files:
            if missing and not missing.isdisjoint(self._needed(entry)):
                node.entries[slot] = None
                node.waiting += 1
                self._again.append((node, slot, found))
            else:
                self.tally.unchanged += 1
                self._count(entry.size)
        for node, content in known.whole:
            if missing and not missing.isdisjoint(split_ids(content)):
                node.before = None
        for node in known.nodes:
            self._settle(node)

    def _needed(self, entry: TreeEntry) -> list[BlobId]:
        return [*split_ids(entry.content), *self._chunks_of(entry)]

    def _read_again(self) -> None:
        """Read files after all whose blobs the index lost (a resync after a loss, a pack on its way out)."""
        while self._again:
            node, slot, found = self._again.popleft()
            try:
                directory = open_directory(node.path)
            except OSError as exc:
                self._fail(join_path(node.path, found.name), describe_error(exc))
            else:
                self._take_file(node, slot, directory=directory, found=found)
                directory.release()
            self._settle(node)

    def _pack_pieces(self, pieces: list[tuple[BlobId, bytes]]) -> None:
        self._intake.pack_chunks(pieces, BlobKind.TREE)
        if not self._engine.dry_run:
            self._cache.put_many(pieces)

    def _add_pieces(self, pieces: list[bytes]) -> bytes:
        """Queue pieces for packing; return their ids, joined."""
        named = [(self._engine.keys.blob_id(BlobKind.TREE, piece), piece) for piece in pieces]
        self._pieces.pieces += named
        return b"".join([blob for blob, _ in named])

    # --- going up
    def _settle(self, node: Node) -> None:
        """Count one thing less that a directory waits for; complete it, and those above, when nothing is left."""
        node.waiting -= 1
        while node.waiting == 0:
            self._complete(node)
            if node.parent is None:
                return
            node = node.parent
            node.waiting -= 1

    def _complete(self, node: Node) -> None:
        entries = [entry for entry in node.entries if entry is not None]
        if node.was is not None and node.is_unchanged(entries):
            node.content = node.was.content
        else:
            node.content = self._add_pieces(list(encode_pieces(entries)))
        node.before = None
        node.entries = []
        if node.parent is not None:
            entry = make_entry(node.found, self._names, node.content, attributes=node.attributes)
            self._set(node.parent, node.slot, entry, node.was)
            self.tally.dirs += 1


def _examine_top() -> Found:
    return examine_path(b"/")


def _show(path: bytes) -> str:
    return os.fsdecode(path)
