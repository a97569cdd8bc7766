"""Restored files read again and compared with what the snapshot names: `restore --verify`.

Knows: chunks, their ids and lengths. Must not know: how files got there. What is compared is what the system gives
back, perhaps from its cache: it finds faults of memory, file system and programs, not those of a disk that lies.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from backuppeer.backup.selection import Selection, Walk
from backuppeer.backup.trees import TreeReader, Visit
from backuppeer.crypto.keys import RepositoryKeys
from backuppeer.errors import BackupPeerError
from backuppeer.files.write import RestoreTarget
from backuppeer.limits import BLOB_PLAIN_BYTES
from backuppeer.repo.blob import BlobKind
from backuppeer.repo.index import Index
from backuppeer.repo.tree import EntryKind, TreeEntry

_BATCH: Final = 64
"""Chunks looked up at once."""


class Verifier:
    """Compares a target with a snapshot; used once, by one thread."""

    def __init__(self, keys: RepositoryKeys, trees: TreeReader, index: Index, *, target: RestoreTarget) -> None:
        self._keys, self._trees, self._index, self._target = keys, trees, index, target
        self._buffer = memoryview(bytearray(BLOB_PLAIN_BYTES))

    def run(
        self, selection: Selection, *, on_file: Callable[[int], None], check: Callable[[], None]
    ) -> Iterator[tuple[Visit, str]]:
        """Yield the files that are not what the snapshot says, and why; `on_file` hears the size of each one read.

        `check` may end it by raising.
        """
        walk = Walk()
        for visit in selection.visits(walk):
            check()
            if visit.leaving or visit.entry.kind != EntryKind.FILE:
                continue
            try:
                problem = self._compare(visit, check)
            except OSError as exc:
                problem = (exc.strerror or str(exc)).lower()
            except BackupPeerError as exc:
                problem = exc.message
            if problem:
                yield visit, problem
            on_file(visit.entry.size)

    def _compare(self, visit: Visit, check: Callable[[], None]) -> str:
        with self._target.open_for_reading(visit.path) as file:
            for blob, size in self._chunks_of(visit.entry):
                check()
                view = self._buffer[:size]
                if file.readinto(view) != size or self._keys.blob_id(BlobKind.DATA, view) != blob:
                    return "is not what was restored"
            return "is longer than what was restored" if file.read(1) else ""

    def _chunks_of(self, entry: TreeEntry) -> Iterator[tuple[bytes, int]]:
        chunks = self._trees.chunks_of(entry)
        while batch := list(islice(chunks, _BATCH)):
            located = self._index.find_many(batch)
            # What no pack is known for was told by the restore; here it is a chunk of no length, which differs.
            yield from ((blob, located[blob].entry.plain_bytes if blob in located else 0) for blob in batch)
