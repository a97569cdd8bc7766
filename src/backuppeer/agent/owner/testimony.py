"""What a host signs of itself when its owner asks: which head it holds, which packs it keeps, which it lost.

Knows: questions, answers, what in them must agree with what was asked. Must not know: what follows from it. All that is
returned is verified; nothing is kept here.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from backuppeer.agent.home.deeds import Deeds
from backuppeer.agent.owner.hosts_of_before import open_kept
from backuppeer.agent.peers.channel import Channel
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.peers.retry import retry
from backuppeer.clock import Clock
from backuppeer.errors import ProtocolViolation, Refusal, RefusedError, StoreBusy, StoreUnavailable, Unavailable
from backuppeer.ids import AgreementId, PeerId, StoredId
from backuppeer.limits import AUDIT_PATIENCE_S, LOSS_PAGES
from backuppeer.proof.custody import HeadHeld, LossReport, StoreAck, hash_signed, open_bound, open_packs
from backuppeer.proof.statements import ZERO_HASH
from backuppeer.wire.auditing import Acked, AckPacks, GetLosses, Losses, LossRow
from backuppeer.wire.codes import RefusalCode, classify_refusal
from backuppeer.wire.fields import Message
from backuppeer.wire.messages import GetHead, HeadIs, Refused, Unsupported

M = TypeVar("M", bound=Message)
T = TypeVar("T")


class MuteError(RefusedError):
    """The host's version knows no audits."""


class OverBudgetError(RefusedError):
    """More was asked for today than the agreement has: no evidence of anything."""


class StaleHeadError(RefusedError):
    """The host got another head, or revision, since it was asked."""


@dataclass(frozen=True, slots=True)
class Loss:
    """One report of a host: its number there, the signed statement, what it says, the packs that it is about."""

    number: int
    signed: bytes
    said: LossReport
    packs: tuple[StoredId, ...]


async def ask_again(step: Callable[[], Awaitable[T]], clock: Clock) -> T:
    """Run a step, and again for AUDIT_PATIENCE_S while the host is busy; all other weather passes at once.

    Raises:
        Unavailable: as the step, or it is still busy.

    """

    async def once() -> T | Unavailable:
        try:
            return await step()
        except StoreBusy:
            raise
        except Unavailable as exc:
            return exc

    result = await retry(once, clock, budget_s=AUDIT_PATIENCE_S)
    if isinstance(result, Unavailable):
        raise result
    return result


async def receive_answer(channel: Channel, kind: type[M], *, is_challenge: bool = False) -> M:
    """Return the answer to a question about what is kept. `is_challenge`: it names a head, and counts for a budget.

    Raises:
        MuteError: as it says.
        OverBudgetError, StaleHeadError: as they say; of a challenge alone.
        StoreBusy, StoreUnavailable: it can't answer just now.
        RefusedError: another no.
        ProtocolViolation: another kind, or malformed.
        PeerUnreachable: it went away.

    """
    message = await channel.receive_any()
    if isinstance(message, kind):
        return message
    if isinstance(message, Unsupported):
        hint = "ask its human to update backup-peer"
        raise MuteError("its version of backup-peer can't be audited", hint=hint, refusal=Refusal.ALLOWED)
    if isinstance(message, Refused):
        raise _explain(message, classify_refusal(message.code, is_read=True, is_challenge=is_challenge))
    raise ProtocolViolation(f"got {type(message).__name__} where {kind.__name__} was due")


def _explain(refused: Refused, refusal: Refusal) -> RefusedError | StoreUnavailable:
    # Its words are quoted; its hint is not shown: a peer must not advise our person.
    text = f'the peer says: "{refused.message or "no"}"'
    match refused.code:
        case RefusalCode.OVER_BUDGET if refusal is Refusal.ALLOWED:
            return OverBudgetError(text, hint="ask again tomorrow", refusal=refusal)
        case RefusalCode.STALE if refusal is Refusal.ALLOWED:
            return StaleHeadError(text, refusal=refusal)
        case RefusalCode.BUSY:
            return StoreBusy(text, hint="try again in a moment")
        case RefusalCode.STORE_UNAVAILABLE:
            return StoreUnavailable(text, hint="its disk is away; its human can tell, and the next audit asks again")
        case _:
            return RefusedError(text, hint="ask its human why", refusal=refusal)


async def hear_head(partner: Partner, *, terms: bytes, receipt: bytes, nonce: bytes) -> tuple[HeadIs, HeadHeld | None]:
    """Return the head that a host holds, unverified, and its signed word on that; None from a host of before.

    terms: hash of the revision in force. receipt: its newest countersignature, b"" for none. nonce: 16 fresh bytes.

    Raises:
        AuthenticationFault, ProtocolViolation: its word is not its own, or not about what it shows, or not new.
        RefusedError, Unavailable: as `receive_answer`.

    """
    try:
        held = await _ask_head(partner, receipt, nonce)
    except RefusedError as exc:
        if exc.refusal is not Refusal.FAULT or not receipt:
            raise
        # A receipt that is none of it may be refused: this home may have it from somebody who lied. The head may not.
        receipt = b""
        held = await _ask_head(partner, receipt, nonce)
    if not held.held:
        return held, None
    said = open_bound(HeadHeld, held.held, partner.peer, agreement=partner.agreement)
    # The nonce: else it could show a word that it gave when it still held that head.
    if said.nonce != nonce or said.receipt != (hash_signed(receipt) if receipt else ZERO_HASH):
        raise ProtocolViolation("its word on the head that it holds is not an answer to the question")
    if said.terms != terms:
        raise StaleHeadError("it holds another revision of the agreement than this home", refusal=Refusal.ALLOWED)
    return held, said


async def _ask_head(partner: Partner, receipt: bytes, nonce: bytes) -> HeadIs:
    session = await partner.session()
    question = GetHead(agreement=partner.agreement, receipt=receipt, nonce=nonce)
    async with session.request(question) as channel:
        return await receive_answer(channel, HeadIs)


async def ask_ack(
    partner: Partner, packs: Sequence[StoredId], clock: Clock
) -> tuple[bytes, StoreAck, tuple[StoredId, ...]] | None:
    """Return a host's signed word that it keeps some of at most ACK_PACKS packs, and of which; None: of none of them.

    Raises:
        AuthenticationFault, ProtocolViolation: it is not its word, or about packs that were not asked for.
        RefusedError, Unavailable: as `receive_answer`.

    """
    answer = await ask_again(partial(_ask_ack, partner, packs), clock)
    if not answer.packs:
        return None
    said = open_packs(StoreAck, answer.signed, answer.packs, host=partner.peer, agreement=partner.agreement)
    if not set(answer.packs) <= set(packs):
        raise ProtocolViolation("it acknowledges packs that it was not asked for")
    return answer.signed, said, answer.packs


async def _ask_ack(partner: Partner, packs: Sequence[StoredId]) -> Acked:
    session = await partner.session()
    async with session.request(AckPacks(agreement=partner.agreement, packs=tuple(packs))) as channel:
        return await receive_answer(channel, Acked)


async def read_losses(partner: Partner, after: int, clock: Clock, deeds: Deeds) -> AsyncIterator[Loss]:
    """Yield a host's reports of lost packs that are numbered above `after`, at most LOSS_PAGES pages of them.

    deeds: tell who the host was when it signed them.

    Raises:
        AuthenticationFault, ProtocolViolation: they are not its word, or not in order.
        RefusedError, Unavailable: as `receive_answer`.

    """
    for _ in range(LOSS_PAGES):
        page = await ask_again(partial(_read_page, partner, after), clock)
        for row in page.reports:
            if row.number <= after:
                raise ProtocolViolation("the host's loss reports are out of order")
            after = row.number
            said = open_kept(deeds, partner.agreement, partner.peer, partial(_open_report, row, partner.agreement))
            yield Loss(row.number, row.signed, said, row.packs)
        if not page.more or not page.reports:
            return


def _open_report(row: LossRow, agreement: AgreementId, host: PeerId) -> LossReport:
    return open_packs(LossReport, row.signed, row.packs, host=host, agreement=agreement)


async def _read_page(partner: Partner, after: int) -> Losses:
    session = await partner.session()
    async with session.request(GetLosses(agreement=partner.agreement, after=after)) as channel:
        return await receive_answer(channel, Losses)
