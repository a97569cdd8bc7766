"""Entries of a snapshot as rows of the control API: the same for every verb that lists them.

Knows: trees, rows. Must not know: which verb asks.
"""

import os

from backuppeer.backup.kinds import name_kind
from backuppeer.backup.trees import Visit
from backuppeer.clock import format_time
from backuppeer.control.api import EntryRow
from backuppeer.control.mounting import MountEntry
from backuppeer.repo.extension import SPARSE, device_of, link_of
from backuppeer.repo.tree import DEVICES, TreeEntry


def make_entry_row(visit: Visit) -> EntryRow:
    """Return an entry as a row; its time to the millisecond."""
    entry = visit.entry
    return EntryRow(
        path="/" + os.fsdecode(visit.path),
        kind=name_kind(entry.kind),
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        size=entry.size,
        mtime=format_time(entry.mtime_ns // 1_000_000),
        target=os.fsdecode(entry.target),
    )


def make_mount_entry(entry: TreeEntry, folder: int) -> MountEntry:
    """Return an entry with all that `lstat` and `listxattr` tell of it; `folder`: the number of its folder."""
    link = link_of(entry.ext)
    return MountEntry(
        name=os.fsdecode(entry.name),
        kind=name_kind(entry.kind),
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        size=entry.size,
        mtime_ns=entry.mtime_ns,
        ctime_ns=entry.ctime_ns,
        inode=entry.inode if link else 0,
        link_device=link.device if link else 0,
        names=link.names if link else 1,
        device=device_of(entry.ext) if entry.kind in DEVICES else (0, 0),
        sparse=SPARSE in entry.ext,
        target=os.fsdecode(entry.target),
        attributes={os.fsdecode(name): value for name, value in entry.attributes.items()},
        folder=folder,
    )
