"""Own agreements ended by notice, of either side, and told of (ADR 45, `peers end`).

Knows: own notices, those that hosts gave, until when all is kept. Must not know: stores, packs. An owner's notice
counts from when its host has it; one that can't be reached now is told when it is met. Until all is over everything can
be read as before, and the notice be taken back. Untold is not unheard: what was sent stands until its host answers.
"""

import shlex
from typing import NamedTuple

import structlog

from backuppeer.agent.home.deeds import Heard
from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.home.state import State
from backuppeer.agent.owner.writer import Writer
from backuppeer.agent.peers.names import name_of
from backuppeer.agent.peers.partners import Reach
from backuppeer.agent.peers.session import Session
from backuppeer.clock import Clock, format_time
from backuppeer.errors import NotFoundError, PeerUnreachable, RefusedError, Unavailable, UserError
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import LISTING_TERM_S
from backuppeer.proof.notices import Notice, kept_s, open_notice, sign_notice
from backuppeer.proof.revisions import SECOND_MS, list_parties
from backuppeer.proof.statements import Agreement, peek_statement
from backuppeer.wire.terms import GiveNotice, NoticeTaken

_log = structlog.get_logger()


class Ended(NamedTuple):
    """What a notice came to: until when all is kept at least (0: it goes on), and whether the host has heard."""

    until_ms: int
    told: bool


class Ending:
    """Notices about this home's agreements as owner."""

    def __init__(self, state: State, keys: HomeKeys, clock: Clock, *, reach: Reach) -> None:
        self._state, self._keys, self._clock, self._reach = state, keys, clock, reach

    def plan(self, host: PeerId) -> int:
        """Return until when all would be kept at least if we gave notice now, in ms.

        Raises:
            NotFoundError: there is no agreement with this host.
            UserError: notice was given already.

        """
        found = self._with(host)
        if all(self._own(agreement).ends for agreement, _ in found):
            renew = f"`backup-peer peers renew {shlex.quote(name_of(self._state, host))}`"
            raise UserError(
                "you ended this agreement already",
                hint=f"{renew} takes that back until it is over",
            )
        return max(self._until(terms) for _, terms in found)

    def foresee(self, host: PeerId) -> Ended:
        """Return what a notice would come to if it were given now, or has come to.

        Raises:
            NotFoundError: there is no agreement with this host.

        """
        if self.is_ended_by_us(host):
            return self._outcome(host)
        return Ended(max(self._until(terms) for _, terms in self._with(host)), told=False)

    async def end(self, host: PeerId) -> Ended:
        """Give notice of every agreement with a host; as `plan`."""
        self.plan(host)
        return await self._turn(host, ends=True)

    async def end_once(self, host: PeerId) -> Ended:
        """Give notice as `end`, unless it stands: then say where it is."""
        return self._outcome(host) if self.is_ended_by_us(host) else await self._turn(host, ends=True)

    async def give(self, host: PeerId) -> Ended:
        """Give notice as `end`, and deliver what stands already to a host that has not heard of it."""
        told = self._outcome(host)
        return told if self.is_ended_by_us(host) and told.told else await self._turn(host, ends=True)

    async def take_back(self, host: PeerId) -> Ended:
        """Take own notices to a host back.

        Raises:
            NotFoundError: there is no agreement with this host.
            UserError: no notice was given.
            RefusedError: the host says that it is too late.
            PeerUnreachable: it may have heard of the notice, or not, and can't be asked now.

        """
        if not self.is_ended_by_us(host):
            raise UserError("you ended nothing that could be taken back", hint="see `backup-peer peers`")
        ended = await self._turn(host, ends=False)
        # The session may have shown one of ours that this home did not know to be heard: it is taken back as well.
        return await self._turn(host, ends=False) if self.is_ended_by_us(host) else ended

    def is_ended_by_us(self, host: PeerId) -> bool:
        """Return whether a notice of ours to a host stands."""
        return any(self._own(a).ends for a, peer, _ in self._state.agreements() if peer == host)

    async def tell(self, session: Session) -> None:
        """Tell a host of the notices that it has not heard of; for each session.

        Raises:
            RefusedError: it takes one for wrong.
            PeerUnreachable: it went away.

        """
        for agreement, host, _ in self._state.agreements():
            for heard in self._state.deeds.own_notices(agreement) if host == session.peer else ():
                if not heard.told:
                    await self._deliver(session, agreement, self._sign_anew(agreement, heard))

    def hear(self, host: PeerId, agreement: AgreementId, signed: bytes, left_s: int) -> None:
        """Take note of a host's notice, or of our own that it shows us; what is known already changes its end alone.

        Raises:
            NotFoundError: there is no such agreement with this host.
            PeerFault: not by a party of it.

        """
        current = next((s for a, peer, s in self._state.agreements() if a == agreement and peer == host), None)
        if current is None:
            raise NotFoundError("no such agreement with you")
        terms = peek_statement(Agreement, current)
        deeds = self._state.deeds
        notice = open_notice(signed, terms, *list_parties(deeds.after(agreement, 0)), *self._keys.names)
        if deeds.is_own(agreement, notice.party) and self._is_past(agreement, notice):
            return
        known = next((h for h in deeds.notices(agreement) if h.notice.party == notice.party), None)
        if known is not None and known.notice.number > notice.number:
            return
        now_ms = self._clock.now_ms()
        # Never sooner than was agreed on, from when we first heard of it, or than was told before: what a host says, of
        # the time left or of when it gave notice, can only make it longer.
        is_known = known is not None and known.notice.number == notice.number
        least_ms = (
            known.until_ms if known is not None and is_known else now_ms + kept_s(terms, notice.party) * SECOND_MS
        )
        until_ms = max(now_ms + min(left_s, LISTING_TERM_S) * SECOND_MS, least_ms) if notice.ends else 0
        deeds.put_notice(agreement, Heard(notice, signed, until_ms, told=True))

    def hasten(self, agreement: AgreementId) -> None:
        """Note that what our notice ended is over now: the host was allowed to erase it."""
        for heard in self._state.deeds.own_notices(agreement):
            if heard.notice.ends:
                self._state.deeds.put_notice(agreement, heard._replace(until_ms=self._clock.now_ms(), told=True))

    def settle(self) -> list[AgreementId]:
        """Let go of the agreements that are over, and return them: their hosts may have erased all."""
        now_ms, over = self._clock.now_ms(), []
        for agreement, _, _ in self._state.agreements():
            ending = self._state.deeds.ending(agreement)
            if ending is not None and ending.until_ms <= now_ms:
                self._state.end_agreement(agreement)
                over.append(agreement)
        return over

    async def _turn(self, host: PeerId, *, ends: bool) -> Ended:
        """Give the next notice of every agreement that is not so yet, kept here first."""
        if any((last := self._own(a)).is_unclear and last.ends != ends for a, _ in self._with(host)):
            await self._clear_up(host)
        for agreement, terms in self._with(host):
            last = self._own(agreement)
            if last.ends == ends:
                continue
            if not last.told:
                self._undo(agreement, last)  # it was never sent
                continue
            signed = sign_notice(agreement, self._keys.identity, last=last.number, time_ms=self._clock.now_ms())
            until_ms = self._until(terms) if ends else 0
            heard = Heard(peek_statement(Notice, signed), signed, until_ms, told=False, sent=False)
            # Kept before it is told: the number must not be given twice, with another time in it.
            self._state.deeds.put_notice(agreement, heard)
        try:
            await self.tell(await self._reach.session(host))
        except Unavailable as exc:
            _log.info("host not told of a notice yet", reason=exc.message[:200])
        except RefusedError:
            for agreement, _ in self._with(host):
                self._undo(agreement, self._own(agreement))
            raise
        return self._outcome(host)

    async def _clear_up(self, host: PeerId) -> None:
        """Send once more what a host may have heard or not, so that the next number is the one that it waits for.

        Raises:
            Unavailable: it can't be asked now, so nothing can follow yet.
            RefusedError: it takes it for wrong.

        """
        try:
            await self.tell(await self._reach.session(host))
        except Unavailable as exc:
            name = name_of(self._state, host)
            raise PeerUnreachable(
                f"{name} was sent your last notice but its answer was lost, and it can't be reached now: "
                "until it answers nothing changes",
                hint="try again once it is online (see `backup-peer status`)",
            ) from exc

    def _undo(self, agreement: AgreementId, last: "_Last") -> None:
        """Let our last notice never have been given, unless its host may have heard of it; numbers go on from there."""
        if last.told or last.is_unclear:
            return
        for heard in self._state.deeds.own_notices(agreement):
            self._state.deeds.drop_notice(agreement, heard.notice.party)
        if last.number > 1:
            # What the host has says the same: it took back the one before, or gave it.
            before = sign_notice(agreement, self._keys.identity, last=last.number - 2, time_ms=self._clock.now_ms())
            notice = peek_statement(Notice, before)
            until_ms = self._until(self._terms_of(agreement)) if notice.ends else 0
            self._state.deeds.put_notice(agreement, Heard(notice, before, until_ms, told=True))

    def _outcome(self, host: PeerId) -> Ended:
        own = [heard for agreement, _ in self._with(host) for heard in self._state.deeds.own_notices(agreement)]
        return Ended(max((h.until_ms for h in own), default=0), all(h.told for h in own))

    def _sign_anew(self, agreement: AgreementId, heard: Heard) -> Heard:
        """Return a notice that is untold as it is to be told: of the identity of now, or the host takes it from nobody.

        If the host has the one of before after all, it shows that with its terms, and it counts.
        """
        if heard.notice.party == self._keys.peer:
            return heard
        last = heard.notice.number - 1
        signed = sign_notice(agreement, self._keys.identity, last=last, time_ms=self._clock.now_ms())
        anew = heard._replace(notice=peek_statement(Notice, signed), signed=signed)
        self._state.deeds.put_notice(agreement, anew)
        return anew

    def _is_past(self, agreement: AgreementId, notice: Notice) -> bool:
        """Return whether a later notice of ours, under another name, is known: numbers go on over all names."""
        others = [h for h in self._state.deeds.own_notices(agreement) if h.notice.party != notice.party]
        # Of the same number that one counts which the host has.
        return any(h.notice.number + h.told > notice.number for h in others)

    async def _deliver(self, session: Session, agreement: AgreementId, heard: Heard) -> None:
        beside = Writer(self._state, self._keys).sign_beside(Notice, heard.signed)
        message = GiveNotice(agreement=agreement, signed=heard.signed, device_sig=beside)
        # Before it is sent: killed or cut off from here on, its host may have it.
        self._keep(agreement, heard._replace(sent=True))
        try:
            async with session.request(message) as channel:
                answer = await channel.receive(NoticeTaken)
        except RefusedError:
            self._keep(agreement, heard)  # not taken now; an earlier try may have been
            raise
        # Never sooner than was agreed on, whatever a host says: until then its copies are there to be asked for.
        until_ms = max(heard.until_ms, self._clock.now_ms() + min(answer.left_s, LISTING_TERM_S) * SECOND_MS)
        self._keep(agreement, heard._replace(told=True, sent=True, until_ms=until_ms if heard.notice.ends else 0))

    def _keep(self, agreement: AgreementId, heard: Heard) -> None:
        """Write down what became of our notice, unless the next was given meanwhile."""
        if self._own(agreement).number == heard.notice.number:
            self._state.deeds.put_notice(agreement, heard)

    def _own(self, agreement: AgreementId) -> "_Last":
        own = self._state.deeds.own_notices(agreement)
        if not own:
            return _Last()
        # Numbers go on over all who were the owner, so the highest is the last word, whatever the dates say.
        last = max(own, key=lambda heard: heard.notice.number)
        return _Last(last.notice.number, last.notice.ends, last.told, last.sent)

    def _terms_of(self, agreement: AgreementId) -> Agreement:
        return peek_statement(Agreement, self._state.deeds.after(agreement, 0)[-1])

    def _until(self, terms: Agreement) -> int:
        return self._clock.now_ms() + kept_s(terms, terms.owner) * SECOND_MS

    def _with(self, host: PeerId) -> list[tuple[AgreementId, Agreement]]:
        found = [(a, peek_statement(Agreement, signed)) for a, peer, signed in self._state.agreements() if peer == host]
        if not found:
            name = name_of(self._state, host)
            raise NotFoundError(
                f"{name} keeps no backups of yours",
                hint=f"ask it first: `backup-peer connect {shlex.quote(name)} --storage 10GB`",
            )
        return found


class _Last(NamedTuple):
    """Our last notice of an agreement."""

    number: int = 0
    ends: bool = False
    told: bool = True
    sent: bool = True

    @property
    def is_unclear(self) -> bool:
        """Return whether the host may have heard of it, or not."""
        return self.sent and not self.told


def describe_endings(state: State) -> list[str]:
    """Return a sentence for each agreement of ours that ends, for `status` and each backup."""
    said = []
    for agreement, host, _ in state.agreements():
        ending = state.deeds.ending(agreement)
        if ending is None:
            continue
        name, date = name_of(state, host), format_time(ending.until_ms)[:10]
        if state.deeds.is_own(agreement, ending.notice.party):
            untold = "" if ending.told else "; it could not be told yet, and is when it is met"
            said.append(f"you ended the agreement with {name}: it keeps all until {date} at least{untold}")
        else:
            said.append(
                f"{name} ends its agreement with you: it keeps all until {date} at least. Have your backups elsewhere "
                "by then: its copies count no more"
            )
    return said


def ending_hosts(state: State) -> set[PeerId]:
    """Return the hosts with an agreement that ends: their copies count no more."""
    return {host for agreement, host, _ in state.agreements() if state.deeds.ending(agreement) is not None}
