"""What peers promised to keep for this home in return, and this home for them; and what follows if they don't (ADR 51).

Knows: co-signed agreements of both directions, notices, own requests. Must not know: packs, messages. Nothing that a
peer merely says counts: only what both signed, and what this home asked for. Both sides so come to the same balance.

Who promised and doesn't keep that has RECIPROCITY_GRACE_S from when it was asked in vain, or ended what it kept. Then
nothing new is taken from it but the small reserve for lists. What it has here is kept, served and restored as ever.
"""

import shlex
import threading
from collections.abc import Callable, Container, Iterable
from typing import Final, NamedTuple

from backuppeer.agent.home.records import Direction, RequestRecord, RequestState
from backuppeer.agent.home.state import State
from backuppeer.agent.host.premises import Premises
from backuppeer.agent.peers.choosing import is_listed
from backuppeer.agent.peers.names import name_of
from backuppeer.agent.peers.offers import write_exact_size
from backuppeer.clock import Clock, format_time
from backuppeer.errors import BackupPeerError
from backuppeer.host.leases import Lease
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import RECIPROCITY_GRACE_S, RECIPROCITY_LOOK_S, STORAGE_MIN_BYTES
from backuppeer.proof.promises import NOTHING, read_promises, return_bytes
from backuppeer.proof.revisions import SECOND_MS, Wish
from backuppeer.proof.statements import Agreement, peek_statement
from backuppeer.sizes import format_size

_SINCE: Final = "reciprocity.since."
_IN_VAIN: Final = {RequestState.WAITING, RequestState.OFFERED, RequestState.REJECTED, RequestState.EXPIRED}


class Balance(NamedTuple):
    """What one side promised to keep in return, and what it keeps under agreements that go on: agreed bytes."""

    promised_bytes: int = 0
    given_bytes: int = 0

    @property
    def lacking_bytes(self) -> int:
        """Return how much of the promise is not agreed on."""
        return max(0, self.promised_bytes - self.given_bytes)


class Reciprocity:
    """Promises between this home and its peers. Thread-safe; asks the disk, so call it in a thread."""

    def __init__(self, state: State, premises: Premises, clock: Clock) -> None:
        self._state, self._premises, self._clock = state, premises, clock
        self._looked: dict[PeerId, tuple[float, str]] = {}
        self._lock = threading.Lock()
        self.line_of: Callable[[PeerId], Container[PeerId]] = lambda peer: (peer,)
        """A peer and all whose heir it is: as a host it may still have the identity of before (ADR 69)."""

    def owed_to_us(self, peer: PeerId) -> Balance:
        """Return what an owner promised for what we keep, and what it keeps for us."""
        promised = _sum_promised(lease.terms for lease in self._premises.leases_of(peer))
        kept = (terms.size_bytes for agreement, terms in self._at(peer) if not self._is_ended(agreement, peer))
        return Balance(promised, sum(kept))

    def owed_by_us(self, peer: PeerId) -> Balance:
        """Return what we promised for what a host keeps, and what we keep for it; nothing while our store is away."""
        if self._is_away(peer):
            return Balance()
        promised = _sum_promised(terms for _, terms in self._at(peer))
        kept = (lease.terms.size_bytes for lease in self._premises.leases_of(peer) if self._goes_on(lease))
        return Balance(promised, sum(kept))

    def is_owed(self, record: RequestRecord) -> bool:
        """Return whether a peer's wish is for no more than we promised it: our person agreed to that when it did.

        What was accepted of it and is not co-signed yet counts as given: no space is owed to two wishes.
        """
        own, balance = [terms for _, terms in self._at(record.peer)], self.owed_by_us(record.peer)
        left = balance._replace(given_bytes=balance.given_bytes + self._accepted_bytes(record))
        return _is_covered(record, own, self._grown_here(record), left)

    def find_debt(self, owner: PeerId) -> str:
        """Return in words for an owner why nothing new is taken from it, "" if it is; notes since when it owes."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            looked_s, words = self._looked.get(owner, (-RECIPROCITY_LOOK_S, ""))
            if now_s - looked_s < RECIPROCITY_LOOK_S:
                return words
            words = self._look(owner)
            self._looked[owner] = (now_s, words)
            return words

    def look_at_all(self) -> None:
        """Note since when who is in debt; called from time to time, for own requests are kept for a few days only."""
        for owner in self._premises.owners():
            self.find_debt(owner)

    def refused_from_ms(self, owner: PeerId) -> int | None:
        """Return from when on nothing new is taken from an owner; None: it keeps its promise, or was not asked."""
        since_ms = self._since_ms(owner)
        return None if since_ms is None else since_ms + RECIPROCITY_GRACE_S * SECOND_MS

    def describe(self) -> list[str]:
        """Return a sentence for each promise that is not kept, of peers and of ours, for `status` and each backup."""
        said = [self._say_theirs(owner, self.owed_to_us(owner)) for owner in sorted(self._premises.owners())]
        return [text for text in said if text] + self.describe_ours()

    def describe_ours(self) -> list[str]:
        """Return a sentence for each promise of ours that we don't keep."""
        hosts = dict.fromkeys(host for _, host, _ in self._state.agreements())
        return [text for host in hosts if (text := self._say_ours(host, self.owed_by_us(host)))]

    def _look(self, owner: PeerId) -> str:
        if self._is_away(owner):
            return ""  # what it promised stands in agreements that can't be read now
        balance = self.owed_to_us(owner)
        since_ms, now_ms = self._since_ms(owner), self._clock.now_ms()
        if not balance.lacking_bytes:
            if since_ms is not None:
                self._state.put_setting(_SINCE + owner.hex(), b"")
            return ""
        if since_ms is None:
            if not self._was_refused(owner, balance):
                return ""
            since_ms = now_ms
            self._state.put_setting(_SINCE + owner.hex(), since_ms.to_bytes(8, "big"))
        if since_ms + RECIPROCITY_GRACE_S * SECOND_MS > now_ms:
            return ""
        return (
            f"you promised to keep {format_size(balance.promised_bytes)} in return, and "
            f"{format_size(balance.given_bytes)} are agreed on; asked for in vain since {format_time(since_ms)[:10]}"
        )

    def _was_refused(self, owner: PeerId, balance: Balance) -> bool:
        """Return whether an owner was asked in vain for what it owes, or ended what it kept of it."""
        if any(self._is_ended(agreement, owner) for agreement, _ in self._at(owner)):
            return True
        theirs = [lease.terms for lease in self._premises.leases_of(owner)]
        promised_ms = min(terms.start_ms for terms in theirs if read_promises(terms.ext).reciprocity)
        return any(
            record.state in _IN_VAIN
            and record.since_ms >= promised_ms
            and not _is_as_good(record.offer, record.wish)
            and _is_covered(record, theirs, self._grown_there(record), balance)
            for record in self._state.requests_of(Direction.OUT, owner)
        )

    def _say_theirs(self, owner: PeerId, balance: Balance) -> str:
        if not balance.lacking_bytes:
            return ""
        name, lacking = name_of(self._state, owner), balance.lacking_bytes
        promised, given = format_size(balance.promised_bytes), format_size(balance.given_bytes)
        said = f"{name} promised to keep {promised} for you, and keeps {given}"
        from_ms = self.refused_from_ms(owner)
        if from_ms is None:
            return f"{said}: ask it for {write_exact_size(lacking)} more with {self._say_ask(owner, lacking)}"
        if from_ms > self._clock.now_ms():
            return f"{said}: you asked in vain; from {format_time(from_ms)[:10]} on it may store nothing new here"
        return f"{said}: it may store nothing new here until it does; what is here can be read as ever"

    def _say_ask(self, owner: PeerId, lacking_bytes: int) -> str:
        called, agreed = shlex.quote(name_of(self._state, owner)), self._at(owner)
        if agreed:
            return f"`backup-peer peers resize {called} {write_exact_size(agreed[0][1].size_bytes + lacking_bytes)}`"
        return f"`backup-peer connect {called} --storage {write_exact_size(max(lacking_bytes, STORAGE_MIN_BYTES))}`"

    def _say_ours(self, host: PeerId, balance: Balance) -> str:
        if not balance.lacking_bytes:
            return ""
        name, lacking = name_of(self._state, host), write_exact_size(balance.lacking_bytes)
        size = write_exact_size(self._premises.offer_for(balance.lacking_bytes))
        return (
            f"you promised {name} to keep {format_size(balance.promised_bytes)} for it, and keep "
            f"{format_size(balance.given_bytes)}: have {lacking} on offer for it, with "
            f"`backup-peer host --storage {size}`. Once it has asked in vain for "
            f"{RECIPROCITY_GRACE_S // 86_400} days, it may take no new backups of yours"
        )

    def _is_away(self, peer: PeerId) -> bool:
        return peer in self._premises.owners() and not self._premises.leases_of(peer)

    def _at(self, host: PeerId) -> list[tuple[AgreementId, Agreement]]:
        """Return our agreements as owner with a host."""
        every, line = self._state.agreements(), self.line_of(host)
        return [(agreement, peek_statement(Agreement, signed)) for agreement, peer, signed in every if peer in line]

    def _is_ended(self, agreement: AgreementId, party: PeerId) -> bool:
        notices, line = self._state.deeds.notices(agreement), self.line_of(party)
        return any(heard.notice.ends and heard.notice.party in line for heard in notices)

    def _goes_on(self, lease: Lease) -> bool:
        try:
            return not self._premises.open().notices.is_ended_by_host(lease.agreement)
        except BackupPeerError:
            return True  # the store went away just now

    def _accepted_bytes(self, record: RequestRecord) -> int:
        """Return how much was accepted of a peer's wishes and can still be co-signed, but of the one it replaces."""
        now_ms = self._clock.now_ms()
        others = [
            other
            for other in self._state.requests_of(Direction.IN, record.peer)
            if other.state is RequestState.ACCEPTED and other.revises != record.revises and is_listed(other, now_ms)
        ]
        return sum(max(0, self._grown_here(other)) for other in others)

    def _grown_here(self, record: RequestRecord) -> int:
        found = [lease for lease in self._premises.leases_of(record.peer) if lease.agreement == record.revises]
        return record.size_bytes - sum(lease.terms.size_bytes for lease in found)

    def _grown_there(self, record: RequestRecord) -> int:
        found = [terms for agreement, terms in self._at(record.peer) if agreement == record.revises]
        return record.size_bytes - sum(terms.size_bytes for terms in found)

    def _since_ms(self, owner: PeerId) -> int | None:
        raw = self._state.setting(_SINCE + owner.hex())
        return int.from_bytes(raw, "big") if raw else None


def _sum_promised(every: Iterable[Agreement]) -> int:
    return sum(return_bytes(terms.size_bytes, read_promises(terms.ext)) for terms in every)


def _is_as_good(offer: Wish | None, wish: Wish) -> bool:
    """Return whether what a peer offers instead of a wish gives as much, and wants nothing for it."""
    if offer is None or offer.promises._replace(availability=0) != NOTHING:
        return False
    return offer.size_bytes >= wish.size_bytes and offer.term_s >= wish.term_s


def _is_covered(record: RequestRecord, terms: list[Agreement], grown_bytes: int, balance: Balance) -> bool:
    """Return whether a wish is for what is owed, on no harder terms than the other side has itself."""
    most_s = max((each.term_s for each in terms), default=0), max((each.lock_s for each in terms), default=0)
    is_usual = record.promises == NOTHING and record.term_s <= most_s[0] and record.lock_s <= most_s[1]
    return is_usual and 0 < grown_bytes <= balance.lacking_bytes
