"""Commands that look into backups: the shapes of `find`, `diff`, `dump`, `stats` (the others are in `api`).

Knows: request and result structs. Must not know: the agent, the terminal. Sizes are bytes, times RFC 3339 UTC text,
paths text with surrogate escapes. Rows come in `rows` events, as many as there are.
"""

from typing import Any

import msgspec

from backuppeer.control.api import EntryRow, Request
from backuppeer.limits import RETRY_BUDGET_S


class Rows(msgspec.Struct, kw_only=True):
    """Data of a `rows` event: some of the rows of the answer, in order; of which kind the route says."""

    rows: list[Any]


class FindRequest(Request):
    """`find`: globs on names, with a slash on whole paths, in all snapshots or those named, newest first.

    `snapshots`: ids, prefixes, `latest`; `tag`, `path` (absolute), `set` and `host` as in `snapshots`. kinds: file,
    dir, symlink, …; none = all. Times in nanoseconds since 1970: modified from `newer_ns` on, before `older_ns`.
    Sizes: of files.
    """

    patterns: list[str]
    ignore_case: bool = False
    snapshots: list[str] = msgspec.field(default_factory=list)
    tag: str = ""
    path: str = ""
    set: str = ""
    host: str = ""
    kinds: list[str] = msgspec.field(default_factory=list)
    newer_ns: int | None = None
    older_ns: int | None = None
    min_bytes: int | None = None
    max_bytes: int | None = None


class FindRow(EntryRow, kw_only=True):
    """An entry that was looked for, in one snapshot; `time` is the snapshot's, the rest as in `ls`."""

    snapshot: str
    time: str


class FindResult(msgspec.Struct, kw_only=True):
    """All was searched; `unreadable`: folders that came back wrong, each named in an `error-file` event."""

    snapshots: int
    matches: int
    unreadable: int


class DiffRequest(Request):
    """`diff SNAPSHOT[:PATH] SNAPSHOT[:PATH]`; `metadata`: tell of entries with other metadata, too."""

    old: str
    new: str
    old_path: str = ""
    new_path: str = ""
    metadata: bool = False
    set: str = ""
    """Of which set `latest` is the newest."""


class DiffRow(msgspec.Struct, kw_only=True):
    """A difference. change: + added, - removed, M content, U metadata only, T type.

    path: in the snapshots, or where two different places are compared below these. kind and size: of the new entry,
    of the old one when that is gone; old_kind and old_size: of what was there before, empty and 0 if nothing was.
    """

    change: str
    path: str
    kind: str
    size: int
    old_kind: str = ""
    old_size: int = 0


class DiffResult(msgspec.Struct, kw_only=True):
    """The differences counted. others: neither files nor folders.

    Bytes of a changed file are those of the chunks that only one version has. metadata_changed: entries with the same
    content and other metadata, also where no rows were asked for.
    """

    old: str
    new: str
    files_added: int
    files_removed: int
    files_changed: int
    dirs_added: int
    dirs_removed: int
    others_added: int
    others_removed: int
    others_changed: int
    metadata_changed: int
    added_bytes: int
    removed_bytes: int


class DumpRequest(Request):
    """`dump SNAPSHOT[:PATH]`; `archive`: empty = a folder as tar, a file as its bytes; tar = a file as tar, too."""

    snapshot: str
    path: str = ""
    archive: str = ""
    set: str = ""
    """Of which set `latest` is the newest."""
    wait_s: float | None = RETRY_BUDGET_S
    """How long hosts that are away are waited for; None: until one is back."""


class DumpStart(msgspec.Struct, kw_only=True):
    """What will be told, before its first byte. format: file (the bytes of one) or tar."""

    snapshot: str
    time: str
    path: str
    format: str


class DumpResult(msgspec.Struct, kw_only=True):
    """All of it was told; `errors`: entries that an archive can't hold, each named in an `error-file` event."""

    snapshot: str
    path: str
    format: str
    files: int
    bytes: int
    seconds: float
    errors: int


class StatsRequest(Request):
    """`stats`: of these snapshots (ids, prefixes, `latest`) together, or of all."""

    snapshots: list[str] = msgspec.field(default_factory=list)
    set: str = ""
    """Only snapshots of this set."""


class HostVolume(msgspec.Struct, kw_only=True):
    """What one host stores of it: whole packs, padding included; for all snapshots, whatever else it still has."""

    peer_id: str
    alias: str
    packs: int
    stored_bytes: int


class StatsResult(msgspec.Struct, kw_only=True):
    """What snapshots take.

    files, dirs, bytes: as restored, one snapshot after the other. unique_bytes: of each blob once, before compression.
    stored_bytes: the same sealed, one copy, without padding. compression_ratio = unique_bytes / stored_bytes;
    dedup_ratio = bytes / the part of unique_bytes that is files. missing_blobs: in no known pack, counted here only.
    """

    snapshots: list[str]
    files: int
    dirs: int
    bytes: int
    unique_bytes: int
    stored_bytes: int
    blobs: int
    data_blobs: int
    packs: int
    compression_ratio: float
    dedup_ratio: float
    missing_blobs: int
    hosts: list[HostVolume]
