"""Looking into snapshots: which one is meant, and what it holds.

Knows: `latest`, hex prefixes, listing. Must not know: how anything is shown.
"""

import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from backuppeer.backup.roots import normalise_path, split_path
from backuppeer.backup.trees import TreeReader, TreeWalk, Visit, find_entry
from backuppeer.errors import BackupPeerError, NotFoundError, UserError
from backuppeer.ids import SnapshotId
from backuppeer.limits import SNAPSHOT_PREFIX_CHARS
from backuppeer.repo.index import Index
from backuppeer.repo.snapshot import REPLACED, Snapshot, decode_known, find_newer, refuse_newer
from backuppeer.repo.tree import EntryKind

LATEST: Final = "latest"
_HEX: Final = frozenset("0123456789abcdef")
_ID_CHARS: Final = 64
_LISTED: Final = "`backup-peer snapshots` lists them"
_DOUBTFUL: Final = (
    f"those tagged {REPLACED} are perhaps a thief's, and none of them is `latest`: name one by its id; {_LISTED}"
)
Chosen = tuple[SnapshotId, Snapshot]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFilter:
    """Which snapshots are meant; empty fields match all, of several tags or hosts any one does.

    `path`: an absolute path the backup was of.
    """

    set_name: str = ""
    hosts: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    path: bytes = b""

    def matches(self, snapshot: Snapshot) -> bool:
        """Say whether a snapshot is among those meant."""
        return (
            (not self.set_name or snapshot.set == self.set_name)
            and (not self.hosts or snapshot.host in self.hosts)
            and (not self.tags or not set(self.tags).isdisjoint(snapshot.tags))
            and (not self.path or normalise_path(self.path) in snapshot.paths)
        )


def one_of_each(*, set_name: str, host: str, tag: str, path: str) -> SnapshotFilter:
    """Return a filter of single values, as text of the command line; empty ones match all."""
    return SnapshotFilter(
        set_name=set_name,
        hosts=(host,) if host else (),
        tags=(tag,) if tag else (),
        path=os.fsencode(path),
    )


def _hint(wanted: SnapshotFilter | None) -> str:
    if wanted is None or not wanted.path:
        return _LISTED
    place = shlex.quote(f"{LATEST}:{os.fsdecode(wanted.path)}")
    return f"a part of a backup is named by its place: `backup-peer restore {place} --target DIR`; {_LISTED}"


def list_snapshots(index: Index, wanted: SnapshotFilter | None = None) -> list[tuple[SnapshotId, Snapshot]]:
    """Return the snapshots of a repository in order of time; those of a newer format are left out.

    Raises:
        IntegrityFault: the index holds something that is no snapshot.

    """
    chosen = wanted or SnapshotFilter()
    decoded = decode_known(index.snapshots())
    return sorted((pair for pair in decoded if chosen.matches(pair[1])), key=lambda pair: pair[1].time_ns)


def refuse_unknown_set(index: Index, name: str) -> None:
    """Refuse the name of a backup set that no snapshot is of; an empty one is none.

    Raises:
        NotFoundError: so.

    """
    if name and not list_snapshots(index, SnapshotFilter(set_name=name)):
        raise NotFoundError(
            f"there is no snapshot of a set {name[:80]!r}",
            hint=f"`backup-peer backup sets` shows the sets of this machine; {_LISTED}, each with its set",
        )


def find_snapshot(index: Index, text: str, wanted: SnapshotFilter | None = None) -> tuple[SnapshotId, Snapshot]:
    """Return the snapshot that `latest`, a full hex id or a prefix (≥ 4 characters) names.

    Raises:
        NotFoundError: there is none, several fit, or the text is no id (all exit 10).
        UserError: a filter beside an id, which it could only contradict.
        NewerFormatError: it is of a newer format, or with `latest` a later one is.

    """
    is_filtered = wanted is not None and wanted != SnapshotFilter()
    if text.lower() == LATEST:
        snapshots, doubtful = _part(list_snapshots(index, wanted), wanted)
        _refuse_later(index, snapshots[-1][0] if snapshots else None)
        if not snapshots and wanted is not None:
            refuse_unknown_set(index, wanted.set_name)
        if not snapshots:
            hint = _DOUBTFUL if doubtful else _hint(wanted)
            raise NotFoundError("no snapshot fits" if is_filtered else "there is no snapshot yet", hint=hint)
        return snapshots[-1]
    if is_filtered:
        raise UserError(
            "--set, --host, --path and --tag choose among snapshots: they go with `latest`, not with an id",
            hint="leave them out, or name `latest` in place of the id",
        )
    snapshots, newer = list_snapshots(index), find_newer(index.snapshots())
    chosen = find_name([*(name for name, _ in snapshots), *newer], text)
    if chosen in newer:
        raise refuse_newer(chosen, newer[chosen])
    return next(pair for pair in snapshots if pair[0] == chosen)


def _part(snapshots: Sequence[Chosen], wanted: SnapshotFilter | None) -> tuple[list[Chosen], list[Chosen]]:
    """Return those that may be the latest, and those that a thief may have made and nobody asks for by their tag."""
    is_wanted = wanted is not None and REPLACED in wanted.tags
    doubtful = [pair for pair in snapshots if REPLACED in pair[1].tags and not is_wanted]
    return [pair for pair in snapshots if pair not in doubtful], doubtful


def _refuse_later(index: Index, chosen: SnapshotId | None) -> None:
    """Refuse to take an older snapshot for the latest while a later one can't be read by this program."""
    newer = find_newer(index.snapshots())
    names = list(index.snapshot_names()) if newer else []
    later = names[names.index(chosen) + 1 :] if chosen in names else names
    for name in later:
        if name in newer:
            raise refuse_newer(name, newer[name])


def find_name(names: Iterable[SnapshotId], text: str) -> SnapshotId:
    """Return the one of `names` that a full hex id or a prefix (≥ 4 characters) means.

    Raises:
        NotFoundError: none, several, or the text is no id.

    """
    prefix = text.lower()
    if not SNAPSHOT_PREFIX_CHARS <= len(prefix) <= _ID_CHARS or not _HEX.issuperset(prefix):
        raise NotFoundError(
            f"not a snapshot id: {text[:80]!r}",
            hint=f"use `latest`, or at least {SNAPSHOT_PREFIX_CHARS} characters of an id; {_LISTED}",
        )
    found = [name for name in names if name.hex().startswith(prefix)]
    if not found:
        raise NotFoundError(f"there is no snapshot {prefix}", hint=_LISTED)
    if len(found) > 1:
        raise NotFoundError(f"{len(found)} snapshots start with {prefix}", hint="give more characters of the id")
    return found[0]


def list_entries(
    trees: TreeReader, snapshot: Snapshot, path: bytes = b"/", *, recursive: bool = False
) -> Iterator[Visit]:
    """Yield the entry at `path`, or what its directory holds (with `recursive` also below), in order of names.

    Paths of the visits start at the snapshot's root, without a leading slash; each entry comes once.

    Raises:
        NotFoundError: the snapshot has no such path.
        IntegrityFault: a directory is missing or wrong.
        Unavailable: nobody who has it can be reached.

    """
    way = find_entry(trees, snapshot.tree, split_path(normalise_path(path)), is_typed=True)
    parts = [entry.name for entry in way]
    if way and way[-1].kind != EntryKind.DIRECTORY:
        yield Visit(b"/".join(parts), way[-1])
        return
    walk = TreeWalk(trees, way[-1].content if way else snapshot.tree, path=b"/".join(parts), on_error=_fail)
    for visit in walk:
        if visit.leaving:
            continue
        yield visit
        if visit.entry.kind == EntryKind.DIRECTORY and not recursive:
            walk.skip()


def list_roots(trees: TreeReader, snapshot: Snapshot, *, recursive: bool = False) -> Iterator[Visit]:
    """Yield what a snapshot is of, with `recursive` also all that lies below; else as `list_entries`.

    Paths that could not be read when it was made are left out.
    """
    roots = [path.rstrip(b"/") + b"/" for path in sorted(snapshot.paths)]
    for path in roots:
        if any(path != other and path.startswith(other) for other in roots):
            continue  # it lies in another one
        try:
            way = find_entry(trees, snapshot.tree, split_path(path))
        except NotFoundError:
            continue
        if way:
            yield Visit(path.strip(b"/"), way[-1])
        if not way or (recursive and way[-1].kind == EntryKind.DIRECTORY):
            yield from list_entries(trees, snapshot, path, recursive=recursive)


def _fail(_path: bytes, error: BackupPeerError) -> None:
    raise error
