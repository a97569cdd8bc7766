"""Entries of a snapshot as rows of the control API: the same for every verb that lists them.

Knows: trees, rows. Must not know: which verb asks.
"""

import os

from backuppeer.backup.kinds import name_kind
from backuppeer.backup.trees import Visit
from backuppeer.clock import format_time
from backuppeer.control.api import EntryRow


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
