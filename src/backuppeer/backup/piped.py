"""A stream as a backup: bytes of unknown number in, the tree of a snapshot that holds them as one file out.

Knows: segments, the one entry and the folders above it. Must not know: where the bytes come from, snapshots.

Chunks are those of a file of these bytes, so a dump that changed in a few places costs those places, and memory is the
segments' (`streaming`). The file and its folders are private to whoever backs up, like a file the agent itself makes.
"""

import os
import sys
from functools import partial
from typing import Final

from backuppeer.backup.intake import Intake
from backuppeer.backup.jobs import Jobs
from backuppeer.backup.roots import normalise_path, split_path
from backuppeer.backup.streaming import Fill, Streamer
from backuppeer.backup.streams import Progress
from backuppeer.backup.tally import Tally
from backuppeer.errors import UserError
from backuppeer.files.metadata import OwnerNames
from backuppeer.limits import ACCOUNT_NAME_CHARS, STREAM_NAME_BYTES, TREE_DEPTH
from backuppeer.repo.blob import BlobKind
from backuppeer.repo.cache import TreeCache
from backuppeer.repo.tree import EntryKind, TreeEntry, cut_content, encode_pieces

_FILE_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700
_HINT: Final = "--stdin-name NAME, e.g. database.sql"


def read_stream_name(name: str) -> bytes:
    """Return the absolute path in the snapshot of a stream called `name`, which may have folders before it.

    Raises:
        UserError: it is no name of a file.

    """
    path = os.fsencode(name)
    parts = split_path(path)
    if not parts or b"\0" in path or path.endswith(b"/") or {b".", b".."} & set(parts):
        raise UserError(f"not the name of a file: {name[:80]!r}", hint=_HINT)
    if max(map(len, parts)) > STREAM_NAME_BYTES or len(parts) > TREE_DEPTH:
        raise UserError(f"the name of a file has at most {STREAM_NAME_BYTES} bytes", hint=_HINT)
    return normalise_path(b"/" + b"/".join(parts))


class StreamPacker:
    """Packs one stream; used once, by one thread. `tally`: what came of it."""

    def __init__(self, intake: Intake, jobs: Jobs, *, cache: TreeCache, progress: Progress) -> None:
        self._intake, self._engine, self._jobs = intake, intake.engine, jobs
        self._cache, self._progress = cache, progress
        self._content: tuple[bytes, int] = (b"", 0)
        self.tally = Tally()

    def pack(self, path: bytes, fill: Fill, *, now_ns: int) -> bytes:
        """Read to the end and return the joined piece ids of the root; `now_ns`: the time that the entries get.

        Raises:
            InterruptedByUserError: the job was cancelled.
            BackupPeerError: the packs can't be stored any more, or whatever `fill` raises.

        """
        streamer = Streamer(self._intake, self._jobs)
        streamer.stream(fill, sys.maxsize, self._take, reached=self._report)
        self._jobs.collect(most=0)
        content, size = self._content
        lists = cut_content(content)
        if lists:
            content = self._add(lists)
        self.tally.files, self.tally.bytes = 1, size
        *folders, name = split_path(path)
        entry = partial(_make_entry, OwnerNames(), now_ns)
        made = entry(EntryKind.FILE, name, content=content, size=size, depth=1 if lists else 0)
        for folder in reversed(folders):
            made = entry(EntryKind.DIRECTORY, folder, content=self._add(list(encode_pieces([made]))))
        return self._add(list(encode_pieces([made])))

    def _take(self, content: bytes, size: int) -> None:
        self._content = content, size

    def _report(self, size: int) -> None:
        self._progress.update(files=0, bytes=size, new_bytes=self._engine.packer.new_bytes)

    def _add(self, pieces: list[bytes]) -> bytes:
        """Pack tree pieces; return their ids, joined."""
        named = [(self._engine.keys.blob_id(BlobKind.TREE, piece), piece) for piece in pieces]
        self._intake.pack_pieces(named)
        if not self._engine.dry_run:
            self._cache.put_many(named)
        return b"".join([blob for blob, _ in named])


def _make_entry(
    names: OwnerNames, now_ns: int, kind: EntryKind, name: bytes, *, content: bytes, size: int = 0, depth: int = 0
) -> TreeEntry:
    uid, gid = os.geteuid(), os.getegid()
    mode = _FILE_MODE if kind is EntryKind.FILE else _FOLDER_MODE
    user, group = names.user(uid)[:ACCOUNT_NAME_CHARS], names.group(gid)[:ACCOUNT_NAME_CHARS]
    return TreeEntry(kind, name, mode, uid, gid, now_ns, now_ns, 0, size, content, b"", user, group, depth)
