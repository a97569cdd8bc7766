"""The trees of earlier snapshots: read from the local cache, or from packs when a source is at hand.

Knows: tree pieces, cache, index, source. Must not know: the file system, what the entries are for.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import msgspec

from backuppeer.backup.escaping import read_escaped
from backuppeer.backup.fetching import Outcome, group_by_pack, read_pack
from backuppeer.backup.streams import PackSource
from backuppeer.crypto.keys import RepositoryKeys
from backuppeer.errors import BackupPeerError, IntegrityFault, NotFoundError, Unavailable
from backuppeer.ids import BlobId
from backuppeer.limits import TREE_DEPTH, TREE_PREFETCH_BLOBS
from backuppeer.repo.cache import TreeCache
from backuppeer.repo.index import Index
from backuppeer.repo.tree import EntryKind, TreeEntry, decode_content, decode_piece

_ID_BYTES = 32


def split_ids(joined: bytes) -> list[BlobId]:
    """Return the 32-byte blob ids that `joined` holds."""
    return [BlobId(joined[i : i + _ID_BYTES]) for i in range(0, len(joined), _ID_BYTES)]


class TreeReader:
    """Reads directories of snapshots. Without a source, what the cache lost is treated as missing."""

    def __init__(
        self, keys: RepositoryKeys, index: Index, *, cache: TreeCache, source: PackSource | None = None
    ) -> None:
        self._keys = keys
        self._index = index
        self.cache = self._cache = cache
        self._source = source

    def read_blob(self, blob: BlobId) -> bytes:
        """Return the checked plaintext of a tree, snapshot or index blob.

        Raises:
            IntegrityFault: it is in no pack we know, or no copy of it verifies.
            Unavailable: nobody who has it can be reached.

        """
        plain = self._cache.get(blob)
        if plain is not None:
            return plain
        outcome = self._fetch([blob]).get(blob)
        if outcome is None:
            raise IntegrityFault(f"blob {blob.hex()[:16]}… is missing: no known pack holds it")
        if isinstance(outcome, BackupPeerError):
            raise outcome
        return outcome

    def prefetch(self, contents: Iterable[bytes]) -> None:
        """Bring the pieces of several directories into the cache in few requests; what fails shows when it is read."""
        if self._source is None:
            return
        ids = (blob for content in contents for blob in split_ids(content))
        missing = [blob for blob in islice(ids, TREE_PREFETCH_BLOBS) if self._cache.get(blob) is None]
        if len(missing) > 1:
            self._fetch(missing)

    def _fetch(self, blobs: Sequence[BlobId]) -> dict[BlobId, Outcome]:
        if self._source is None:
            return {}
        got: dict[BlobId, Outcome] = {}
        for pack, places in group_by_pack(self._index.find_many(blobs).values()):
            outcomes = {
                place.blob: outcome
                for place, outcome in read_pack(
                    self._keys, self._source, pack=pack, places=places, find_spares=self._index.find_spares
                )
            }
            self._cache.put_many([(blob, plain) for blob, plain in outcomes.items() if isinstance(plain, bytes)])
            got |= outcomes
        return got

    def entries(self, content: bytes, *, ahead: Callable[[TreeEntry], bool] = lambda _: True) -> Iterator[TreeEntry]:
        """Yield the entries of a directory (`content`: its joined piece ids) in order of their names.

        `ahead`: which of the directories in it will be read, too, and may be fetched in few requests.

        Raises:
            IntegrityFault: a piece is missing, wrong, or out of order with the one before.
            Unavailable: nobody who has it can be reached.

        """
        last = b""
        for blob in split_ids(content):
            entries = decode_piece(self.read_blob(blob))
            self.prefetch(e.content for e in entries if e.kind == EntryKind.DIRECTORY and ahead(e))
            if entries:
                # Pieces are checked inside by their decoder; between them only here can a name come twice.
                if entries[0].name <= last:
                    raise IntegrityFault(f"the pieces of a directory are out of order at {entries[0].name[:80]!r}")
                last = entries[-1].name
            yield from entries

    def chunks_of(self, entry: TreeEntry) -> Iterator[BlobId]:
        """Yield the chunk ids of a file, through its content lists when it is long.

        Raises:
            IntegrityFault: a list is missing or wrong.
            Unavailable: nobody who has it can be reached.

        """
        if entry.kind != EntryKind.FILE or not entry.depth:
            yield from split_ids(entry.content)
            return
        for blob in split_ids(entry.content):
            yield from split_ids(decode_content(self.read_blob(blob)))


class TreeWalk:
    """A walk through a directory of a snapshot, in order; iterate it for `Visit`s. Paths have no leading slash.

    A directory that can't be read is visited, reported through `on_error` and left; the walk goes on.
    """

    def __init__(
        self, trees: TreeReader, content: bytes, *, path: bytes, on_error: Callable[[bytes, BackupPeerError], None]
    ) -> None:
        self._trees = trees
        self._on_error = on_error
        self._stack: list[tuple[Visit | None, bytes, Iterator[TreeEntry]]] = []
        self._push(None, path, content)
        self._skipped = False

    def skip(self) -> None:
        """Don't enter the directory visited last; it is not left either."""
        self._skipped = True

    def __iter__(self) -> Iterator["Visit"]:
        """Yield entries, directories twice: on the way in and, `leaving`, on the way out."""
        while self._stack:
            visit, path, entries = self._stack[-1]
            prefix = path + b"/" if path else path
            for entry in entries:
                found = Visit(prefix + entry.name, entry)
                self._skipped = False
                yield found
                if entry.kind == EntryKind.DIRECTORY and not self._skipped:
                    self._push(found, found.path, entry.content)
                    break
            else:
                self._stack.pop()
                if visit is not None:
                    yield Visit(visit.path, visit.entry, leaving=True)

    def _push(self, visit: "Visit | None", path: bytes, content: bytes) -> None:
        entries = self._read(path, content)
        if len(self._stack) >= TREE_DEPTH:
            self._on_error(path, IntegrityFault(f"lies more than {TREE_DEPTH} directories deep"))
            entries = iter(())
        self._stack.append((visit, path, entries))

    def _read(self, path: bytes, content: bytes) -> Iterator[TreeEntry]:
        try:
            yield from self._trees.entries(content)
        except (IntegrityFault, Unavailable) as exc:
            self._on_error(path, exc)


class Visit(msgspec.Struct, frozen=True, gc=False):
    """An entry met on a walk; `path` from the snapshot's root, without leading slash."""

    path: bytes
    entry: TreeEntry
    leaving: bool = False


def find_entry(trees: TreeReader, tree: bytes, parts: Sequence[bytes], *, is_typed: bool = False) -> list[TreeEntry]:
    """Return the entries of all components on the way down to a place in a snapshot.

    `is_typed`: by a person; a component that is no name there may be one as it is shown (escaping), and the names are
    those of the entries.

    Raises:
        NotFoundError: the snapshot has no such path.
        IntegrityFault: a directory on the way is missing or wrong.

    """
    way: list[TreeEntry] = []
    content = tree
    for part in parts:
        entry = _find_name(trees, content, part)
        if entry is None and is_typed and (name := read_escaped(part)):
            entry = _find_name(trees, content, name)
        if entry is None or (len(way) + 1 < len(parts) and entry.kind != EntryKind.DIRECTORY):
            raise NotFoundError(
                f"the snapshot has no {os.fsdecode(b'/' + b'/'.join(parts))!r}",
                hint="see what it has: `backup-peer ls SNAPSHOT`",
            )
        way.append(entry)
        content = entry.content
    return way


def _find_name(trees: TreeReader, content: bytes, name: bytes) -> TreeEntry | None:
    return next((entry for entry in trees.entries(content) if entry.name == name), None)
