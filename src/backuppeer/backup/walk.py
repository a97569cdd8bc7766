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
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from backuppeer.backup.ahead import Ahead, folder_of
from backuppeer.backup.assembly import Assembly
from backuppeer.backup.entries import matches
from backuppeer.backup.exclusion import IGNORE_FILE, Exclusions, Rules, make_rules
from backuppeer.backup.intake import Intake
from backuppeer.backup.jobs import Jobs
from backuppeer.backup.likeness import Look, is_alike
from backuppeer.backup.looking import look
from backuppeer.backup.mounts import Mounts
from backuppeer.backup.nodes import Node, Todo
from backuppeer.backup.past import Past
from backuppeer.backup.reading import describe_error
from backuppeer.backup.roots import Root
from backuppeer.backup.streams import Progress
from backuppeer.backup.trail import Trail
from backuppeer.files.scan import (
    Directory,
    Found,
    FoundKind,
    Row,
    examine_path,
    join_path,
    open_directory,
)
from backuppeer.limits import NOTED_SKIPS, TREE_DEPTH
from backuppeer.repo.cache import TreeCache
from backuppeer.repo.tree import TreeEntry

_IGNORE_FILE: Final = os.fsdecode(IGNORE_FILE)


class Walker:
    """One walk over wanted paths; used once, by one thread."""

    def __init__(
        self,
        intake: Intake,
        jobs: Jobs,
        *,
        past: Past,
        cache: TreeCache,
        trail: Trail,
        progress: Progress,
        ahead: Ahead | None = None,
    ) -> None:
        """`ahead`: files that were read already."""
        self._ahead = ahead or Ahead({})
        self._parts = Assembly(intake, jobs, past=past, cache=cache, trail=trail, progress=progress, ahead=self._ahead)
        self._past, self._progress = past, progress
        self._mounts = Mounts(one_file_system=intake.engine.one_file_system)
        self.tally = self._parts.tally

    def walk(self, root: Root, before: bytes, rules: Rules) -> bytes:
        """Walk and return the joined piece ids of the root directory; `before`: those of the parent snapshot, or b"".

        `rules`: what is left out, above `/`.

        Raises:
            InterruptedByUserError: the job was cancelled.
            BackupPeerError: the packs can't be stored any more.

        """
        top = Node(b"/", Todo(0, _examine_top(), None, root, before, is_sure=True), None, rules)
        try:
            self._fill(top, root)
            self._go_down(top)
        finally:
            # In whatever way it ends: until there is a snapshot, this is what the next run goes on from.
            self._parts.keep()
        return top.content

    # --- going down
    def _go_down(self, top: Node) -> None:
        stack = [top]
        while stack:
            self._parts.engine.check_cancelled()
            node = stack[-1]
            if not node.todo:
                self._parts.settle(stack.pop())
            elif child := self._enter(node, node.todo.pop()):
                stack.append(child)
            self._parts.pump()
            self._parts.read_again()
        self._parts.finish()

    def read_files(self, files: Iterable[tuple[bytes, Found]]) -> dict[bytes, TreeEntry]:
        """Read files (absolute path, what was found) outside of a walk; return the entries of those that could be read.

        Raises:
            InterruptedByUserError: the job was cancelled.
            BackupPeerError: the packs can't be stored any more.

        """
        nodes: list[tuple[Node, list[bytes]]] = []
        rules = make_rules(Exclusions())
        for folder, inside in groupby(files, lambda file: folder_of(file[0])):
            self._parts.engine.check_cancelled()
            wanted = list(inside)
            try:
                directory = open_directory(folder)
            except OSError:
                continue  # the walk will tell
            # Never complete: it is no part of a tree, only the place where entries are put.
            node = Node(folder, Todo(0, wanted[0][1], None, None), None, rules)
            node.entries = [None] * len(wanted)
            for slot, (_, found) in enumerate(wanted):
                self._parts.take_file(node, slot, directory=directory, found=found)
            directory.release()
            nodes.append((node, [path for path, _ in wanted]))
            self._parts.pump()
        self._parts.finish()
        return {
            path: entry
            for node, paths in nodes
            for path, entry in zip(paths, node.entries, strict=True)
            if entry is not None
        }

    def _enter(self, parent: Node, todo: Todo) -> Node | None:
        node = Node(join_path(parent.path, todo.found.name), todo, parent, parent.rules)
        parent.waiting += 1
        if node.depth > TREE_DEPTH:
            self._parts.fail(node.path, f"lies more than {TREE_DEPTH} directories deep")
        elif todo.root is None and (why := self._mounts.why_left_out(node.path, todo.found, parent.found)):
            self._progress.note(f"left out {_show(node.path)}: {why}")
        else:
            self._fill(node, todo.root)
        return node

    def _fill(self, node: Node, root: Root | None) -> None:
        """List a directory and take in its entries; what can't be read is reported and the node stays empty."""
        try:
            directory, found = look(node, root, self._parts.fail, is_alike=self._is_alike)
        except OSError as exc:
            self._parts.fail(node.path, describe_error(exc))
            return
        self.tally.roots += root is not None and root.whole
        try:
            if node.look is not None:
                self._take_alike(node, node.look, found)
            else:
                earlier = self._read_before(node)
                below = root.below if root else {}
                for item in found:
                    self._take(node, directory, found=item, before=earlier.get(item.name), root=below.get(item.name))
        finally:
            directory.release()
        node.todo.reverse()

    def _is_alike(self, node: Node, root: Root | None, rows: Sequence[Row]) -> bool:
        """Say whether nothing in a directory is to be looked at but the folders in it; then the node has its look."""
        if root is not None or self._past.walk is None or not node.is_sure or node.rules.may_leave_out:
            return False
        look = self._past.look(node.earlier)
        if look is None or self._past.has_better(node.path) or any(row[0] == _IGNORE_FILE for row in rows):
            return False
        if is_alike(look, node.earlier, rows):
            node.look = look
        return node.look is not None

    def _take_alike(self, node: Node, look: Look, folders: Sequence[Found]) -> None:
        for slot, (found, (_, content)) in enumerate(zip(folders, look.folders, strict=True)):
            node.todo.append(Todo(slot, found, None, None, content, is_sure=True))
        self._parts.count_unchanged(look.files, look.bytes)

    def _read_before(self, node: Node) -> dict[bytes, TreeEntry]:
        known: dict[bytes, TreeEntry] = {}
        content = node.earlier
        # None: the cache lost it; everything is read, nothing is stored twice.
        if content and (entries := self._past.entries(content)) is not None:
            node.before = entries
            self._parts.known.add_directory(node, content)
            known = {entry.name: entry for entry in entries}
        better, node.is_noted = self._past.better(node.path)
        return {**known, **better} if better else known

    # --- one entry
    def _take(
        self, node: Node, directory: Directory, *, found: Found, before: TreeEntry | None, root: Root | None
    ) -> None:
        slot = len(node.entries)
        node.entries.append(None)
        if found.kind is FoundKind.FILE:
            if before is not None and matches(found, before):
                node.entries[slot] = before
                self._parts.known.add(node, slot, found=found, entry=before)
            elif self._ahead and (entry := self._ahead.meet(join_path(node.path, found.name), found)) is not None:
                node.entries[slot] = entry
                self.tally.read_bytes += entry.size
                self._parts.count(entry.size)
            else:
                self._parts.take_file(node, slot, directory=directory, found=found)
        elif found.kind is FoundKind.DIRECTORY:
            content = before.content if before is not None else b""
            is_sure = node.is_sure and not self._past.has_better(node.path)
            node.todo.append(Todo(slot, found, before, root, content, is_sure))
        elif found.kind is FoundKind.OTHER:
            self._skip(join_path(node.path, found.name))
        else:
            self.tally.roots += root is not None and found.kind is FoundKind.SYMLINK
            self._parts.set_entry(node, slot, self._parts.describe(node, directory, found=found, before=before), before)

    def _skip(self, path: bytes) -> None:
        self.tally.skipped += 1
        if self.tally.skipped <= NOTED_SKIPS:
            self._progress.note(f"left out {_show(path)}: a socket, which holds no data")


def _examine_top() -> Found:
    return examine_path(b"/")


def _show(path: bytes) -> str:
    return os.fsdecode(path)
