"""Owners that go on as another identity: what they had here is the heir's from then on (ADR 69).

Knows: the succession, the agreements that go over, who is told what afterwards. Must not know: how a store keeps
revisions, what else a home concludes from a succession (`repute.heirs`).

    order      the succession, durably; then each agreement, durably; then the answer
    again      the same two get the same answer, and what a crash left undone is done: each agreement is looked at anew
    believed   by the authority by which the old identity is known (`authorities`), and no other
    afterwards the old identity is told in Hello, and gets nothing else: it may be a thief's
    two heirs  the one followed before stays, and only reads, until a person had it out
"""

import threading
from collections.abc import Callable
from typing import Final

from backuppeer.agent.home.records import Direction
from backuppeer.agent.home.state import State
from backuppeer.agent.home.successions import Heir
from backuppeer.agent.host.authorities import check_authority, choose_authority, find_authority
from backuppeer.agent.host.premises import Premises
from backuppeer.agent.host.requests import Requests
from backuppeer.agent.host.threads import in_thread
from backuppeer.agent.peers.channel import Channel
from backuppeer.agent.peers.choosing import OPEN
from backuppeer.agent.repute.heirs import Heirs
from backuppeer.errors import AuthenticationFault, NotFoundError, ProtocolViolation, RefusedError
from backuppeer.host.leases import Lease
from backuppeer.host.store import Store
from backuppeer.ids import AgreementId, PeerId, shorten_peer_id
from backuppeer.limits import AGREEMENTS_PER_OWNER
from backuppeer.proof.revisions import check_successor
from backuppeer.proof.statements import Agreement, open_proposal, peek_statement, statement_hash
from backuppeer.proof.succession import Succession, open_succession
from backuppeer.wire.auditing import AckPacks, AskAudit, GetDelete, GetLosses
from backuppeer.wire.codes import RefusalCode
from backuppeer.wire.fields import Message
from backuppeer.wire.messages import FindDrafts, GetHead, GetRange, GetUsage, ListDeleted, ListPacks, Refused
from backuppeer.wire.succeeding import Succeed, Succeeded
from backuppeer.wire.terms import GetTerms

OnPassing = Callable[[AgreementId, PeerId], None]
"""(agreement, its owner) that goes over to an heir now; called in a thread, again after a crash."""
_READS: Final = (
    *(GetRange, GetHead, ListPacks, ListDeleted, GetUsage, FindDrafts),
    *(GetTerms, AckPacks, AskAudit, GetLosses, GetDelete),
)
"""What an heir may ask for while its 24 words are in two hands."""
_WORDS_IN_TWO_HANDS: Final = (
    "the 24 words have named two heirs: until people have settled that, what is here is only read"
)


_ASK_PERSON: Final = "ask the host's person"
_GO_ON: Final = "was that you? Go on in the home that typed the 24 words; if not, they are in other hands"


class BehindError(RefusedError):
    """A proposal is missing, or follows a revision that is not in force: the owner learns the terms, and asks again."""


class ContestedError(RefusedError):
    """The same authority named another heir before: neither is followed any further."""


class Succeeding:
    """Successions of this host's owners."""

    def __init__(self, state: State, premises: Premises, requests: Requests, heirs: Heirs) -> None:
        self._state, self._premises, self._requests, self._heirs = state, premises, requests, heirs
        self._taking = threading.Lock()
        self.on_passing: OnPassing = _ignore_passing

    async def answer(self, peer: PeerId, channel: Channel, message: Succeed) -> None:
        """Answer a peer that goes on as another.

        Raises:
            as `take`, but for what is told with a code of its own.

        """
        try:
            await channel.send(await in_thread(self.take, peer, message))
        except BehindError as exc:
            await channel.refuse(Refused(code=RefusalCode.STALE, message=exc.message, hint=exc.hint))
        except ContestedError as exc:
            await channel.refuse(Refused(code=RefusalCode.SUCCEEDED, message=exc.message, hint=exc.hint))

    def take(self, peer: PeerId, message: Succeed) -> Succeeded:
        """Follow a succession, and co-sign what it proposes; the same again gives the same.

        Raises:
            NotFoundError: neither the old identity nor this heir of it has an agreement here.
            BehindError, ContestedError: as they say; nothing was changed but that an alarm stands.
            RefusedError: it is said by a third one, the heir has too many agreements, or it is no step that is
                followed, or the heir is known by another authority.
            PeerFault: malformed, or not signed as it should be.
            StoreUnavailable, LocalError: a disk refuses; what was done stays done.

        """
        said = peek_statement(Succession, message.succession)
        old, new = PeerId(said.old), PeerId(said.new)
        if peer not in {old, new}:
            raise RefusedError("a succession is said by one of the two whom it names")
        with self._taking:
            store = self._premises.open()
            # Of one that is over all is being erased: it ends with who gave notice of it, and nobody follows in it.
            standing = [one for one in store.leases.list_by_owner(old) if not store.notices.is_over(one.agreement)]
            newest = self._heirs.newest(old)
            if not standing and (newest == old or not store.leases.list_by_owner(newest)):
                raise NotFoundError("no such agreement with you")
            authority = find_authority(self._state, self._premises, old)
            open_succession(message.succession, authority)
            check_authority(self._state, self._premises, new, authority)
            # Of stores of before: a thief of the identity may have made one that names an authority of its own.
            standing = [lease for lease in standing if lease.terms.authority == authority]
            if self._heirs.heir_of(old) is None and self._heirs.is_contested(old):
                raise ContestedError(_WORDS_IN_TWO_HANDS, hint=_ASK_PERSON)
            proposals = _match(standing, message, new)
            if len(store.leases.list_by_owner(new)) + len(standing) > AGREEMENTS_PER_OWNER:
                raise RefusedError(f"{AGREEMENTS_PER_OWNER} agreements are the most with one owner")
            signed = self._follow(message.succession, authority)
            # Only now: it reads each revision of each agreement of the heir, whom anybody can name.
            steps = self._find_steps(store, old, new)
            for lease, proposal in zip(standing, proposals, strict=True):
                self.on_passing(lease.agreement, old)  # first: what it keeps of the old one, the heir soon replaces
                steps[lease.agreement] = self._premises.cosign(proposal).signed
            self._turn_down(old)
            return Succeeded(succession=signed, revisions=tuple(steps[agreement] for agreement in sorted(steps)))

    def hello(self, peer: PeerId) -> bytes:
        """Return the signed succession by which another goes on in place of a peer; b"" if none does."""
        heir = self._heirs.heir_of(peer)
        return heir.signed if heir is not None else b""

    def refuse(self, peer: PeerId, message: Message) -> Refused | None:
        """Return the no to a request of who was succeeded, or who may only read; None: it is answered as any other."""
        heir = self._heirs.heir_of(peer)
        if heir is not None:
            return Refused(code=RefusalCode.SUCCEEDED, message=_say_heir(heir), hint=_GO_ON)
        if not isinstance(message, _READS) and self._heirs.is_contested(peer):
            return Refused(code=RefusalCode.SUCCEEDED, message=_WORDS_IN_TWO_HANDS)
        return None

    def check_wish(self, owner: PeerId) -> None:
        """Return unless a wish for space is of who was succeeded: it may be a thief's.

        Raises:
            RefusedError: it is.

        """
        heir = self._heirs.heir_of(owner)
        if heir is not None:
            raise RefusedError(_say_heir(heir), hint=_GO_ON)

    async def choose_authority(self, host: PeerId, told: bytes) -> bytes:
        """Return what an agreement of this home is to name as a host's authority, as `authorities` says.

        Raises:
            RefusedError: it is known by another one than it told.

        """
        return await in_thread(choose_authority, self._state, self._premises, host, told)

    def line_of(self, peer: PeerId) -> tuple[PeerId, ...]:
        """Return a peer and all whose heir it is, itself first."""
        return self._heirs.line_of(peer)

    def _turn_down(self, old: PeerId) -> None:
        """Reject what the old identity waits for: nothing that it asked for is given to it any more."""
        for record in self._state.requests_of(Direction.IN, old):
            if record.state in OPEN:
                self._requests.turn_down(record, "another identity goes on in its place")

    def _find_steps(self, store: Store, old: PeerId, new: PeerId) -> dict[AgreementId, bytes]:
        """Return the revisions by which agreements went over from the old identity to this heir already."""
        found = {}
        for lease in store.leases.list_by_owner(self._heirs.newest(new)):
            signed = store.leases.find_step(lease.agreement, old)
            if signed is not None and peek_statement(Agreement, signed).owner == new:
                found[lease.agreement] = signed
        return found

    def _follow(self, signed: bytes, authority: bytes) -> bytes:
        """Return the succession that is followed now, durably: this one, or one of the same two that came before."""
        try:
            return self._heirs.take(signed, authority).signed
        except AuthenticationFault as exc:  # its signatures were checked: what is left is another heir
            raise ContestedError(_WORDS_IN_TWO_HANDS, hint=_ASK_PERSON) from exc
        except ProtocolViolation as exc:
            raise RefusedError(exc.message) from exc


def _say_heir(heir: Heir) -> str:
    return f"another identity goes on in place of this one: {shorten_peer_id(heir.new)}"


def _match(standing: list[Lease], message: Succeed, new: PeerId) -> list[bytes]:
    """Return the proposal for each agreement, in their order.

    Raises:
        BehindError: one is missing, or does not follow the revision in force.
        PeerFault: one is not signed by the heir, or changes more than the owner.

    """
    offered: dict[AgreementId, tuple[bytes, Agreement]] = {}
    for signed in message.proposals:
        proposal = open_proposal(Agreement, signed, new)
        offered[AgreementId(proposal.agreement)] = (signed, proposal)
    found = []
    for lease in standing:
        known = offered.get(lease.agreement)
        # All or none: what was left behind could be read by nobody.
        if known is None or known[1].previous != statement_hash(lease.signed):
            raise BehindError(
                f"no proposal follows revision {lease.terms.revision} of agreement {lease.agreement.hex()[:8]}",
                hint="learn the terms in force, and say it again with a proposal for each agreement",
            )
        check_successor(lease.signed, known[1])
        found.append(known[0])
    return found


def _ignore_passing(agreement: AgreementId, owner: PeerId) -> None:
    del agreement, owner
