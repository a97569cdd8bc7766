"""Names of one file in a restore: the first is restored, the others become links to it.

Knows: which entries are one file. Must not know: how a link is made.
"""

import msgspec

from backuppeer.backup.window import Failure
from backuppeer.repo.extension import LINK, link_of
from backuppeer.repo.tree import TreeEntry


class _First(msgspec.Struct, gc=False):
    path: bytes
    content: bytes
    size: int
    left: int


class LinkGroups:
    """Files of several names met so far; one is forgotten with its last name, so rarely many are held."""

    def __init__(self) -> None:
        self._firsts: dict[tuple[int, int], _First] = {}
        self.failures: dict[bytes, Failure] = {}
        """Why a first name is not there, by its path."""

    def find_first(self, path: bytes, entry: TreeEntry) -> bytes | None:
        """Return the name under which this file was met before; None when it was not: then it is the first."""
        link = link_of(entry.ext) if LINK in entry.ext else None
        if link is None:
            return None
        key = (link.device, entry.inode)
        first = self._firsts.get(key)
        if first is None or (first.content, first.size) != (entry.content, entry.size):
            # Others under the same number: the file was replaced while it was backed up.
            self._firsts[key] = _First(path, entry.content, entry.size, link.names - 1)
            return None
        first.left -= 1
        if first.left <= 0:
            del self._firsts[key]
        return first.path
