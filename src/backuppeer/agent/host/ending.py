"""Agreements of this host's store ended by notice, of either side, and told of (ADR 45, `peers end`).

Knows: the store's notices, which words a person needs. Must not know: sessions, messages. What is said of days is the
soonest: only days on which this agent runs count.
"""

import shlex
from collections.abc import Callable
from typing import NamedTuple

from backuppeer.agent.home.state import State
from backuppeer.agent.host.premises import Premises
from backuppeer.agent.peers.names import name_of
from backuppeer.agent.peers.room import say_date
from backuppeer.clock import Clock
from backuppeer.errors import BackupPeerError, NotFoundError, UserError
from backuppeer.host.leases import Lease
from backuppeer.host.store import Store
from backuppeer.ids import AgreementId, PeerId
from backuppeer.proof.notices import kept_s, sign_notice


class Told(NamedTuple):
    """What stands: the signed last notices of both sides, and for how many seconds all is kept if one ends it."""

    notices: list[bytes]
    left_s: int | None


OnNotice = Callable[[PeerId, int], None]
"""(owner, for how many seconds all is kept, 0: it goes on after all); called in a thread."""


class Ending:
    """Notices about this home's agreements as host."""

    def __init__(self, state: State, premises: Premises, clock: Clock) -> None:
        self._state, self._premises, self._clock = state, premises, clock
        self.on_notice: OnNotice = _ignore

    def take(self, owner: PeerId, agreement: AgreementId, signed: bytes, device_sig: bytes) -> int:
        """Take an owner's notice, durably; as `Notices.give`."""
        store = self._premises.open()
        self._find(store, owner, agreement)
        left_s = store.notices.give(agreement, signed, device_sig)
        self.on_notice(owner, left_s)
        return left_s

    def tell(self, owner: PeerId, agreement: AgreementId) -> Told:
        """Return what stands, to be told to the owner; from then on it is told."""
        store = self._premises.open()
        self._find(store, owner, agreement)
        store.notices.note_told(agreement)
        given = store.notices.list_given(agreement)
        return Told([each.file.signed for each in given], store.notices.left_s(agreement))

    def plan(self, owner: PeerId) -> int:
        """Return for how many seconds all would be kept at least, from a notice of ours on.

        Raises:
            NotFoundError: nothing is kept for this peer.
            UserError: notice was given already.

        """
        store, leases = self._leases_of(owner)
        if all(self._is_given(store, lease) for lease in leases):
            renew = f"`backup-peer peers renew {shlex.quote(name_of(self._state, owner))}`"
            raise UserError(
                "you ended this agreement already",
                hint=f"{renew} takes that back until it is over",
            )
        return max(kept_s(lease.terms, lease.host) for lease in leases)

    def end(self, owner: PeerId) -> list[AgreementId]:
        """Give notice of every agreement with an owner, durably, and return those that it ends."""
        store, leases = self._leases_of(owner)
        return [lease.agreement for lease in leases if not self._is_given(store, lease) and self._give(store, lease)]

    def take_back(self, owner: PeerId) -> list[AgreementId]:
        """Take own notices back, durably, and return the agreements that go on.

        Raises:
            NotFoundError: nothing is kept for this peer.
            UserError: no notice was given.
            RefusedError: it is too late.

        """
        store, leases = self._leases_of(owner)
        given = [lease for lease in leases if self._is_given(store, lease)]
        if not given:
            raise UserError(
                "you ended nothing that could be taken back",
                hint="its owner asks for a longer term, with the command peers renew there",
            )
        for lease in given:
            self._give(store, lease)
        return [lease.agreement for lease in given]

    def notice_of(self, agreement: AgreementId) -> tuple[bytes, int]:
        """Return our own last notice of an agreement, and for how many seconds all is kept.

        Raises:
            NotFoundError: there is none.

        """
        store = self._premises.open()
        given = store.notices.last_of_host(agreement)
        if given is None:
            raise NotFoundError("you ended nothing that could be told", hint="see `backup-peer peers`")
        return given.file.signed, store.notices.left_s(agreement) or 0

    def note_told(self, agreement: AgreementId) -> int:
        """Note that the owner has heard of our notice; return for how many seconds all is kept from now on."""
        notices = self._premises.open().notices
        notices.note_told(agreement)
        return notices.left_s(agreement) or 0

    def left_for(self, owner: PeerId) -> int | None:
        """Return for how many seconds all of an owner is kept if it ends; None: it does not, or the store is away."""
        try:
            store, leases = self._leases_of(owner)
        except BackupPeerError:
            return None
        lefts = [left for lease in leases if (left := store.notices.left_s(lease.agreement)) is not None]
        return min(lefts, default=None)

    def describe(self) -> list[str]:
        """Return a sentence for each agreement that ends, for `status`."""
        if self._premises.directory is None:
            return []
        try:
            leases = self._premises.open().leases.list_all()
        except BackupPeerError:
            return []
        lefts = {lease.owner: self.left_for(lease.owner) for lease in leases}
        return [self.say(owner, left_s) for owner, left_s in lefts.items() if left_s is not None]

    def say(self, owner: PeerId, left_s: int) -> str:
        """Return what a person should know of an agreement that ends, or goes on."""
        name = name_of(self._state, owner)
        if not left_s:
            return f"the agreement with {name} goes on: notice was taken back"
        date = say_date(self._clock.now_ms(), left_s)
        return f"the agreement with {name} ends: all that it keeps here is kept until {date} at the soonest"

    def _give(self, store: Store, lease: Lease) -> bool:
        given, signer = store.notices.last_of_host(lease.agreement), self._premises.signer_of(lease)
        last = given.notice.number if given is not None else 0
        signed = sign_notice(lease.agreement, signer, last=last, time_ms=self._clock.now_ms())
        with self._premises.occupancy.using():
            store.notices.give(lease.agreement, signed)
        return True

    def _is_given(self, store: Store, lease: Lease) -> bool:
        return store.notices.is_ended_by_host(lease.agreement)

    def _leases_of(self, owner: PeerId) -> tuple[Store, list[Lease]]:
        store = self._premises.open()
        leases = store.leases.list_by_owner(owner)
        if not leases:
            raise NotFoundError("you keep nothing for this peer", hint="see `backup-peer peers`")
        return store, leases

    @staticmethod
    def _find(store: Store, owner: PeerId, agreement: AgreementId) -> Lease:
        lease = store.leases.find(agreement)
        if lease is None or lease.owner != owner:
            raise NotFoundError("no such agreement with you")
        return lease


def _ignore(owner: PeerId, left_s: int) -> None:
    del owner, left_s
