"""Requests of peers, answered: the host's side of a session (DESIGN 5, 6).

Knows: which request calls which part of the host store, and how a "no" becomes a Refused message. Must not know: how
sessions are made, what packs contain. Every request names an agreement, and the agreement must be the asking peer's.
Each stream is served by one task; disk work runs in threads.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import structlog

from backuppeer.agent.host.answering import Answering
from backuppeer.agent.host.egress import Egress
from backuppeer.agent.host.places import Places
from backuppeer.agent.host.premises import Premises
from backuppeer.agent.host.proving import Proving
from backuppeer.agent.host.telling import advise_peer, tell_peer
from backuppeer.agent.host.terms import TermsRequest
from backuppeer.agent.host.threads import in_thread, run_whole
from backuppeer.agent.peers.channel import Channel
from backuppeer.clock import SystemClock
from backuppeer.errors import (
    AuthenticationFault,
    BackupPeerError,
    IntegrityFault,
    LocalError,
    NotFoundError,
    PeerUnreachable,
    ProtocolViolation,
    RefusedError,
    StoreBusy,
    StoreUnavailable,
    Unavailable,
)
from backuppeer.host.incoming import Incoming
from backuppeer.host.parts import Parts
from backuppeer.host.quota import FullDiskError, OverdraftError
from backuppeer.host.reader import DamagedPackError, PackReader
from backuppeer.host.store import Store
from backuppeer.ids import AgreementId, PeerId, StoredId, shorten_peer_id
from backuppeer.limits import LEAF_BYTES, PACKS_READ_AT_ONCE, PACKS_RECEIVED_AT_ONCE, PART_AWAITED_S, PART_KEPT_S
from backuppeer.trust.tenants import Deed
from backuppeer.wire.auditing import AckPacks, AskAudit, GetDelete, GetLosses
from backuppeer.wire.codes import RefusalCode
from backuppeer.wire.fields import Message
from backuppeer.wire.messages import (
    Agreed,
    DeletePacks,
    FindDrafts,
    GetHead,
    GetRange,
    GetUsage,
    ListDeleted,
    ListPacks,
    Pending,
    Proceed,
    ProposeAgreement,
    PutHead,
    PutPack,
    Range,
    Refused,
    RevivePacks,
    Stored,
    Unsupported,
    WithdrawPacks,
)
from backuppeer.wire.receipts import AskOpinion, AskReceipts, GetMyReceipts, ProposeReceipt
from backuppeer.wire.recovering import GiveSlot, SlotKept
from backuppeer.wire.succeeding import Follow, Succeed
from backuppeer.wire.terms import GetTerms, GiveNotice, GiveWaiver, PutTerms

_log = structlog.get_logger()
Consider = Callable[[PeerId, bytes, bytes], bytes | Pending | None]
"""(owner, half-signed agreement, signature of its device or b"") → co-signed agreement; Pending with an offer, or
None: a person must decide."""
FindDebt = Callable[[PeerId], str]
"""Why nothing new is taken from an owner, "" if it is; called in a thread."""
OnTerms = Callable[[PeerId, Channel, TermsRequest], Awaitable[None]]
"""Answers requests about terms."""

ReceiptsRequest = ProposeReceipt | GetMyReceipts | AskReceipts | AskOpinion
OnSuccession = Callable[[PeerId, Channel, Succeed], Awaitable[None]]
"""Answers who goes on as another."""
OnFollowing = Callable[[PeerId, Channel, Follow], Awaitable[None]]
"""Answers an owner that follows this host to another identity."""
FindRefusal = Callable[[PeerId, Message], Refused | None]
"""The no to whatever a peer asks as an owner whom another succeeded (ADR 69); asks no disk."""
OnReceipts = Callable[[PeerId, Channel, ReceiptsRequest], Awaitable[None]]
"""Answers requests about receipts, and what others say of hosts."""

OnFault = Callable[[PeerId, BackupPeerError], None]
"""(peer, what it did wrong); called in a thread."""
OnDeed = Callable[[PeerId, Deed], None]
"""(owner, what it did that is of note)."""


class Serving:
    """Answers request streams of proven peers."""

    def __init__(
        self, premises: Premises, consider: Consider, on_fault: OnFault, on_deed: OnDeed = lambda *_: None
    ) -> None:
        self._premises, self._consider, self._on_fault, self._on_deed = premises, consider, on_fault, on_deed
        self.answering, self.proving, self.egress = Answering(premises), Proving(premises), Egress()
        self.find_debt: FindDebt = _owes_nothing
        self.keep_slot: Callable[[GiveSlot], None] = _keep_none
        self.on_terms: OnTerms = _know_no_terms
        self.on_receipts: OnReceipts = _know_no_receipts
        self.on_succession: OnSuccession = _know_no_succession
        self.on_following: OnFollowing = _know_no_heir
        self.find_refusal: FindRefusal = _refuse_none
        self._receiving, self._reading = Places(PACKS_RECEIVED_AT_ONCE), Places(PACKS_READ_AT_ONCE)
        self._parts = Parts(SystemClock())
        self._arriving: dict[tuple[AgreementId, StoredId], asyncio.Event] = {}

    async def serve(self, peer: PeerId, channel: Channel) -> None:
        """Answer the one request of this stream.

        Raises:
            ProtocolViolation: the peer broke the protocol; the session is to be closed.
            Unavailable: the peer went away.

        """
        message = await channel.receive_any()
        if isinstance(message, Unsupported):
            await channel.send(message)
        else:
            try:
                await self._answer(peer, channel, message)
            except AuthenticationFault as exc:
                # Who shows it has proven who it is, so it is no stranger's fault: a broken protocol of this very peer.
                raise ProtocolViolation(exc.message) from exc
        await channel.finish()
        await channel.wait_end()

    async def _answer(self, peer: PeerId, channel: Channel, message: Message) -> None:
        try:
            with self._premises.occupancy.using():
                await self._answer_one(peer, channel, message)
        except (RefusedError, StoreUnavailable, IntegrityFault, NotFoundError, LocalError) as exc:
            _log.info("request refused", peer=shorten_peer_id(peer), request=type(message).__name__, reason=exc.message)
            if isinstance(exc, DamagedPackError):
                self._premises.note(exc.message)
            if isinstance(exc, OverdraftError):
                self._on_deed(peer, Deed.OVERDRAWN)
            if not await channel.refuse(refusal_of(exc, is_put=isinstance(message, PutPack))):
                raise Unavailable(exc.message) from exc

    async def _answer_one(self, peer: PeerId, channel: Channel, message: Message) -> None:
        if isinstance(message, Succeed):
            # It looks through chains of revisions: as a read does, it waits for a place.
            async with self._reading.take(peer, is_newcomer=self._premises.is_newcomer(peer)):
                await self.on_succession(peer, channel, message)
        elif (refused := self.find_refusal(peer, message)) is not None:
            await channel.refuse(refused)
        elif isinstance(message, Follow):
            async with self._reading.take(peer, is_newcomer=self._premises.is_newcomer(peer)):
                await self.on_following(peer, channel, message)
        else:
            await self._answer_owner(peer, channel, message)

    async def _answer_owner(self, peer: PeerId, channel: Channel, message: Message) -> None:
        match message:
            case ProposeAgreement():
                await self._agree(peer, channel, message)
            case PutPack():
                async with self._receiving.take(peer, is_newcomer=self._premises.is_newcomer(peer)):
                    await self._put_pack(peer, channel, message)
            case PutHead() if message.drafts:  # up to HEAD_DRAFTS rows are looked for and written
                async with self._receiving.take(peer, is_newcomer=self._premises.is_newcomer(peer)):
                    await self.answering.answer(await self._admit(peer, message.agreement), channel, message)
            case GetRange():
                is_last = self._premises.is_newcomer(peer) or self.egress.is_beyond(message.agreement)
                async with self._reading.take(peer, is_newcomer=is_last):
                    store = await self._admit(peer, message.agreement)
                    await self._get_range(store, channel, message)
            case AckPacks() | AskAudit() | GetLosses() | GetDelete():
                async with self._reading.take(peer, is_newcomer=self._premises.is_newcomer(peer)):
                    await self.proving.answer(await self._admit(peer, message.agreement), channel, message)
            case (
                PutHead()
                | GetHead()
                | ListPacks()
                | GetUsage()
                | DeletePacks()
                | RevivePacks()
                | WithdrawPacks()
                | FindDrafts()
                | ListDeleted()
            ):
                await self.answering.answer(await self._admit(peer, message.agreement), channel, message)
                if isinstance(message, DeletePacks):
                    self._on_deed(peer, Deed.DELETED)
            case GetTerms() | PutTerms() | GiveNotice() | GiveWaiver() | GiveSlot():
                await self._answer_about(peer, channel, message)
            case ProposeReceipt() | GetMyReceipts() | AskReceipts() | AskOpinion():
                await self.on_receipts(peer, channel, message)
            case _:
                raise ProtocolViolation(f"a request stream opened with {type(message).__name__}")

    async def _answer_about(self, peer: PeerId, channel: Channel, message: TermsRequest | GiveSlot) -> None:
        """Answer what is about the agreement itself."""
        if isinstance(message, GiveSlot):
            await self._admit(peer, message.agreement)
            await in_thread(self.keep_slot, message)
            await channel.send(SlotKept())
        else:
            await self.on_terms(peer, channel, message)
            if isinstance(message, GiveNotice):
                self._on_deed(peer, Deed.NOTICED)

    async def _admit(self, peer: PeerId, agreement: AgreementId) -> Store:
        return await in_thread(self._premises.admit, peer, agreement)

    async def _agree(self, peer: PeerId, channel: Channel, message: ProposeAgreement) -> None:
        signed = await in_thread(self._consider, peer, message.signed, message.device_sig)
        answer = signed if isinstance(signed, Pending) else Pending() if signed is None else Agreed(signed=signed)
        await channel.send(answer)
        if isinstance(answer, Agreed):
            self._on_deed(peer, Deed.AGREED)

    async def _put_pack(self, peer: PeerId, channel: Channel, message: PutPack) -> None:
        store = await self._admit(peer, message.agreement)
        if await in_thread(store.has, message.agreement, message.stored):
            await channel.send(Stored())
            return
        if not message.is_list and (debt := await in_thread(self.find_debt, peer)):
            self._on_deed(peer, Deed.OWING)
            await channel.refuse(Refused(code=RefusalCode.OWED, message=debt[:200]))
            return
        async with self._incoming(store, message) as incoming:
            await channel.send(Proceed(have=incoming.received))
            await channel.receive_through(message.size - incoming.received, incoming.write)
            # Durable (fsync of file, leaves and folders) before the acknowledgement: the owner may forget its copy now.
            await self._commit(peer, incoming)
        await channel.send(Stored())

    @asynccontextmanager
    async def _incoming(self, store: Store, message: PutPack) -> AsyncIterator[Incoming]:
        """Reserve room for a pack while the block runs; then its room is free again, and what it did not commit gone.

        But what came before a cut is kept for an owner that goes on from there.
        """
        held: list[Incoming] = []
        key = AgreementId(message.agreement), StoredId(message.stored)
        async with self._in_turn(key, is_patient=message.resumes):
            try:
                # Held by the list at once: a result would be lost with its room when the session ends just now.
                await run_whole(lambda: held.append(self._receive(store, message)))
                if message.resumes and (part := await run_whole(partial(self._parts.take, *key))):
                    await run_whole(partial(held[0].go_on, part))
                yield held[0]
            except (PeerUnreachable, asyncio.CancelledError):
                for incoming in held if message.resumes else ():
                    await run_whole(partial(self._suspend, incoming, key))
                    asyncio.get_running_loop().call_later(PART_KEPT_S, self._expire)
                raise
            finally:
                for incoming in held:
                    await run_whole(incoming.abort)  # nothing to do after a commit

    @asynccontextmanager
    async def _in_turn(self, key: tuple[AgreementId, StoredId], *, is_patient: bool) -> AsyncIterator[None]:
        """Let the try before end first: its owner has left it, and this side may not know yet."""
        before, ended = self._arriving.get(key), asyncio.Event()
        self._arriving[key] = ended
        try:
            if is_patient and before is not None:
                with suppress(TimeoutError):
                    await asyncio.wait_for(before.wait(), PART_AWAITED_S)
            yield
        finally:
            ended.set()
            if self._arriving.get(key) is ended:
                del self._arriving[key]

    def _receive(self, store: Store, message: PutPack) -> Incoming:
        receive = partial(store.receive, message.agreement, message.stored, message.size)
        try:
            return receive(is_list=message.is_list, is_draft=message.is_draft)
        except FullDiskError:
            # Parts are nobody's: what they save is worth less than a pack, this one's own first bytes included.
            if not self._parts.drop_all():
                raise
            return receive(is_list=message.is_list, is_draft=message.is_draft)

    def _expire(self) -> None:
        asyncio.get_running_loop().run_in_executor(None, self._parts.expire)

    def _suspend(self, incoming: Incoming, key: tuple[AgreementId, StoredId]) -> None:
        if (part := incoming.suspend()) is not None:
            self._parts.keep(*key, part)

    async def _commit(self, peer: PeerId, incoming: Incoming) -> None:
        """Make a pack durable, or write down that its owner sent other bytes than it announced."""
        try:
            await run_whole(incoming.commit)
        except IntegrityFault as exc:
            # A broken protocol, not a loss: the owner harms nobody's data but its own. Evidence is capped per day.
            await in_thread(self._on_fault, peer, ProtocolViolation(exc.message))
            raise

    async def _get_range(self, store: Store, channel: Channel, message: GetRange) -> None:
        try:
            await self._send_range(store, channel, message)
        except DamagedPackError:
            # Durable before its owner is told, who may then ask for the report.
            await run_whole(lambda: self.proving.report(store, message.agreement, message.stored))
            raise

    async def _send_range(self, store: Store, channel: Channel, message: GetRange) -> None:
        async with _opened(store, message) as (reader, path):
            start = message.first_leaf * LEAF_BYTES
            end = min(reader.size, start + message.leaves * LEAF_BYTES)
            if self.egress.promised_bytes(store, message.agreement):
                await run_whole(lambda: self.egress.count(store, message.agreement, end - start))
            await channel.send(Range(size=end - start, pack_bytes=reader.size, path=tuple(path)))
            await channel.send_given(end - start, lambda offset, view: _read_exactly(reader, start + offset, view))


def _owes_nothing(owner: PeerId) -> str:
    del owner
    return ""


def _keep_none(message: GiveSlot) -> None:
    del message
    raise RefusedError("no recovery slots are kept here")


async def _know_no_terms(peer: PeerId, channel: Channel, message: TermsRequest) -> None:
    del peer, channel, message
    raise NotFoundError("no such agreement with you")


async def _know_no_succession(peer: PeerId, channel: Channel, message: Succeed) -> None:
    del peer, channel, message
    raise NotFoundError("no such agreement with you")


async def _know_no_heir(peer: PeerId, channel: Channel, message: Follow) -> None:
    del peer, channel, message
    raise NotFoundError("no such agreement with you")


def _refuse_none(peer: PeerId, message: Message) -> Refused | None:
    del peer, message
    return None


async def _know_no_receipts(peer: PeerId, channel: Channel, message: ReceiptsRequest) -> None:
    del peer, channel, message
    raise RefusedError("no receipts are kept here")


@asynccontextmanager
async def _opened(store: Store, message: GetRange) -> AsyncIterator[tuple[PackReader, list[bytes]]]:
    """Open a pack with the path of the leaves that are asked for, and close it again."""
    held: list[tuple[PackReader, list[bytes]]] = []
    try:
        await run_whole(lambda: held.append(_open_range(store, message)))
        yield held[0]
    finally:
        for reader, _ in held:
            reader.close()


def refusal_of(error: BackupPeerError, *, is_put: bool = False) -> Refused:
    """Return the message that tells a peer why not; nothing of a local error but that it is local."""
    match error:
        case StoreBusy():
            code = RefusalCode.BUSY
        case IntegrityFault() | DamagedPackError():
            code = RefusalCode.DAMAGED
        case StoreUnavailable() | LocalError():
            code = RefusalCode.STORE_UNAVAILABLE
        case NotFoundError():
            code = RefusalCode.NOT_FOUND
        case _:
            # Room is the only thing that a pack of an agreement in force is refused for.
            code = RefusalCode.QUOTA if is_put else RefusalCode.POLICY
    return Refused(code=code, message=tell_peer(error)[:200], hint=advise_peer(error)[:200])


def _open_range(store: Store, message: GetRange) -> tuple[PackReader, list[bytes]]:
    reader = store.open_pack(message.agreement, message.stored)
    try:
        leaves = -(-reader.size // LEAF_BYTES) - message.first_leaf
        return reader, reader.path(message.first_leaf, min(message.leaves, leaves))
    except BaseException:
        reader.close()
        raise


def _read_exactly(reader: PackReader, offset: int, view: memoryview) -> None:
    # Both ends were cut to the pack's size, so nothing but a file that became shorter can fill less; that raises.
    reader.readinto(offset, view)
