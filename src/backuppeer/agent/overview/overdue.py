"""Sets that were not backed up for too long: the alarm that a silent failure can't keep quiet (U5).

Knows: settings, when snapshots were made, the clock. Must not know: why nothing was made. A set without a schedule, and
snapshots of no set, are made when a person wishes: they count only once `notify.after` was set. A set that was never
backed up counts from when the agent saw it first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from backuppeer.agent.home.config import read_config
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.notify import NotifySettings
from backuppeer.agent.home.schedule import parse_schedule, period_s
from backuppeer.agent.home.sets import BackupSet
from backuppeer.agent.home.state import State
from backuppeer.agent.owner.vault import Vault
from backuppeer.backup.browse import list_snapshots
from backuppeer.clock import DAY_S, format_time
from backuppeer.control.scheduling import OverdueSet
from backuppeer.errors import BackupPeerError

_SEEN: Final = "overdue.seen"
_LOOSE: Final = ""
"""Stands for snapshots of no set."""


@dataclass(frozen=True, slots=True)
class Made:
    """When the newest snapshot of each set was made, and when the agent saw each set first; ms."""

    newest: Mapping[str, int]
    seen: Mapping[str, int]


def list_overdue(home: Home, state: State, vault: Vault) -> list[OverdueSet]:
    """Return the sets of this home for which there is an alarm; none in a home that makes no backups."""
    try:
        config = read_config(home)
        settings = config.notify or NotifySettings()
        if settings.after is None and not any(kept.schedule for kept in config.sets.values()):
            return []  # nothing can be overdue: no list of snapshots is read for that
        if vault.is_unrecovered or not vault.writer.may_write or not (config.sets or vault.exists_repository):
            return []
        now_ms = vault.clock.now_ms()
        newest = _list_newest(vault, now_ms)
        seen = _see(state, config.sets, now_ms)
    except BackupPeerError:
        return []  # what can't be read is told by itself
    return plan_overdue(config.sets, settings, Made(newest, seen), now_ms)


def plan_overdue(sets: Mapping[str, BackupSet], settings: NotifySettings, made: Made, now_ms: int) -> list[OverdueSet]:
    """Return the sets whose newest snapshot is older than it may be."""
    found = []
    for name, kept in sorted(sets.items()):
        if not kept.schedule and settings.after is None:
            continue
        patience_s = settings.after_s
        if kept.schedule:
            # A set of each month is not late after three days, but a day after its next was due.
            patience_s = max(patience_s, period_s(parse_schedule(kept.schedule)) + DAY_S)
        last_ms = made.newest.get(name, 0)
        found += _judge(name, last_ms, last_ms or made.seen.get(name, now_ms), patience_s, now_ms)
    loose_ms = max((time_ms for name, time_ms in made.newest.items() if name not in sets), default=0)
    if loose_ms and not sets and settings.after is not None:
        found += _judge(_LOOSE, loose_ms, loose_ms, settings.after_s, now_ms)
    return found


def _judge(name: str, last_ms: int, since_ms: int, patience_s: int, now_ms: int) -> list[OverdueSet]:
    age_s = (now_ms - since_ms) // 1000
    if age_s < patience_s:
        return []
    return [OverdueSet(set=name, days=age_s // DAY_S, last=format_time(last_ms) if last_ms else "")]


def _list_newest(vault: Vault, now_ms: int) -> dict[str, int]:
    """Return when each set was backed up last; what a clock that was ahead wrote counts for nothing."""
    if not vault.exists_repository:
        return {}
    listed = list_snapshots(vault.repository.index)
    stamped = ((snapshot.set, snapshot.time_ns // 1_000_000) for _, snapshot in listed)
    return {name: time_ms for name, time_ms in stamped if time_ms <= now_ms}


def _see(state: State, sets: Mapping[str, BackupSet], now_ms: int) -> dict[str, int]:
    kept = state.setting(_SEEN)
    before = msgspec.msgpack.decode(kept, type=dict[str, int]) if kept else {}
    seen = {name: min(before.get(name, now_ms), now_ms) for name in sets}
    if seen != before:
        state.put_setting(_SEEN, msgspec.msgpack.encode(seen))
    return seen
