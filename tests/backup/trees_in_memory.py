"""Trees without packs: directories encoded as the format says, kept in a dictionary that notes what is read."""

import hashlib

from backuppeer.backup.trees import TreeReader
from backuppeer.repo.tree import EntryKind, TreeEntry, encode_pieces


def blob_of(text):
    """A blob id made of a word."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).digest()


def entry(kind, name, **fields):
    known = {"mode": 0o644, "uid": 0, "gid": 0, "mtime_ns": 0, "ctime_ns": 0, "inode": 1, "size": 0}
    return TreeEntry(kind, name, **{**known, **fields})


def file(name, *chunks, size=None, **fields):
    content = b"".join(map(blob_of, chunks))
    return entry(EntryKind.FILE, name, content=content, size=10 * len(chunks) if size is None else size, **fields)


def link(name, target, **fields):
    return entry(EntryKind.SYMLINK, name, target=target, **fields)


class Shelf:
    """Stands where the tree cache stands; `read` are the blobs asked for since it was last cleared."""

    def __init__(self):
        self.blobs, self.read = {}, []
        self.trees = TreeReader(None, None, cache=self)

    def get(self, blob):
        self.read.append(blob)
        return self.blobs.get(blob)

    def put(self, data):
        blob = blob_of(data)
        self.blobs[blob] = data
        return blob

    def tree(self, *entries):
        """Keep a directory; return its content."""
        pieces = encode_pieces(sorted(entries, key=lambda one: one.name))
        return b"".join(self.put(piece) for piece in pieces)

    def folder(self, name, *entries, **fields):
        return entry(EntryKind.DIRECTORY, name, content=self.tree(*entries), **{"mode": 0o755, **fields})
