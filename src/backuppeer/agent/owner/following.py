"""A host that goes on as another identity, followed by its owner (ADR 69).

Knows: agreements of this home, the succession that a host shows in Hello, the next revision of each agreement. Must not
know: how hosts are found, what goes over to an heir in this home's eyes (`repute.heirs`).

    believed     by the authority that the host itself put into an agreement, and no other
    order        the succession, durably; then the host's signature for each agreement, each durably
    from then on nothing is sent to the identity of before, or read from it: it may be a thief's. But where an agreement
                 names no words of its host, so that it can't go over: there it is read from as before
    afterwards   all that is kept here is by agreement: packs, receipts and audits go on with the heir
"""

import asyncio
import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import structlog

from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.home.records import Direction
from backuppeer.agent.home.state import State
from backuppeer.agent.home.successions import Heir
from backuppeer.agent.owner.hosts_of_before import hosts_of
from backuppeer.agent.owner.telling import learn_terms
from backuppeer.agent.peers.choosing import UNDECIDED
from backuppeer.agent.peers.names import name_of
from backuppeer.agent.peers.partners import Reach
from backuppeer.agent.peers.session import Session
from backuppeer.agent.repute.heirs import Heirs
from backuppeer.errors import BackupPeerError, ExitCode, PeerFault, PeerUnreachable, ProtocolViolation, RefusedError
from backuppeer.ids import AgreementId, PeerId, shorten_peer_id
from backuppeer.limits import AGREEMENTS_PER_HELLO
from backuppeer.proof.revisions import check_successor, succeed
from backuppeer.proof.statements import Agreement, open_statement, peek_statement, sign_statement
from backuppeer.proof.succession import HOST_AUTHORITY, Succession
from backuppeer.wire.succeeding import Follow, Followed
from backuppeer.wire.terms import PutTerms, TermsPut

_log = structlog.get_logger()
FindAuthority = Callable[[PeerId], bytes]
"""The authority (32 bytes) by which a peer is known, b"": by none; asks the disk."""


class Following:
    """Hosts of this home that go on as another."""

    def __init__(self, state: State, keys: HomeKeys, heirs: Heirs, *, reach: Reach) -> None:
        self._state, self._keys, self._heirs, self._reach = state, keys, heirs, reach
        self._asking: dict[PeerId, asyncio.Lock] = {}
        self._stuck: set[PeerId] = set()
        self.find_authority: FindAuthority = lambda _: b""
        """Set by who knows the agreements of both directions."""

    def hear(self, session: Session) -> None:
        """Take note of a host's word that it goes on as another, durably.

        Raises:
            PeerFault: it is not signed as it should be, or of somebody else, or contradicts what is followed; an alarm
                stands then.
            LocalError: a disk that refuses.

        """
        signed = session.hello.succession
        if not signed or not self._rows(session.peer):
            return
        said = peek_statement(Succession, signed)
        if said.old != session.peer:
            raise ProtocolViolation("a host shows the succession of somebody else as its own")
        authority = self.find_authority(session.peer)
        if not authority:
            self._stuck.add(session.peer)
            return
        new = PeerId(said.new)
        if self.find_authority(new) not in {b"", authority} or self._is_another_host(session.peer, new):
            raise ProtocolViolation("a host names as its heir who is known as another peer already")
        self._heirs.take(signed, authority)

    def _is_another_host(self, old: PeerId, new: PeerId) -> bool:
        """Whether an heir is a host by itself: two hosts in league would become one, and two copies with it."""
        deeds, rows = self._state.deeds, self._rows(new)
        return bool(rows) and not any(old in hosts_of(deeds, agreement, new) for agreement in rows)

    async def meet(self, session: Session) -> None:
        """Take note of what a host says of itself when a session begins; as `hear`, what does not hold is passed over.

        Raises:
            LocalError: a disk that refuses.

        """
        try:
            await asyncio.to_thread(self.hear, session)
        except PeerFault as exc:
            _log.error("a host names an heir that is not followed", peer=shorten_peer_id(session.peer), why=exc.message)

    async def go_on(self, session: Session) -> bool:
        """Follow in a session what is to be followed; return whether it is with who goes on, and not with a former one.

        Never raises: what could not be done is done in the next session.
        """
        try:
            await self.follow(session)
        except BackupPeerError as exc:
            _log.info("a host was not followed", peer=shorten_peer_id(session.peer), reason=exc.message[:200])
        heir = self._find_left(session.peer)
        if heir is not None and session.hello.succession:
            # It has said what it came for. Others that go by this name may have to say that they were succeeded.
            await session.end(f"it goes on as {shorten_peer_id(heir.new)}")
            self._lend_place(heir)
            with suppress(BackupPeerError):  # who is away now is met later
                await self._reach.session(self._heirs.newest(heir.new))
        return heir is None

    def is_left(self, peer: PeerId) -> bool:
        """Whether another goes on in a peer's place, so that nothing of ours is for it any more."""
        return self._find_left(peer) is not None

    def _find_left(self, peer: PeerId) -> Heir | None:
        """Return who goes on in a peer's place; None where agreements stay with it, as `follow` can't move them."""
        heir = self._heirs.heir_of(peer)
        if heir is None or self._is_another_host(peer, heir.new):
            return None
        return None if any(not _names(signed, heir) for signed in self._rows(peer).values()) else heir

    def check(self, peer: PeerId) -> None:
        """Return unless another goes on in a peer's place.

        Raises:
            PeerUnreachable: one does; with code 12 where two heirs are named.

        """
        heir = self._find_left(peer)
        if heir is not None:
            raise self._explain(heir)

    def waiting(self) -> list[PeerId]:
        """Return the heirs of hosts whose signature for the agreements is not here yet."""
        rows = ((self._heirs.heir_of(host), signed) for _, host, signed in self._state.agreements())
        found = list(dict.fromkeys(heir for heir, signed in rows if heir is not None and _names(signed, heir)))
        for heir in found:
            self._lend_place(heir)
        return [heir.new for heir in found]

    def _lend_place(self, heir: Heir) -> None:
        """Look for an heir of whom nothing is known where the identity of before was: it must prove there who it is."""
        before, known = self._state.peer(heir.old), self._state.peer(heir.new)
        if before is not None and before.whereabouts and (known is None or not known.whereabouts):
            self._state.meet(heir.new, before.last_seen_ms, whereabouts=before.whereabouts)

    def describe(self) -> list[str]:
        """Return what `status` says of hosts that were not followed yet, or can't be."""
        said = []
        for old in dict.fromkeys(host for _, host, _ in self._state.agreements()):
            name, heir = name_of(self._state, old), self._heirs.heir_of(old)
            if heir is not None and self._list_due(heir):
                said.append(
                    f"{name_of(self._state, heir.new)} goes on as {shorten_peer_id(heir.new)}, and has not signed your "
                    "agreement as that yet: it does when it is met, and nothing goes to the old identity any more"
                )
            elif heir is not None or old in self._stuck:
                said.append(
                    f"{name} says that it goes on as another identity, and your agreement does not name its words: ask "
                    f"its person whether that is so, then `backup-peer peers renew {shlex.quote(name)}` lets you follow"
                )
        return said

    async def follow(self, session: Session) -> bool:
        """Have a host, met as what it was or as the heir, sign each agreement as the heir; return whether one did.

        Raises:
            RefusedError: it won't.
            PeerFault: it answered what it may not.
            PeerUnreachable: it went away.

        """
        is_done = False
        for heir in [one for one in self._heirs.list_all() if session.peer in {one.old, one.new}]:
            async with self._asking.setdefault(heir.old, asyncio.Lock()):
                is_done |= await self._follow(session, heir)
        return is_done

    async def _follow(self, session: Session, heir: Heir) -> bool:
        rows = self._list_due(heir)
        if not rows or self._heirs.is_contested(heir.new) or self._is_another_host(heir.old, heir.new):
            return False
        try:
            revisions = (await self._ask(session, heir, rows)).revisions
        except RefusedError:
            revisions = ()
        if len(revisions) < len(rows) or not all(_is_next(rows, signed) for signed in revisions):
            # It has revisions that were lost here: those are learnt first, be it the very one that is asked for.
            for agreement, signed in rows.items():
                await self._level(session, agreement, signed)
            rows = self._list_due(heir)
            revisions = (await self._ask(session, heir, rows)).revisions if rows else ()
        for signed in revisions:
            self._keep(heir, rows, signed)
        self._settle(heir)
        return True

    async def _level(self, session: Session, agreement: AgreementId, signed: bytes) -> None:
        """Have the same revision of an agreement on both sides, whoever lost some."""
        with suppress(RefusedError):  # it may be a later one there
            async with session.request(PutTerms(agreement=agreement, signed=signed)) as channel:
                await channel.receive(TermsPut)
        await learn_terms(session, self._state, agreement, self._keys.names)

    async def _ask(self, session: Session, heir: Heir, rows: dict[AgreementId, bytes]) -> Followed:
        proposals = [sign_statement(succeed(signed, heir.signed), self._keys.identity) for signed in rows.values()]
        async with session.request(Follow(proposals=tuple(proposals[:AGREEMENTS_PER_HELLO]))) as channel:
            return await channel.receive(Followed)

    def _keep(self, heir: Heir, rows: dict[AgreementId, bytes], signed: bytes) -> None:
        claimed = peek_statement(Agreement, signed)
        agreement, known = AgreementId(claimed.agreement), rows.get(AgreementId(claimed.agreement))
        terms = open_statement(Agreement, signed, self._keys.peer, heir.new)
        if known is None:
            raise ProtocolViolation("the host signed an agreement that was not proposed")
        check_successor(known, terms)
        self._state.put_agreement(agreement, heir.new, signed)

    def _settle(self, heir: Heir) -> None:
        """Let what is kept by host be the heir's."""
        for agreement, host, _ in self._state.agreements():
            if host == heir.new:
                # Whoever had the identity may have given one. What stands the heir shows again, with the terms.
                self._state.deeds.drop_notice(agreement, heir.old)
        _log.warning("a host goes on as another", old=shorten_peer_id(heir.old), new=shorten_peer_id(heir.new))
        for record in self._state.requests_of(Direction.OUT, heir.old):
            if record.state in UNDECIDED:
                self._state.put_request(replace(record, peer=heir.new))

    def _list_due(self, heir: Heir) -> dict[AgreementId, bytes]:
        """Return the agreements with who was succeeded that can follow, as this host knows their owner."""
        found = {agreement: signed for agreement, signed in self._rows(heir.old).items() if _names(signed, heir)}
        return {a: signed for a, signed in found.items() if peek_statement(Agreement, signed).owner == self._keys.peer}

    def _rows(self, host: PeerId) -> dict[AgreementId, bytes]:
        return {agreement: signed for agreement, peer, signed in self._state.agreements() if peer == host}

    def _explain(self, heir: Heir) -> PeerUnreachable:
        newest = self._heirs.newest(heir.new)
        name, new = name_of(self._state, newest), shorten_peer_id(newest)
        error = PeerUnreachable(
            f"{name} goes on as {new}: nothing is sent to {shorten_peer_id(heir.old)} any more, or read from it",
            hint="the same again goes to the new identity; `backup-peer status` says whether that is there",
        )
        if self._heirs.is_contested(newest):
            error.exit_code = ExitCode.AUTHENTICATION
        return error


def _is_next(rows: dict[AgreementId, bytes], signed: bytes) -> bool:
    terms = peek_statement(Agreement, signed)
    known = rows.get(AgreementId(terms.agreement))
    return known is not None and terms.revision == peek_statement(Agreement, known).revision + 1


def _names(signed: bytes, heir: Heir) -> bool:
    return peek_statement(Agreement, signed).ext.get(HOST_AUTHORITY) == heir.authority
