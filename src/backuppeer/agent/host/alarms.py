"""Mass deletions that a host's human should know of (DESIGN 5): who asked, how much, until when it is kept.

Knows: what the store holds longer, the clock. Must not know: sessions, terminals. It lasts until all of it is erased or
taken back. The owner is to be asked by another way than this program: whoever deletes may have its machine.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from backuppeer.agent.home.state import State
from backuppeer.agent.host.premises import Premises
from backuppeer.agent.peers.names import name_of
from backuppeer.agent.peers.room import say_date
from backuppeer.clock import Clock
from backuppeer.errors import BackupPeerError
from backuppeer.host.hold import Alarm
from backuppeer.host.store import Store
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import ALARM_STEP_PERCENT
from backuppeer.sizes import format_size

_SEEN: Final = "alarms.seen"
TO_SEE: Final = "`backup-peer status --seen` when you have taken note"
"""What ends each note that a person can say to have seen."""


class MassDeletion(NamedTuple):
    """Who asked to delete how much of its data, when, and what is kept until when; times in ms, the last the soonest.

    `percent` of `held_bytes` were asked for; `kept_bytes` of that still lie here.
    """

    owner: PeerId
    percent: int
    asked_bytes: int
    kept_bytes: int
    asked_ms: int
    left_s: int
    agreement: AgreementId
    last: int
    """The number of the last request."""


OnAlarm = Callable[[MassDeletion], None]
"""Called in a thread."""


class Alarms:
    """The mass deletions of this home's store."""

    def __init__(self, premises: Premises, clock: Clock) -> None:
        self._premises, self._clock = premises, clock
        self.on_alarm: OnAlarm = _ignore
        self._told: dict[bytes, int] = {}

    def list_all(self) -> list[MassDeletion]:
        """Return those that are not over; none while the store is away."""
        if self._premises.directory is None:
            return []
        try:
            store = self._premises.open()
            return [found for alarm in store.removals.list_alarms() if (found := _describe(store, alarm))]
        except BackupPeerError:
            return []

    def list_new(self, state: State) -> list[MassDeletion]:
        """Return those that nobody has seen, or to which a request was added since."""
        return _pick_new(self.list_all(), state)

    def see(self, state: State) -> list[MassDeletion]:
        """Note that a person has seen all of them, and return those that are new to that; the hold stays as it is."""
        standing = self.list_all()
        new = _pick_new(standing, state)
        if new:
            # Just those that stand: what is over is forgotten, and there are no more than agreements.
            state.put_setting(_SEEN, msgspec.msgpack.encode({found.agreement: found.last for found in standing}))
        return new

    def look(self, store: Store) -> None:
        """Tell of those that are new, or have grown by much since they were told.

        Raises:
            StoreUnavailable: the disk is gone.

        """
        told, self._told = self._told, {}
        for alarm in store.removals.list_alarms():
            before = told.get(alarm.agreement, -ALARM_STEP_PERCENT)
            is_news = alarm.percent >= before + ALARM_STEP_PERCENT
            self._told[alarm.agreement] = alarm.percent if is_news else before
            if is_news and (found := _describe(store, alarm)):
                self.on_alarm(found)

    def describe(self, state: State) -> list[str]:
        """Return a sentence for each that nobody has seen, for `status`."""
        return [f"{self.say(state, found)}. {TO_SEE}" for found in self.list_new(state)]

    def say(self, state: State, found: MassDeletion) -> str:
        """Return what a person should know and do."""
        return say_deletion(found, name_of(state, found.owner), self._clock.now_ms())


def say_deletion(found: MassDeletion, name: str, now_ms: int) -> str:
    """Return what a person should know and do; `name`: what the owner is called here."""
    when = f" on {say_date(found.asked_ms, 0)}" if found.asked_ms else ""
    return (
        f"{name} asked to delete {found.percent} % of its data ({format_size(found.asked_bytes)}){when}; it is kept "
        f"until {say_date(now_ms, found.left_s)} at the soonest. Unless you know why, ask {name} by another way: with "
        "the command peers undelete it can have everything back"
    )


def _describe(store: Store, alarm: Alarm) -> MassDeletion | None:
    lease = store.leases.find(alarm.agreement)
    if lease is None:
        return None
    return MassDeletion(
        owner=lease.owner,
        percent=alarm.percent,
        asked_bytes=alarm.asked_bytes,
        kept_bytes=alarm.deleted_bytes,
        asked_ms=store.removals.asked_ms(alarm.agreement, alarm.first),
        left_s=max(0, alarm.left_s),
        agreement=alarm.agreement,
        last=alarm.last,
    )


def _pick_new(standing: list[MassDeletion], state: State) -> list[MassDeletion]:
    kept = state.setting(_SEEN)
    seen = msgspec.msgpack.decode(kept, type=dict[bytes, int]) if kept else {}
    return [found for found in standing if found.last > seen.get(found.agreement, 0)]


def _ignore(found: MassDeletion) -> None:
    del found
