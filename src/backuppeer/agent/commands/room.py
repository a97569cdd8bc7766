"""How full everything is: what hosts keep for this home, and what this home keeps for owners (`status`, `peers`).

Knows: agreements, ledger, store. Must not know: HTTP, terminals. Dates are the soonest: a host counts its uptime only.
"""

from typing import NamedTuple

from backuppeer.agent.agent import Agent
from backuppeer.agent.commands.wishes import end_at
from backuppeer.clock import format_time
from backuppeer.control.api import StoringState
from backuppeer.errors import BackupPeerError
from backuppeer.ids import AgreementId, PeerId


class Room(NamedTuple):
    """Agreed, used, and of that deleted bytes; how many of these are erased next, and when (ms)."""

    quota_bytes: int = 0
    used_bytes: int = 0
    deleted_bytes: int = 0
    next_bytes: int = 0
    next_ms: int = 0

    @property
    def next_free(self) -> str:
        """Return when, as text; "" when nothing was deleted."""
        return format_time(self.next_ms) if self.next_bytes else ""

    def plus(self, other: "Room") -> "Room":
        """Return the sum; what is erased next is that which comes first."""
        dated = [room for room in (self, other) if room.next_bytes] or [self]
        first = min(dated, key=lambda room: room.next_ms)
        return Room(
            self.quota_bytes + other.quota_bytes,
            self.used_bytes + other.used_bytes,
            self.deleted_bytes + other.deleted_bytes,
            first.next_bytes,
            first.next_ms,
        )


def room_at(agent: Agent, host: PeerId) -> Room | None:
    """Return what `host` keeps for us, by our ledger; None when it is no host of ours."""
    found = None
    for agreement, agreed_host, signed in agent.parts.state.agreements():
        if agreed_host == host:
            size_bytes = agent.parts.keys.open_terms(signed, host).size_bytes
            found = (found or Room()).plus(_measure_copies(agent, agreement)._replace(quota_bytes=size_bytes))
    return found


def room_for(agent: Agent, owner: PeerId) -> Room | None:
    """Return what we keep for `owner`, with nothing used while the store is away; None when it has no agreement."""
    leases = agent.host.premises.leases_of(owner)
    found = Room(quota_bytes=sum(lease.terms.size_bytes for lease in leases)) if leases else None
    for lease in leases:
        found = (found or Room()).plus(_measure_lease(agent, lease.agreement))
    return found


def storing_state(agent: Agent) -> StoringState:
    """Return what all hosts keep for this home, by its ledger."""
    hosts = {host for _, host, _ in agent.parts.state.agreements()}
    total, ended_bytes, withheld_bytes = Room(), 0, 0
    for host in hosts:
        room = room_at(agent, host) or Room()
        total = total.plus(room)
        free_bytes = max(0, room.quota_bytes - room.used_bytes)
        if end_at(agent, host):
            ended_bytes += free_bytes
        elif (open_bytes := find_open_room(agent, host)) is not None:
            withheld_bytes += max(0, free_bytes - open_bytes)
    return StoringState(
        hosts=len(hosts),
        agreed_bytes=total.quota_bytes,
        used_bytes=total.used_bytes,
        deleted_bytes=total.deleted_bytes,
        next_free_bytes=total.next_bytes,
        next_free=total.next_free,
        ended_bytes=ended_bytes,
        withheld_bytes=withheld_bytes,
    )


def find_open_room(agent: Agent, host: PeerId) -> int | None:
    """Return how many bytes more may go to a host of ours; 0: it gets no new data; None: all that is free."""
    return 0 if agent.parts.standing.bar(host) is not None else agent.owner.vault.exposing.room(host)


def ended_room(agent: Agent) -> int:
    """Return what owners agreed on with us and don't use, under agreements that end.

    Raises:
        StoreUnavailable: the disk of the store is away.

    """
    store, total = agent.host.premises.open(), 0
    for lease in store.leases.list_all():
        if store.notices.left_s(lease.agreement) is not None:
            total += max(0, lease.terms.size_bytes - store.usage(lease.agreement).used_bytes)
    return total


def _measure_copies(agent: Agent, agreement: AgreementId) -> Room:
    try:
        ledger = agent.owner.vault.repository.ledger
        # Deleted ones count until their host has erased them: it does so, too.
        deleted = sum(copy.size for copy in ledger.doomed_at(agreement))
        used = deleted + sum(copy.size for copy in ledger.copies_at(agreement))
        return Room(0, used, deleted, *ledger.next_erased(agreement, agent.parts.clock.now_ms()))
    except BackupPeerError:
        return Room()  # a damaged repository must not hide the rest; its own notes tell of it


def _measure_lease(agent: Agent, agreement: AgreementId) -> Room:
    try:
        store = agent.host.premises.open()
        used, deleted = store.usage(agreement).used_bytes, store.removals.deleted_bytes(agreement)
        erased = store.removals.next_free(agreement)
    except BackupPeerError:
        return Room()
    return Room(0, used, deleted, erased.size_bytes, agent.parts.clock.now_ms() + erased.left_s * 1000)
