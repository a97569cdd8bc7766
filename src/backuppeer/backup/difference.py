"""`diff`: what lies between two trees, without reading what is the same in both.

Knows: entries, content ids. Must not know: which snapshots they are of, how changes are shown.

Two directories with the same content ids are the same, whatever is below; of two large ones only the pieces that are
not in both are read. The changes are complete: taking what they remove from the old tree and putting in what they add
or change gives the new one (but for metadata, when that is not wanted).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from backuppeer.backup.trees import TreeReader, split_ids
from backuppeer.errors import IntegrityFault
from backuppeer.ids import BlobId
from backuppeer.limits import TREE_DEPTH
from backuppeer.repo.extension import DEVICE, LINK
from backuppeer.repo.tree import EntryKind, TreeEntry, decode_content

Measure = Callable[[Iterable[BlobId]], int]
"""Returns the plain bytes of blobs, each as often as it is named."""
Pair = tuple[bytes, TreeEntry | None, TreeEntry | None]
"""A path, and what was and what is there."""

_CONTENT: Final = ("content", "depth", "target", "size")
_IDLE: Final = frozenset({"kind", "name", "ctime_ns", "inode", "ext", *_CONTENT})
"""Not metadata: what decides about the content, and what only serves to notice changes; `ext` has something of each."""
_METADATA: Final = tuple(name for name in TreeEntry.__struct_fields__ if name not in _IDLE)
"""What this and later versions of the format have beside: an addition counts as metadata."""


class Mark(StrEnum):
    """What happened to a path; the letters are restic's."""

    ADDED = "+"
    REMOVED = "-"
    MODIFIED = "M"
    METADATA = "U"
    TYPE = "T"


class Change(msgspec.Struct, frozen=True, gc=False):
    """One difference; `path` from what was compared on, without leading slash."""

    path: bytes
    mark: Mark
    old: TreeEntry | None
    new: TreeEntry | None


class Differ:
    """Compares trees; with `metadata` also tells of entries with the same content and other metadata."""

    def __init__(self, trees: TreeReader, *, metadata: bool, check: Callable[[int], None] = lambda _: None) -> None:
        """Take the trees; `check` is told at each directory how many were read, and may end the work."""
        self._trees, self._metadata, self._check = trees, metadata, check
        self.directories = 0
        """How many were read on both sides, a pair counting once."""

    def compare(self, old: bytes, new: bytes, *, path: bytes = b"") -> Iterator[Change]:
        """Yield the changes between two directories (their joined piece ids), in order of the walk.

        Raises:
            IntegrityFault: a directory is missing or wrong.
            Unavailable: nobody who has it can be reached.

        """
        yield from self._walk(self._pairs(path, old, new) if old != new else iter(()))

    def compare_entries(self, old: TreeEntry, new: TreeEntry, *, path: bytes) -> Iterator[Change]:
        """Yield the changes between two entries of any kind and all that is below them; else as `compare`."""
        yield from self._walk(iter([(path, old, new)]))

    def _walk(self, pairs: Iterator[Pair]) -> Iterator[Change]:
        stack = [pairs]
        while stack:
            pair = next(stack[-1], None)
            if pair is None:
                stack.pop()
                continue
            path, old, new = pair
            mark = self._judge(old, new)
            if mark is not None:
                yield Change(path, mark, old, new)
            before, after = _directory(old), _directory(new)
            if before != after:
                if len(stack) >= TREE_DEPTH:
                    raise IntegrityFault(f"a snapshot has more than {TREE_DEPTH} directories below each other")
                stack.append(self._pairs(path, before, after))

    def _judge(self, old: TreeEntry | None, new: TreeEntry | None) -> Mark | None:
        if old is None or new is None:
            return Mark.ADDED if old is None else Mark.REMOVED
        if old.kind != new.kind:
            return Mark.TYPE
        if old.kind != EntryKind.DIRECTORY and _content_of(old) != _content_of(new):
            return Mark.MODIFIED
        return Mark.METADATA if self._metadata and _metadata_of(old) != _metadata_of(new) else None

    def _pairs(self, path: bytes, old: bytes | None, new: bytes | None) -> Iterator[Pair]:
        """Yield what differs in a directory of which there are one or two versions."""
        self.directories += 1
        self._check(self.directories)
        prefix = path + b"/" if path else b""
        if old is None or new is None:
            for entry in self._trees.entries((new if old is None else old) or b""):
                yield (prefix + entry.name, None, entry) if old is None else (prefix + entry.name, entry, None)
            return
        before, after = split_ids(old), split_ids(new)
        same = set(before) & set(after)
        pairs = [
            (one, other)
            for one, other in _join(self._entries(before, same), self._entries(after, same))
            if one != other
        ]
        both = [entry for pair in pairs for entry in pair]
        self._trees.prefetch(entry.content for entry in both if entry and entry.kind == EntryKind.DIRECTORY)
        for one, other in pairs:
            name = one.name if one is not None else other.name if other is not None else b""
            yield prefix + name, one, other

    def _entries(self, pieces: list[BlobId], same: set[BlobId]) -> Iterator[TreeEntry]:
        """Yield the entries of the pieces that the other version does not have: what is in both is the same."""
        joined = b"".join(piece for piece in pieces if piece not in same)
        return self._trees.entries(joined, ahead=lambda _: False)


def _directory(entry: TreeEntry | None) -> bytes | None:
    return entry.content if entry is not None and entry.kind == EntryKind.DIRECTORY else None


def _content_of(entry: TreeEntry) -> list[object]:
    return [*(getattr(entry, name) for name in _CONTENT), entry.ext.get(DEVICE)]


def _metadata_of(entry: TreeEntry) -> list[object]:
    # LINK names a file system by a number that may be another after a restart.
    ext = {key: value for key, value in entry.ext.items() if key not in {DEVICE, LINK}}
    return [*(getattr(entry, name) for name in _METADATA), ext]


def _join(old: Iterator[TreeEntry], new: Iterator[TreeEntry]) -> Iterator[tuple[TreeEntry | None, TreeEntry | None]]:
    """Yield the entries of two sorted directories side by side."""
    one, other = next(old, None), next(new, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one.name < other.name):
            yield one, None
            one = next(old, None)
        elif one is None or other.name < one.name:
            yield None, other
            other = next(new, None)
        else:
            yield one, other
            one, other = next(old, None), next(new, None)


@dataclass(slots=True)
class Summary:
    """Changes counted. Others: links and whatever else is neither file nor directory.

    Bytes of a changed file are those of its chunks that are only in the one or only in the other version.
    """

    files_added: int = 0
    files_removed: int = 0
    files_changed: int = 0
    dirs_added: int = 0
    dirs_removed: int = 0
    others_added: int = 0
    others_removed: int = 0
    others_changed: int = 0
    metadata_changed: int = 0
    added_bytes: int = 0
    removed_bytes: int = 0

    def add(self, change: Change, trees: TreeReader, measure: Measure) -> None:
        """Count a change; another type counts as one thing removed and one added.

        Raises:
            BackupPeerError: the chunks of a long file can't be told.

        """
        old, new = change.old, change.new
        if change.mark is Mark.METADATA:
            self.metadata_changed += 1
        elif change.mark is Mark.MODIFIED and old is not None and new is not None:
            is_file = old.kind == EntryKind.FILE
            self.files_changed += is_file
            self.others_changed += not is_file
            added, removed = measure_change(trees, measure, old, new)
            self.added_bytes += added
            self.removed_bytes += removed
        else:
            self._add_one(new)
            self._remove_one(old)

    def _add_one(self, entry: TreeEntry | None) -> None:
        if entry is not None:
            self.files_added += entry.kind == EntryKind.FILE
            self.dirs_added += entry.kind == EntryKind.DIRECTORY
            self.others_added += entry.kind not in _COUNTED
            self.added_bytes += _size(entry)

    def _remove_one(self, entry: TreeEntry | None) -> None:
        if entry is not None:
            self.files_removed += entry.kind == EntryKind.FILE
            self.dirs_removed += entry.kind == EntryKind.DIRECTORY
            self.others_removed += entry.kind not in _COUNTED
            self.removed_bytes += _size(entry)


_COUNTED: Final = frozenset({EntryKind.FILE, EntryKind.DIRECTORY})


def _size(entry: TreeEntry) -> int:
    return entry.size if entry.kind == EntryKind.FILE else 0


def measure_change(trees: TreeReader, measure: Measure, old: TreeEntry, new: TreeEntry) -> tuple[int, int]:
    """Return the bytes that only the new and that only the old version of a file has.

    Raises:
        BackupPeerError: a content list can't be read.

    """
    lists = set(split_ids(old.content)) & set(split_ids(new.content)) if old.depth and new.depth else set()
    before, after = Counter(_chunks(trees, old, lists)), Counter(_chunks(trees, new, lists))
    if not lists and before.keys().isdisjoint(after):
        return _size(new), _size(old)
    return measure((after - before).elements()), measure((before - after).elements())


def _chunks(trees: TreeReader, entry: TreeEntry, without: set[BlobId]) -> Iterator[BlobId]:
    if not entry.depth:
        yield from split_ids(entry.content)
        return
    for blob in split_ids(entry.content):
        if blob not in without:
            yield from split_ids(decode_content(trees.read_blob(blob)))
