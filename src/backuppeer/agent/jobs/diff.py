"""One `diff`: two places found, compared, changes handed on and counted (DESIGN 10).

Knows: rows, which two places. Must not know: how trees are compared. Any folder that can't be read ends it: a
comparison with holes says nothing.
"""

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import asdict, dataclass

from backuppeer.agent.brake import Halt
from backuppeer.agent.jobs.lookup import Lookup
from backuppeer.agent.jobs.pulling import batch_rows, make_rows_event, pull
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.reporter import Emit, Reporter, beating
from backuppeer.backup.browse import LATEST, SnapshotFilter
from backuppeer.backup.difference import Change, Differ, Mark, Summary
from backuppeer.backup.kinds import name_kind
from backuppeer.backup.roots import normalise_path, split_path
from backuppeer.backup.selection import plan_way
from backuppeer.backup.trees import TreeReader, find_entry
from backuppeer.control.inspection import DiffRequest, DiffResult, DiffRow
from backuppeer.errors import InterruptedByUserError
from backuppeer.ids import BlobId
from backuppeer.repo.snapshot import Snapshot
from backuppeer.repo.tree import EntryKind, TreeEntry


@dataclass(frozen=True, slots=True)
class _Place:
    """A place in a snapshot: path without leading slash, entry (None for the root), tree if it is a folder."""

    path: bytes
    entry: TreeEntry | None
    tree: bytes | None


class DiffJob:
    """One run of `diff`."""

    def __init__(self, vault: Vault, request: DiffRequest, emit: Emit, reporter: Reporter) -> None:
        self._vault, self._request, self._emit = vault, request, emit
        self._reporter = reporter
        reporter.traffic_bytes = vault.traffic_bytes
        self._stop = Halt()
        self._summary = Summary()

    async def run(self) -> DiffResult:
        """Compare, and hand on what differs as it is found.

        Raises:
            NotFoundError: no such snapshot, or nothing at a path in it.
            IntegrityFault: a folder is wrong or missing.
            PeerUnreachable: a folder lies only with hosts that can't be reached.

        """
        lookup = Lookup(self._vault, self._reporter)
        await lookup.mend(copies=False)
        of_set = SnapshotFilter(set_name=self._request.set)
        named = (self._request.old, self._request.new)
        has_latest = any(name.lower() == LATEST for name in named)
        (old_id, old), (new_id, new) = (
            # An id beside `latest` is of the set or not; of two ids a set says nothing, and that is told.
            lookup.choose(name, of_set if name.lower() == LATEST or not has_latest else None)
            for name in named
        )
        repository = self._vault.repository
        source = self._vault.source(self._reporter)
        trees = TreeReader(repository.keys, repository.index, cache=repository.cache, source=source)
        self._reporter.begin("comparing", unit="folder")
        batches = pull(self._compare(trees, old, new), self._stop)
        async with beating(self._reporter), aclosing(batches):
            async for batch in batches:
                await self._emit(make_rows_event(batch))
        return DiffResult(old=old_id.hex(), new=new_id.hex(), **asdict(self._summary))

    def _compare(self, trees: TreeReader, old: Snapshot, new: Snapshot) -> Generator[list[DiffRow], None, None]:
        before, after = _find(trees, old, self._request.old_path), _find(trees, new, self._request.new_path)
        changes = self._changes(trees, before, after)
        if before.path == after.path:
            changes = _leave_out_way(changes, old, new)
        rows = self._rows(trees, changes, before.path == after.path)
        yield from batch_rows(rows, lambda row: len(row.path))

    def _changes(self, trees: TreeReader, before: _Place, after: _Place) -> Iterator[Change]:
        differ = Differ(trees, metadata=True, check=self._check)
        if before.tree is not None and after.tree is not None:
            path = before.path if before.path == after.path else b""
            return differ.compare(before.tree, after.tree, path=path)
        return differ.compare_entries(_entry_of(before), _entry_of(after), path=after.path)

    def _rows(self, trees: TreeReader, changes: Iterable[Change], is_same_place: bool) -> Iterator[DiffRow]:  # noqa: FBT001 - private
        for change in changes:
            self._summary.add(change, trees, self._measure)
            if change.mark is Mark.METADATA and not self._request.metadata:
                continue  # only counted: who looks for a changed mode must not be told that nothing differs
            yield make_row(change, slash="/" if is_same_place else "")

    def _measure(self, blobs: Iterable[BlobId]) -> int:
        named = list(blobs)
        places = self._vault.repository.index.find_many(named)
        return sum(places[blob].plain_bytes for blob in named if blob in places)

    def _check(self, directories: int) -> None:
        if self._stop.is_set():
            raise InterruptedByUserError("the comparison was cancelled")
        self._reporter.update(files=directories)


def _leave_out_way(changes: Iterable[Change], old: Snapshot, new: Snapshot) -> Iterator[Change]:
    """Yield changes but those of folders that are only on the way: /tmp has another time each day."""
    way = set(plan_way(old.paths, ())) & set(plan_way(new.paths, ()))
    return (change for change in changes if change.mark is not Mark.METADATA or change.path not in way)


def _find(trees: TreeReader, snapshot: Snapshot, path: str) -> _Place:
    way = find_entry(trees, snapshot.tree, split_path(normalise_path(os.fsencode(path or "/"))), is_typed=True)
    if not way:
        return _Place(b"", None, snapshot.tree)
    is_directory = way[-1].kind == EntryKind.DIRECTORY
    return _Place(b"/".join(entry.name for entry in way), way[-1], way[-1].content if is_directory else None)


def _entry_of(place: _Place) -> TreeEntry:
    """Return the entry of a place; the root of a snapshot has none of its own, so one is made up."""
    if place.entry is not None:
        return place.entry
    return TreeEntry(
        EntryKind.DIRECTORY,
        b"/",
        mode=0,
        uid=0,
        gid=0,
        mtime_ns=0,
        ctime_ns=0,
        inode=0,
        size=0,
        content=place.tree or b"",
    )


def make_row(change: Change, *, slash: str) -> DiffRow:
    """Return a change as a row; `slash`: what its path begins with."""
    old, new = change.old, change.new
    shown = new if new is not None else old
    return DiffRow(
        change=change.mark.value,
        path=slash + os.fsdecode(change.path),
        kind="" if shown is None else name_kind(shown.kind),
        size=0 if shown is None else shown.size,
        old_kind="" if old is None else name_kind(old.kind),
        old_size=0 if old is None else old.size,
    )
