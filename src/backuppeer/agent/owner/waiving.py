"""What this home's 24 words can let go early at a host: told to it, and what it came to (ADR 52).

Knows: what lies there as deleted, own notices, what a waiver is about. Must not know: the words; the command signs.
What is shown to a person is what the host lists now, and is named in what they sign: nothing else can go by it.
"""

import asyncio
import math
import shlex
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.home.state import State
from backuppeer.agent.owner.deleted import Ends, list_deleted
from backuppeer.agent.owner.ending import Ending
from backuppeer.agent.owner.listening import ask_within
from backuppeer.agent.owner.repository import Repository
from backuppeer.agent.owner.revising import Revising
from backuppeer.agent.peers.channel import error_of
from backuppeer.agent.peers.names import name_of
from backuppeer.agent.peers.partners import Partner, Reach
from backuppeer.agent.peers.retry import retry
from backuppeer.clock import Clock
from backuppeer.errors import NotFoundError, PeerFault, RefusedError
from backuppeer.host.hold import held_s
from backuppeer.ids import AgreementId, PeerId, StoredId
from backuppeer.limits import WAIVER_RETRY_S
from backuppeer.proof.merkle import root_of_set
from backuppeer.proof.revisions import SECOND_MS
from backuppeer.proof.statements import Agreement, peek_statement, statement_hash
from backuppeer.proof.waivers import EndWaiver
from backuppeer.wire.codes import RefusalCode
from backuppeer.wire.messages import GetUsage, Refused, Usage
from backuppeer.wire.terms import GiveWaiver, WaiverTaken

_SENT: Final = "waiver.end."
"""Before the id of an agreement: the word to end it, sent, and not answered yet."""


class Standing(NamedTuple):
    """One agreement as it stands at its host: what would go early, and what a waiver must name.

    terms: hash of the revision in force. packs, size_bytes: deleted packs there; root: of the set of their ids.
    last_s: in how many seconds the last of them goes anyway. notice: number of our notice that ends it, 0 if none does.
    used_bytes: all that lies there.
    """

    agreement: AgreementId
    terms: bytes
    lock_s: int
    packs: int
    size_bytes: int
    root: bytes
    last_s: int
    notice: int
    used_bytes: int

    @property
    def is_mass(self) -> bool:
        """Whether some of it is held longer since much was deleted at once."""
        return self.last_s > self.lock_s


class Waiving:
    """Waivers about this home's agreements as owner."""

    def __init__(
        self, state: State, keys: HomeKeys, clock: Clock, *, reach: Reach, revising: Revising, ending: Ending
    ) -> None:
        self._state, self._keys, self._clock, self._reach = state, keys, clock, reach
        self.revising, self.ending = revising, ending

    async def look(self, host: PeerId, *, wait_s: float = math.inf) -> list[Standing]:
        """Ask a host how all agreements with it stand; it is waited for no longer than `wait_s`.

        Raises:
            NotFoundError: there is none.
            PeerFault: it shows other terms than were agreed on, or no proper list.
            Unavailable: it can't be reached.

        """

        async def ask() -> list[Standing]:
            await self.revising.compare(host)
            await self.ending.tell(await self._reach.session(host))
            name = name_of(self._state, host)
            return [await self._look(Partner(each, host, name, self._reach)) for each in self._with(host)]

        asking = retry(ask, self._clock, budget_s=WAIVER_RETRY_S)
        return await ask_within(wait_s, asking, name_of(self._state, host))

    async def lower(self, host: PeerId, waiver: bytes) -> Agreement:
        """Have a lock lowered; as `Revising.lower`."""
        return await retry(partial(self.revising.lower, host, waiver), self._clock, budget_s=WAIVER_RETRY_S)

    async def give(self, host: PeerId, agreement: AgreementId, signed: bytes) -> WaiverTaken:
        """Tell a host what the authority allows it.

        A host that knows no such agreement has let go of it: that is what a word to end it is for, so it is done. Such
        a word is kept before it is sent: when the answer is lost, `finish` asks for it again.

        Raises:
            RefusedError: it says no, or is of a version that knows no such words.
            Unavailable: it can't be reached, or did not answer: it may have heard.

        """

        async def tell() -> WaiverTaken:
            session = await self._reach.session(host)
            async with session.request(GiveWaiver(agreement=agreement, signed=signed)) as channel:
                answer = await channel.receive(WaiverTaken, Refused)
            if isinstance(answer, WaiverTaken):
                return answer
            if answer.code == RefusalCode.NOT_FOUND and _is_end(signed):
                return WaiverTaken()
            raise error_of(answer)

        if _is_end(signed):
            self._state.put_setting(_SENT + agreement.hex(), signed)
        taken = await retry(tell, self._clock, budget_s=WAIVER_RETRY_S)
        self._state.put_setting(_SENT + agreement.hex(), b"")
        return taken

    async def finish(self, host: PeerId) -> list[AgreementId]:
        """Give again what a host was told to end and did not answer; return the agreements that are over by it.

        What it refuses now, since the notice was taken back for example, is void.

        Raises:
            Unavailable: as `give`.

        """
        over = []
        for agreement in self._with(host):
            signed = self._state.setting(_SENT + agreement.hex())
            if not signed:
                continue
            try:
                await self.give(host, agreement, signed)
            except RefusedError:
                self._state.put_setting(_SENT + agreement.hex(), b"")
            else:
                self.ending.hasten(agreement)
                over.append(agreement)
        return over

    async def note_purged(self, host: PeerId, repository: Repository) -> None:
        """Bring the ledger in line with what a host still holds as deleted: what it lists no more is gone.

        Raises:
            ProtocolViolation, Unavailable: as `list_deleted`.

        """
        for agreement in self._with(host):
            left = dict[StoredId, int]()
            partner = Partner(agreement, host, name_of(self._state, host), self._reach)
            async for rows in list_deleted(partner, self._clock):
                left |= {row.stored: row.left_s for row in rows}
            await asyncio.to_thread(self._enter, repository, agreement, left)

    def _enter(self, repository: Repository, agreement: AgreementId, left: Mapping[StoredId, int]) -> None:
        most_s, now_ms = held_s(self._terms(agreement).lock_s, is_doubled=True), self._clock.now_ms()
        ends, gone = Ends(repository), []
        for copy in list(repository.ledger.doomed_at(agreement, is_told=True)):
            if copy.stored in left:
                ends.add(copy, now_ms + max(1, min(left[copy.stored], most_s)) * SECOND_MS)
            else:
                gone.append(copy)
        ends.write()
        repository.ledger.forget_copies(gone)

    async def _look(self, partner: Partner) -> Standing:
        ids, size_bytes, last_s = list[StoredId](), 0, 0
        async for rows in list_deleted(partner, self._clock):
            ids += [row.stored for row in rows]
            size_bytes += sum(row.size for row in rows)
            last_s = max([last_s, *(row.left_s for row in rows)])
        session = await partner.session()
        async with session.request(GetUsage(agreement=partner.agreement)) as channel:
            usage = await channel.receive(Usage)
        terms = self._terms(partner.agreement)
        own = [heard.notice for heard in self._state.deeds.own_notices(partner.agreement)]
        return Standing(
            agreement=partner.agreement,
            terms=statement_hash(self._signed(partner.agreement)),
            lock_s=terms.lock_s,
            packs=len(ids),
            size_bytes=size_bytes,
            root=root_of_set(ids),
            last_s=last_s,
            notice=next((notice.number for notice in own if notice.ends), 0),
            used_bytes=usage.used_bytes,
        )

    def is_host(self, peer: PeerId) -> bool:
        """Return whether an agreement with a peer is known here."""
        return bool(self._with(peer))

    def _with(self, host: PeerId) -> list[AgreementId]:
        return [agreement for agreement, peer, _ in self._state.agreements() if peer == host]

    def _terms(self, agreement: AgreementId) -> Agreement:
        return peek_statement(Agreement, self._signed(agreement))

    def _signed(self, agreement: AgreementId) -> bytes:
        for name, _, signed in self._state.agreements():
            if name == agreement:
                return signed
        raise NotFoundError("no such agreement", hint="see `backup-peer peers`")


def _is_end(signed: bytes) -> bool:
    with suppress(PeerFault):
        peek_statement(EndWaiver, signed)
        return True
    return False


def check_purgeable(found: list[Standing], *, is_end: bool, name: str) -> list[Standing]:
    """Return what of it can go early: deleted packs, or where `is_end` the agreements that we ended.

    Raises:
        RefusedError: nothing can.

    """
    wanted = [each for each in found if (each.notice if is_end else each.packs)]
    if wanted:
        return wanted
    if is_end:
        raise RefusedError(
            f"the agreement with {name} goes on: all of it goes early only after you ended it",
            hint=f"`backup-peer peers end {shlex.quote(name)}` first; what is deleted there goes with `--deleted`",
        )
    raise RefusedError(f"nothing is deleted at {name}", hint=f"`backup-peer peers` shows what {name} keeps")
