"""What holds old snapshots back when nobody asked for them to go: a clock or a disk that is not as it was (ADR 88).

Knows: what the rules would let go, what the newest backup has. Must not know: when backups are due, how a list changes.
"""

import os
import shlex
from collections.abc import Iterable, Iterator

from backuppeer.agent.jobs.forgetting import Forgetting
from backuppeer.backup.browse import list_roots
from backuppeer.backup.retention import list_used
from backuppeer.backup.trees import TreeReader
from backuppeer.clock import format_time
from backuppeer.control.saving import BackupResult
from backuppeer.errors import RefusedError
from backuppeer.ids import SnapshotId
from backuppeer.limits import SHRUNK_TIMES
from backuppeer.repo.snapshot import Snapshot
from backuppeer.repo.tree import EntryKind

_MS_NS = 1_000_000


def choose_victims(
    plan: Forgetting, made: BackupResult, *, now_ms: int, within_s: int, period_s: int
) -> list[SnapshotId]:
    """Return which of the snapshots that rules let go may go by themselves after the backup `made`.

    within_s: the rule `within` of the set in seconds, 0 if it has none. Time without snapshots counts for it as one
    `period_s` at most: a clock that was ahead for a moment makes nothing old.

    Raises:
        RefusedError: the times are not to be trusted, or the newest has far less than one that would go.

    """
    victims = dict.fromkeys(plan.victims)
    for verdicts in plan.groups.values():
        members = [(each.snapshot, plan.known[each.snapshot]) for each in verdicts]
        if not victims.keys().isdisjoint(name for name, _ in members):
            _check_times(members, made, now_ms)
        for name in list_used(members, within_s, period_s):
            victims.pop(name, None)
    _check_shrinking([plan.known[name] for name in victims], made)
    return list(victims)


def check_folders(trees: TreeReader, victims: Iterable[Snapshot], newest: Snapshot) -> None:
    """Refuse if a folder of a set is empty now that was not: one of its paths, or one right below. For a thread.

    Raises:
        RefusedError: one is; a disk may be away.
        Unavailable: who has the directories can't be reached.
        IntegrityFault: one is wrong or missing.

    """
    empty = {path for path, content in _list_folders(trees, newest) if _is_empty(trees, content)}
    for victim in victims if empty else ():
        for path, content in _list_folders(trees, victim):
            if path in empty and not _is_empty(trees, content):
                raise RefusedError(
                    f"{os.fsdecode(b'/' + path)} is empty now, and was not: all stay", hint=_let_go(newest.set)
                )


def _list_folders(trees: TreeReader, snapshot: Snapshot) -> Iterator[tuple[bytes, bytes]]:
    """Yield path and content of the folders that a snapshot is of, and of those right below."""
    for root in list_roots(trees, snapshot):
        if root.entry.kind != EntryKind.DIRECTORY:
            continue
        yield root.path, root.entry.content
        for entry in trees.entries(root.entry.content):
            if entry.kind == EntryKind.DIRECTORY:
                yield root.path + b"/" + entry.name, entry.content


def _is_empty(trees: TreeReader, content: bytes) -> bool:
    return next(trees.entries(content), None) is None


def _check_times(members: list[tuple[SnapshotId, Snapshot]], made: BackupResult, now_ms: int) -> None:
    name, newest = members[-1]
    if newest.time_ns // _MS_NS > now_ms:
        called = name.hex()[:8]
        raise RefusedError(
            f"snapshot {called} is of {format_time(newest.time_ns // _MS_NS)}, which is to come: all stay. "
            f"If this clock is right, `backup-peer forget {called}` lets go of that one",
        )
    if name.hex() != made.snapshot:
        raise RefusedError("the newest backup is not the newest snapshot of its set: all stay")


def _check_shrinking(victims: Iterable[Snapshot], made: BackupResult) -> None:
    for victim in victims:
        if victim.files > SHRUNK_TIMES * made.files:
            raise RefusedError(
                f"the newest backup has {made.files} files, one that would go {victim.files}: all stay",
                hint=_let_go(made.set),
            )
        if victim.bytes > SHRUNK_TIMES * made.bytes:
            raise RefusedError(
                f"the newest backup has {made.bytes} bytes, one that would go {victim.bytes}: all stay",
                hint=_let_go(made.set),
            )


def _let_go(name: str) -> str:
    return f"if that is right, `backup-peer forget --set {shlex.quote(name)}` lets them go"
