"""Directories in the making: files read, pieces packed, entries put where they belong, until each is complete.

Knows: jobs, nodes, when a directory is complete. Must not know: in which order directories are walked, what is left
out.

All reading, hashing and compressing is done by jobs, collected in the order they were submitted. A `Node` counts what
it waits for and becomes an entry of its parent when that is nothing. Only the walk's thread touches nodes, so they
need no lock. Callbacks of jobs queue further work but never wait, so they can't recurse; waiting happens in `pump`.
"""

import os
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Final

from msgspec.structs import replace

from backuppeer.backup.ahead import Ahead
from backuppeer.backup.entries import is_untouched, make_entry, make_file_entry
from backuppeer.backup.intake import Intake
from backuppeer.backup.jobs import Jobs
from backuppeer.backup.likeness import take_look
from backuppeer.backup.nodes import Batch, KnownBatch, Node, TreeBatch
from backuppeer.backup.past import Past
from backuppeer.backup.reading import FileRead, describe_error
from backuppeer.backup.streaming import Streamer
from backuppeer.backup.streams import Progress
from backuppeer.backup.tally import Tally
from backuppeer.backup.trail import Trail
from backuppeer.backup.trees import split_ids
from backuppeer.errors import LocalError
from backuppeer.files.metadata import OwnerNames
from backuppeer.files.read import Opened, has_changed, look_at_entry, open_file, read_full
from backuppeer.files.scan import Directory, Found, join_path, open_directory
from backuppeer.ids import BlobId
from backuppeer.limits import KNOWN_BATCH, SMALL_FILE_BYTES, TREE_BATCH
from backuppeer.repo.blob import BlobKind
from backuppeer.repo.cache import TreeCache
from backuppeer.repo.tree import ID_BYTES, TreeEntry, cut_content, encode_pieces

_TELL_EACH: Final = 256
"""Directories that look as before, between two words about how far it is."""


class Assembly:
    """The nodes of one walk; used by its thread alone. `ahead`: files that were read already."""

    def __init__(
        self,
        intake: Intake,
        jobs: Jobs,
        *,
        past: Past,
        cache: TreeCache,
        trail: Trail,
        progress: Progress,
        ahead: Ahead,
    ) -> None:
        self.engine, self._intake, self._jobs = intake.engine, intake, jobs
        self._past, self._cache, self._trail = past, cache, trail
        self.progress = progress
        self._ahead = ahead
        self._told_files, self._told_bytes = ahead.told
        self._streamer = Streamer(intake, jobs)
        self._names = OwnerNames()
        self._batch, self.known, self._pieces = Batch(), KnownBatch(), TreeBatch()
        self._alike = 0
        self._again: deque[tuple[Node, int, Found]] = deque()
        self.tally = Tally()

    def keep(self) -> None:
        """Leave behind what is finished, in whatever way the walk ends: the next one goes on from there."""
        self._trail.keep(self._pieces.pieces)

    def describe(self, node: Node, directory: Directory, *, found: Found, before: TreeEntry | None) -> TreeEntry:
        """Return the entry of what needs no reading."""
        if before is not None and is_untouched(found, before):
            return make_entry(found, self._names, attributes=before.attributes)
        attributes, problem = look_at_entry(directory, found.name)
        if problem:
            self.fail(join_path(node.path, found.name), problem)
        return make_entry(found, self._names, attributes=attributes)

    def take_file(self, node: Node, slot: int, *, directory: Directory, found: Found) -> None:
        """Have a file read, or take the entry of an empty one."""
        if found.size == 0:
            node.entries[slot] = self.describe(node, directory, found=found, before=None)
            self.tally.files += 1
        elif found.size > SMALL_FILE_BYTES:
            self._stream(node, slot, directory=directory, found=found)
        else:
            self._batch.add(node, slot, directory=directory, found=found)
            if self._batch.is_full():
                self.pump()

    def set_entry(self, node: Node, slot: int, entry: TreeEntry, before: TreeEntry | None) -> None:
        """Keep the parent's own object where nothing changed: that is how an unchanged directory is seen."""
        node.entries[slot] = before if before is not None and before == entry else entry

    def fail(self, path: bytes, message: str) -> None:
        """Tell of a file or directory that is left out, or is not whole."""
        self.tally.errors += 1
        self.progress.error_file(path, message)

    # --- large files
    def _stream(self, node: Node, slot: int, *, directory: Directory, found: Found) -> None:
        self.pump()
        path = join_path(node.path, found.name)
        try:
            opened = open_file(directory.fd, found.name)
            try:
                finished = partial(self._streamed, node, slot, found.name, opened)
                size = self._streamer.stream(partial(read_full, opened.fd), opened.size, finished, reached=self.report)
                node.waiting += 1
                if size != opened.size or has_changed(opened):
                    self.fail(path, "changed while it was read")
                if opened.problem:
                    self.fail(path, opened.problem)
            finally:
                os.close(opened.fd)
        except OSError as exc:
            self.fail(path, describe_error(exc))

    def _streamed(self, node: Node, slot: int, name: bytes, opened: Opened, content: bytes, size: int) -> None:  # noqa: PLR0917 - bound by partial
        lists = cut_content(content)
        if lists:
            content = self._add_pieces(lists)
        depth = 1 if lists else 0
        entry = make_file_entry(name, opened, self._names, content=content, size=size, depth=depth)
        self._set_read(node, slot, entry)
        self.settle(node)

    def _set_read(self, node: Node, slot: int, entry: TreeEntry) -> None:
        node.entries[slot] = entry
        self._trail.add_file(node, entry)
        self.tally.read_bytes += entry.size
        self.count(entry.size)

    def count_unchanged(self, files: int, size: int) -> None:
        """Count all files of a directory that looks as before."""
        self.tally.files += files
        self.tally.unchanged += files
        self.tally.bytes += size
        self._alike += 1
        if self._alike % _TELL_EACH == 0:
            self.report()

    def count(self, size: int) -> None:
        """Count a file of the snapshot."""
        self.tally.files += 1
        self.tally.bytes += size

    # --- jobs
    def pump(self) -> None:
        """Hand out full batches, collect what is finished; the only place, beside segments, where the walk waits."""
        if self._hand_out(everything=False):
            self._jobs.collect()
            self.report()

    def report(self, streamed_bytes: int = 0) -> None:
        """Tell the totals; `streamed_bytes` of a large file are read but not counted yet."""
        # Never back: a file that was streamed is counted only when its last segment is packed.
        self._told_bytes = max(self._told_bytes, self.tally.bytes + self._ahead.bytes + streamed_bytes)
        self._told_files = max(self._told_files, self.tally.files + self._ahead.files)
        new_bytes = self.engine.packer.new_bytes
        self.progress.update(files=self._told_files, bytes=self._told_bytes, new_bytes=new_bytes)

    def _hand_out(self, *, everything: bool) -> bool:
        handed = False
        if self._batch.files and (everything or self._batch.is_full()):
            batch, self._batch = self._batch, Batch()
            self._jobs.submit(partial(self._read_batch, batch), partial(self._batch_read, batch))
            handed = True
        if len(self.known) >= (1 if everything else KNOWN_BATCH):
            known, self.known = self.known, KnownBatch()
            self._jobs.submit(
                partial(self._past.find_missing, known, self.engine.index), partial(self._looked_up, known)
            )
            handed = True
        if self._trail.is_due or len(self._pieces) >= (1 if everything else TREE_BATCH):
            self._hand_out_pieces(is_due=self._trail.is_due)
            handed = True
        return handed

    def _hand_out_pieces(self, *, is_due: bool) -> None:
        batch, self._pieces = self._pieces, TreeBatch()
        pieces = batch.pieces
        self._trail.hold_pieces(pieces)
        if is_due:
            self._trail.take()

        def done(_: None) -> None:
            # Jobs are collected in their order: all pieces made before are in the cache now.
            self._trail.release_pieces()
            if is_due:
                self._trail.write()

        self._jobs.submit(partial(self._pack_pieces, batch), done)

    def _read_batch(self, batch: Batch) -> list[FileRead]:
        return self._intake.read_files(batch.files, [directory.fd for directory in batch.directories])

    def _batch_read(self, batch: Batch, results: list[FileRead]) -> None:
        for (node, slot), file, result in zip(batch.places, batch.files, results, strict=True):
            if result.problem:
                self.fail(join_path(node.path, file.name), result.problem)
            if result.opened is not None:
                entry = make_file_entry(file.name, result.opened, self._names, content=result.content, size=result.size)
                self._set_read(node, slot, entry)
        for directory in batch.directories:
            directory.release()
        for node in batch.nodes:
            self.settle(node)

    def _looked_up(self, known: KnownBatch, missing: set[BlobId]) -> None:
        for node, slot, found, entry in known.files:
            if missing and not missing.isdisjoint(self._past.blobs_of(entry)):
                node.entries[slot] = None
                node.waiting += 1
                self._again.append((node, slot, found))
            else:
                self.tally.unchanged += 1
                self.count(entry.size)
        for node, content in known.whole:
            if missing and not missing.isdisjoint(split_ids(content)):
                node.before = None
        for node in known.nodes:
            self.settle(node)

    def read_again(self) -> None:
        """Read files after all whose blobs the index lost (a resync after a loss, a pack on its way out)."""
        while self._again:
            node, slot, found = self._again.popleft()
            try:
                directory = open_directory(node.path)
            except OSError as exc:
                self.fail(join_path(node.path, found.name), describe_error(exc))
            else:
                self.take_file(node, slot, directory=directory, found=found)
                directory.release()
            self.settle(node)

    def _pack_pieces(self, batch: TreeBatch) -> None:
        self._intake.pack_pieces(batch.pieces)
        if len(batch) and not self.engine.dry_run:
            self._cache.put_many(batch.pieces, batch.looks)

    def _add_pieces(self, pieces: list[bytes]) -> bytes:
        """Queue pieces for packing; return their ids, joined."""
        named = [(self.engine.keys.blob_id(BlobKind.TREE, piece), piece) for piece in pieces]
        self._pieces.pieces += named
        return b"".join([blob for blob, _ in named])

    def finish(self) -> None:
        """Hand out and collect until nothing is under way."""
        while self._hand_out(everything=True) or len(self._jobs) or self._again:
            self._jobs.collect(most=0)
            self.read_again()
            self.report()

    # --- going up
    def settle(self, node: Node) -> None:
        """Count one thing less that a directory waits for; complete it, and those above, when nothing is left."""
        node.waiting -= 1
        while node.waiting == 0:
            self._complete(node)
            if node.parent is None:
                return
            node = node.parent
            node.waiting -= 1

    def _complete(self, node: Node) -> None:
        if node.look is not None:
            node.content = self._renew(node) if node.changed else node.earlier
        else:
            self._close(node)
        parent = node.parent
        if parent is None:
            return
        self.tally.dirs += not node.is_way  # what is only on the way to a path is not what was asked for
        is_same = node.content == node.earlier
        if parent.look is not None:
            # Nothing else of it can have changed: the parent's look says so.
            if not is_same:
                parent.changed[node.found.name] = node.content
            return
        entry = make_entry(node.found, self._names, node.content, attributes=node.attributes)
        self.set_entry(parent, node.slot, entry, node.was)
        if not is_same:
            self._trail.add_directory(node, entry)

    def _close(self, node: Node) -> None:
        """Give a node its content, made of its entries."""
        entries = [entry for entry in node.entries if entry is not None]
        is_same = bool(node.earlier) and node.is_unchanged(entries)
        node.content = node.earlier if is_same else self._add_pieces(list(encode_pieces(entries)))
        node.before = None
        node.entries = []
        if not node.is_way:
            self._keep_look(node.content, entries)

    def _keep_look(self, content: bytes, entries: Sequence[TreeEntry]) -> None:
        walk = self._past.walk
        if walk is not None and len(content) == ID_BYTES and (look := take_look(content, entries, walk)) is not None:
            self._pieces.looks.append((BlobId(content), look))

    def _renew(self, node: Node) -> bytes:
        """Return the content of a node that looks as before, with what changed in the folders below it.

        Raises:
            LocalError: the cache let go of what it held a moment ago.

        """
        entries = self._past.entries(node.earlier)
        if entries is None:
            raise LocalError("the tree cache lost what this backup compares with", hint="run the same backup again")
        changed = node.changed
        renewed = [replace(e, content=changed.get(e.name, e.content)) for e in entries]
        content = self._add_pieces(list(encode_pieces(renewed)))
        self._keep_look(content, renewed)
        return content
