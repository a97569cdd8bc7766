"""A snapshot looked into bit by bit, as programs do through a mount: any folder, any bytes of any file, in any order.

Knows: trees, chunks, what to keep in memory. Must not know: hosts, mounts, who asks. No byte is told that was not
verified. Nothing is kept open: who asks names snapshot, path and place each time, and what was used lately is at hand.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import Final

from backuppeer.backup.fetching import group_by_pack, read_pack
from backuppeer.backup.recent import Recent
from backuppeer.backup.roots import split_path
from backuppeer.backup.streams import PackSource
from backuppeer.backup.trees import TreeReader, split_ids
from backuppeer.crypto.keys import RepositoryKeys
from backuppeer.errors import BackupPeerError, IntegrityFault, NotFoundError, UserError
from backuppeer.ids import BlobId, SnapshotId
from backuppeer.limits import (
    CONTROL_PIECE_BYTES,
    KNOWN_BATCH,
    MOUNT_BLOBS_BYTES,
    MOUNT_ENTRIES,
    MOUNT_MAP_CHUNKS,
    TREE_DEPTH,
)
from backuppeer.repo.index import Index
from backuppeer.repo.snapshot import Snapshot
from backuppeer.repo.tree import EntryKind, TreeEntry, decode_piece

_ID_BYTES: Final = 32
_NOWHERE: Final = "a part of it is in no known pack"
_FOLDERS: Final = 4096
"""Folders of which it is remembered where their pieces are."""
Place = tuple[SnapshotId, bytes]
"""A snapshot, and a path in it without slashes at its ends."""


@dataclass(frozen=True, slots=True)
class _Map:
    """Where the chunks of a file lie in it: joined ids, and at which offset each ends."""

    ids: bytearray
    ends: "array[int]"

    def blobs(self, offset: int, end: int) -> list[tuple[BlobId, int]]:
        """Return the chunks that hold the bytes from `offset` to `end`, each with its place in the file."""
        found: list[tuple[BlobId, int]] = []
        number = bisect_right(self.ends, offset)
        start = self.ends[number - 1] if number else 0
        while start < end and number < len(self.ends):
            found.append((BlobId(bytes(self.ids[number * _ID_BYTES : (number + 1) * _ID_BYTES])), start))
            start, number = self.ends[number], number + 1
        return found


class Viewer:
    """Looks into the snapshots of one repository; called from several threads. `trees` and `source` fetch."""

    def __init__(self, keys: RepositoryKeys, index: Index, *, trees: TreeReader, source: PackSource) -> None:
        self._keys, self._index, self._trees, self._source = keys, index, trees, source
        self._contents: Recent[Place, bytes] = Recent(_FOLDERS)
        self._pieces: Recent[BlobId, tuple[TreeEntry, ...]] = Recent(MOUNT_ENTRIES)
        self._maps: Recent[Place, _Map] = Recent(MOUNT_MAP_CHUNKS)
        self._plain: Recent[BlobId, bytes] = Recent(MOUNT_BLOBS_BYTES)

    def entries(self, name: SnapshotId, snapshot: Snapshot, path: bytes) -> Iterator[TreeEntry]:
        """Yield what a folder of a snapshot holds, in order of names.

        Raises:
            NotFoundError: there is no such folder.
            IntegrityFault: a folder on the way is missing or wrong.
            Unavailable: nobody who has it can be reached.

        """
        yield from self._trees.entries(self._content(name, snapshot, split_path(path)))

    def is_at_hand(self, name: SnapshotId, snapshot: Snapshot, path: bytes) -> bool:
        """Say whether a folder can be told without asking a host, as it is in the cache on disk."""
        parts = split_path(path)
        above = self._contents.get((name, b"/".join(parts[:-1]))) if len(parts) > 1 else snapshot.tree
        if above is None or not parts or any(self._trees.cache.get(blob) is None for blob in split_ids(above)):
            return False
        entry = self._find(above, parts[-1])
        if entry is None or entry.kind != EntryKind.DIRECTORY:
            return False
        return all(self._trees.cache.get(blob) is not None for blob in split_ids(entry.content))

    def read(self, name: SnapshotId, snapshot: Snapshot, path: bytes, *, offset: int, length: int) -> bytes:
        """Return `length` bytes of a file from `offset` on, fewer at its end.

        Raises:
            NotFoundError: there is no such file.
            IntegrityFault: a part of these bytes, or of what leads to them, is missing or wrong.
            Unavailable: nobody who has it can be reached.

        """
        parts = split_path(path)
        layout = self._map(name, snapshot, parts)
        end = min(offset + length, layout.ends[-1] if layout.ends else 0)
        wanted = layout.blobs(offset, end)
        plain = self._blobs([blob for blob, _ in wanted])
        return b"".join(memoryview(plain[blob])[max(0, offset - start) : max(0, end - start)] for blob, start in wanted)

    def read_files(self, name: SnapshotId, snapshot: Snapshot, paths: Sequence[bytes]) -> bytes:
        """Return the bytes of several files, one behind the other, 1 MiB together: their packs are asked once.

        Raises:
            UserError: they are more.
            BackupPeerError: as `read`, for any of them.

        """
        layouts = [self._map(name, snapshot, split_path(path)) for path in paths]
        sizes = [layout.ends[-1] if layout.ends else 0 for layout in layouts]
        if sum(sizes) > CONTROL_PIECE_BYTES:
            raise UserError(f"{sum(sizes)} bytes of files at once", hint="ask for fewer: 1 MiB at a time")
        wanted = [blob for layout, size in zip(layouts, sizes, strict=True) for blob, _ in layout.blobs(0, size)]
        plain = self._blobs(wanted)
        return b"".join(plain[blob] for blob in wanted)

    def _content(self, name: SnapshotId, snapshot: Snapshot, parts: Sequence[bytes]) -> bytes:
        """Return the joined piece ids of a folder."""
        if not parts:
            return snapshot.tree
        if len(parts) > TREE_DEPTH:
            raise _no_such(parts)
        known = 0
        content = snapshot.tree
        for count in range(len(parts), 0, -1):
            found = self._contents.get((name, b"/".join(parts[:count])))
            if found is not None:
                known, content = count, found
                break
        for count in range(known + 1, len(parts) + 1):
            entry = self._find(content, parts[count - 1])
            if entry is None or entry.kind != EntryKind.DIRECTORY:
                raise _no_such(parts)
            content = entry.content
            self._contents.put((name, b"/".join(parts[:count])), content, 1)
        return content

    def _find(self, content: bytes, name: bytes) -> TreeEntry | None:
        """Return the entry of that name: pieces are in order, so few of a large folder's are looked at."""
        pieces = split_ids(content)
        low, high = 0, len(pieces) - 1
        while low <= high:
            middle = (low + high) // 2
            entries = self._piece(pieces[middle])
            if entries and name < entries[0].name:
                high = middle - 1
            elif entries and name > entries[-1].name:
                low = middle + 1
            else:
                at = bisect_left(entries, name, key=attrgetter("name"))
                return entries[at] if at < len(entries) and entries[at].name == name else None
        return None

    def _piece(self, blob: BlobId) -> tuple[TreeEntry, ...]:
        entries = self._pieces.get(blob)
        if entries is None:
            entries = decode_piece(self._trees.read_blob(blob))
            self._pieces.put(blob, entries, len(entries) + 1)
        return entries

    def _map(self, name: SnapshotId, snapshot: Snapshot, parts: Sequence[bytes]) -> _Map:
        place = (name, b"/".join(parts))
        layout = self._maps.get(place)
        if layout is None:
            entry = self._find(self._content(name, snapshot, parts[:-1]), parts[-1]) if parts else None
            if entry is None or entry.kind != EntryKind.FILE:
                raise _no_such(parts)
            layout = self._lay_out(entry)
            self._maps.put(place, layout, len(layout.ends) + 1)
        return layout

    def _lay_out(self, entry: TreeEntry) -> _Map:
        layout = _Map(bytearray(), array("Q"))
        end = 0
        chunks = self._trees.chunks_of(entry)
        while batch := list(islice(chunks, KNOWN_BATCH)):
            places = self._index.find_many(set(batch))
            for blob in batch:
                if blob not in places:
                    raise IntegrityFault(_NOWHERE)
                end += places[blob].plain_bytes
                layout.ends.append(end)
            layout.ids.extend(b"".join(batch))
        if end != entry.size:
            raise IntegrityFault(f"has {end} bytes, the snapshot says {entry.size}")
        return layout

    def _blobs(self, wanted: Sequence[BlobId]) -> dict[BlobId, bytes]:
        plain: dict[BlobId, bytes] = {}
        for blob in wanted:
            kept = self._plain.get(blob)
            if kept is not None:
                plain[blob] = kept
        missing = [blob for blob in dict.fromkeys(wanted) if blob not in plain]
        places = self._index.find_many(missing)
        if len(places) < len(missing):
            raise IntegrityFault(_NOWHERE)
        for pack, inside in group_by_pack(places[blob] for blob in missing):
            find = self._index.find_spares
            for place, outcome in read_pack(self._keys, self._source, pack=pack, places=inside, find_spares=find):
                if isinstance(outcome, BackupPeerError):
                    raise outcome
                plain[place.blob] = outcome
                self._plain.put(place.blob, outcome, len(outcome))
        return plain


def _no_such(parts: Sequence[bytes]) -> NotFoundError:
    path = (b"/" + b"/".join(parts)).decode("utf-8", "surrogateescape")
    return NotFoundError(f"the snapshot has no {path!r}", hint="see what it has: `backup-peer ls SNAPSHOT`")
