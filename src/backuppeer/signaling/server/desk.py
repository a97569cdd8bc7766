"""Desk: answers one connection's messages, as the table of roles allows.

Knows: messages, the engine, the notes, who attends which inbox here. Must not know: addresses, what sealed messages
say. It learns of a publisher what the listing says, of a viewer that it views, of a depositor which inbox it writes to,
of a recovery inbox its name. Logs name a connection by a random number.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Final

from websockets.exceptions import ConnectionClosed

from backuppeer import limits
from backuppeer.clock import Clock
from backuppeer.crypto.digest import Domain, hash_bytes
from backuppeer.crypto.identity import Purpose, verify_signature
from backuppeer.crypto.stamp import day_of, holds
from backuppeer.errors import LocalError, PeerFault, ProtocolViolation, Unavailable
from backuppeer.signaling.listing import ListingKind, open_listing
from backuppeer.signaling.messages import (
    CHALLENGE_BYTES,
    Answer,
    AskRelay,
    Browse,
    Challenge,
    CloseCode,
    Deposit,
    Deposited,
    InboxOpen,
    LeaveNote,
    Message,
    Noted,
    NoteIs,
    OpenInbox,
    OpenNote,
    Page,
    ProveInbox,
    ProveNote,
    Publish,
    Published,
    Refusal,
    Request,
    Taken,
    WorkWanted,
    decode_request,
    encode,
    inbox_proof_blob,
    next_role,
)
from backuppeer.signaling.note import deposit_blob
from backuppeer.signaling.server.caps import Caps
from backuppeer.signaling.server.connection import Connection
from backuppeer.signaling.server.engine import Engine, Put, Shown, Stored
from backuppeer.signaling.server.guest import Guest
from backuppeer.signaling.server.load import Load
from backuppeer.signaling.server.metrics import Metrics
from backuppeer.signaling.server.notes import Notes
from backuppeer.signaling.server.postage import Postage
from backuppeer.signaling.server.rate import TokenBucket
from backuppeer.signaling.server.tolls import Tolls
from backuppeer.signaling.server.visit import Closing, Visit
from backuppeer.signaling.stamping import is_timely

LOG: Final = logging.getLogger("backuppeer.signaling.server")
Pause = Callable[[float], Awaitable[None]]
_TOLLED: Final[dict[type, str]] = {Publish: "publish", Deposit: "deposit", Browse: "browse", OpenInbox: "inbox"}
_BREACHES: Final = frozenset({CloseCode.MALFORMED, CloseCode.UNPROVEN})
_REFUSALS: Final = {Put.STALE: Refusal.STALE, Put.FULL: Refusal.FULL}
_DEPOSITED: Final = encode(Deposited())
_NOTED: Final = encode(Noted())


class Desk:
    """Serves all connections of one process."""

    def __init__(self, engine: Engine, notes: Notes, caps: Caps, *, clock: Clock, pause: Pause = asyncio.sleep) -> None:
        self._engine = engine
        self._notes = notes
        self._caps = caps
        self._clock = clock
        self._pause = pause
        self._tolls, self._load = Tolls(engine, caps), Load(caps, clock=clock)
        self._postage = Postage(caps, clock=clock)
        self.metrics = Metrics()
        self._attended: dict[bytes, Visit] = {}
        self._publishing: set[Visit] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def receive(self, connection: Connection, guest: Guest) -> None:
        """Answer what comes over a connection until it ends."""
        bucket = TokenBucket(self._caps.messages_per_s, self._caps.messages_burst, clock=self._clock)
        visit = Visit(connection, guest, bucket, self._work)
        connection.attend(visit)
        visit.wait(self._caps.silence_s)

    async def _work(self, visit: Visit) -> None:
        """Answer what waits, and return: a connection that idles has no task."""
        visit.wake()
        try:
            await self._serve_waiting(visit)
        except Closing as end:
            await self._close(visit, end)
        except ConnectionClosed:
            pass  # a dropped connection is everyday weather
        if visit.connection.is_lost:
            await self._leave(visit)
        else:
            visit.wait(self._caps.silence_s)

    async def _serve_waiting(self, visit: Visit) -> None:
        while (data := visit.connection.take()) is not None:
            await self._serve_one(visit, data)
        if visit.is_silent:
            raise Closing(CloseCode.SILENT, f"nothing useful for {self._caps.silence_s:g} s")

    def arrived(self, inbox: bytes, stored: Stored) -> None:
        """Push a message to the socket that attends its inbox (see `Ears`).

        Later: it must not show through the time of the depositor's answer.
        """
        owner = self._attended.get(inbox)
        if owner is not None:
            asyncio.get_running_loop().call_soon(self._push, owner, stored)

    def displaced(self, inbox: bytes) -> None:
        """Close the socket whose inbox was opened at another node."""
        former = self._attended.pop(inbox, None)
        if former is not None:
            self._spawn(former.connection.close(CloseCode.TAKEN_OVER, "the inbox was opened by another socket"))

    def forgotten(self) -> None:
        """Send all who publish or attend away: they come back by themselves, each at a time of its own."""
        for visit in [*self._publishing, *self._attended.values()]:
            self._spawn(visit.connection.close(CloseCode.BUSY, "busy: come back and publish again"))

    async def finish(self) -> None:
        """Wait for what was begun for connections that have ended."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def update_metrics(self) -> None:
        """Read the figures that are not counted as they change."""
        self.metrics.is_whole.set(self._engine.is_whole())
        self.metrics.stamp_bits.set(self._load.bits())
        self.metrics.message_bits.set(self._postage.bits())
        self.metrics.notes.set(self._notes.count())
        with suppress(Unavailable):
            self.metrics.slots.set(await self._engine.count())

    async def _close(self, visit: Visit, end: Closing) -> None:
        self.metrics.closed.labels(end.code).inc()
        LOG.warning("connection %012x closed with %d: %s", visit.number, end.code, end.reason)
        if end.code in _BREACHES and visit.guest.strike():
            LOG.warning("connection %012x was one breach too many: its network is kept out for a while", visit.number)
        await visit.connection.close(end.code, end.reason)

    async def _serve_one(self, visit: Visit, data: bytes | str) -> None:
        wait_s = visit.bucket.take()
        if wait_s > 0:
            self._note_fast(visit)
            await self._pause(wait_s)
            if visit.connection.is_lost:  # else its end would wait for all the pauses of what it sent
                raise visit.connection.closed
        try:
            request = decode_request(data)
            role = next_role(visit.role, request)
            await self._admit(visit, request)
            await self._answer(visit, request)
        except ProtocolViolation as exc:
            raise Closing(CloseCode.MALFORMED, exc.message[:100]) from exc
        visit.role = role
        self.metrics.messages.labels(type(request).__name__).inc()

    async def _admit(self, visit: Visit, request: Request) -> None:
        kind = _TOLLED.get(type(request))
        try:
            if kind is None or await self._tolls.admits_network(kind, visit.guest.name_network):
                return
        except Unavailable:
            return  # whoever needs the store finds out there; pages are handed out without it
        self.metrics.refused.labels("network").inc()
        raise Closing(CloseCode.TOO_MANY, "too many from this network")

    def _note_fast(self, visit: Visit) -> None:
        if not visit.was_fast:
            LOG.info("connection %012x slowed to %g messages/s", visit.number, self._caps.messages_per_s)
        visit.was_fast = True

    async def _answer(self, visit: Visit, request: Request) -> None:
        try:
            await self._answer_whole(visit, request)
        except Unavailable as exc:
            self.metrics.refused.labels("busy").inc()
            if isinstance(request, Publish):
                await self._send(visit, Published(accepted=False, code=Refusal.BUSY))
            raise Closing(CloseCode.BUSY, "busy: go elsewhere, or come back") from exc

    async def _answer_whole(self, visit: Visit, request: Request) -> None:
        match request:
            case Publish(listing=signed, stamp=stamp):
                await self._send(visit, await self._publish(visit, signed, stamp))
            case Browse(cursor=cursor, limit=limit):
                rows, onward, total = await self._engine.page(cursor, limit)
                await self._send(visit, Page(rows, onward, total))
            case Deposit():
                await self._deposit(visit, request)
            case OpenInbox(inbox=inbox) | OpenNote(inbox=inbox):
                visit.inbox, visit.nonce = inbox, os.urandom(CHALLENGE_BYTES)
                await self._send(visit, Challenge(visit.nonce))
            case ProveInbox(signature=signature):
                await self._open_inbox(visit, signature)
            case LeaveNote():
                await self._leave_note(visit, request)
            case ProveNote(signature=signature):
                await self._show_note(visit, signature)
            case AskRelay(transport=transport):
                await self._send(visit, visit.guest.admit(transport))
            case Taken(number=number):
                await self._take(visit, number)

    async def _publish(self, visit: Visit, signed: bytes, stamp: bytes) -> Published:
        now_ms = self._clock.now_ms()
        try:
            opened = open_listing(signed, now_ms)
        except PeerFault as exc:
            LOG.info("connection %012x published what doesn't hold: %s", visit.number, exc.message)
            return Published(accepted=False, code=Refusal.INVALID)
        if visit.peer not in (b"", opened.peer):
            # One peer per socket: so the holders of all listings are never more than the connections.
            raise ProtocolViolation("a socket publishes for one peer")
        is_known = await self._engine.has_seen(opened.peer)
        if not is_known and not self._is_worked_for(visit, opened.peer, stamp):
            self.metrics.refused.labels("stamp").inc()
            return Published(accepted=False, code=Refusal.STAMP, bits=self._load.ask())
        # What anybody may replay costs the key nothing: only its holder signs a higher number.
        is_newer = await self._engine.is_newer(opened.peer, opened.listing.seq)
        if is_newer and not await self._tolls.admits_key(opened.peer):
            raise Unavailable("this key publishes too often")
        visit.peer = opened.peer
        self._publishing.add(visit)
        shown = Shown(
            peer=opened.peer,
            seq=opened.listing.seq,
            signed=signed,
            digest=hash_bytes(Domain.STATEMENT, signed),
            is_slot=opened.listing.kind is ListingKind.SLOT,
            life_s=(opened.listing.expires_ms - now_ms) / 1000 + limits.CLOCK_SKEW_S,
        )
        put = await self._engine.put_listing(shown, visit.number)
        if put is Put.ACCEPTED:
            await self._engine.see(opened.peer)
        if put is Put.ACCEPTED and not is_known:
            self._load.note_new_key()
        return Published(accepted=put is Put.ACCEPTED, code=_REFUSALS.get(put, ""))

    def _is_worked_for(self, visit: Visit, peer: bytes, stamp: bytes) -> bool:
        """Return whether a new key has shown the work that it must."""
        bits = self._load.least()
        if not bits:
            return True
        is_timely_one = bool(stamp) and is_timely(day_of(stamp), self._clock.now_ms())
        return is_timely_one and holds(stamp, peer, visit.guest.origin, bits)

    async def _deposit(self, visit: Visit, request: Deposit) -> None:
        """Store and answer; the answer's bytes are the same whatever became of a message that owes nothing."""
        try:
            visit.due = self._postage.collect(visit.due, request, visit.guest.origin)
        except PeerFault as exc:
            raise Closing(CloseCode.UNPROVEN, exc.message) from exc
        if visit.due is not None:
            self.metrics.refused.labels("work").inc()
            await self._send(visit, WorkWanted(visit.due.bits, visit.due.challenge))
            return
        if await self._tolls.admits_inbox(request.inbox):
            await self._engine.deposit(request.inbox, request.sealed)
        await visit.connection.send(_DEPOSITED)

    def _push(self, owner: Visit, stored: Stored) -> None:
        """Send a message without waiting; what there is no room for stays in the inbox, and all that comes after it."""
        if owner.missed or not owner.connection.post(encode(Message(stored.number, stored.sealed))):
            owner.missed = min(owner.missed or stored.number, stored.number)

    async def _take(self, visit: Visit, number: int) -> None:
        """Forget a message, and send what was left behind."""
        await self._engine.take(visit.inbox, number)
        if visit.missed and visit.connection.has_room:
            missed, visit.missed = visit.missed, 0
            for stored in await self._engine.waiting(visit.inbox):
                if stored.number >= missed:
                    self._push(visit, stored)

    async def _leave_note(self, visit: Visit, request: LeaveNote) -> None:
        """Keep a note and answer; the answer's bytes are the same whatever became of it.

        That the signature holds under the very name of the inbox is all there is to know: who can sign for it may write
        in it, and who can't learns nothing of whether it is there.
        """
        network = visit.guest.name_noter()
        if network is None:
            raise Closing(CloseCode.TOO_MANY, "too many notes from this network")
        blob = deposit_blob(request.inbox, request.number, request.sealed)
        try:
            verify_signature(request.inbox, Purpose.RECOVERY_DEPOSIT, blob, request.signature)
        except PeerFault as exc:
            raise Closing(CloseCode.UNPROVEN, "the note is not signed for this inbox") from exc
        try:
            now_ms = self._clock.now_ms()
            await self._notes.put(request.inbox, request.number, request.sealed, now_ms=now_ms, network=network)
        except LocalError as exc:
            LOG.error("a note can't be kept: %s", exc.message)  # noqa: TRY400 - the traceback says no more
            raise Closing(CloseCode.FULL, "can't keep notes now") from exc
        await visit.connection.send(_NOTED)

    async def _show_note(self, visit: Visit, signature: bytes) -> None:
        self._check_proof(visit, Purpose.RECOVERY_INBOX, signature)
        inbox, visit.inbox = visit.inbox, b""
        try:
            sealed = await self._notes.get(inbox, now_ms=self._clock.now_ms())
        except LocalError as exc:
            LOG.error("a note can't be read: %s", exc.message)  # noqa: TRY400 - the traceback says no more
            raise Closing(CloseCode.FULL, "can't read notes now") from exc
        # As many random bytes where there is none: sealed ones look no other to whoever watches the line.
        await self._send(visit, NoteIs(sealed or os.urandom(limits.NOTE_BYTES)))

    def _check_proof(self, visit: Visit, purpose: Purpose, signature: bytes) -> None:
        """Check an inbox proof against the one challenge that it answers; close the connection if it does not hold."""
        nonce, visit.nonce = visit.nonce, b""
        try:
            verify_signature(visit.inbox, purpose, inbox_proof_blob(nonce, visit.guest.origin, visit.inbox), signature)
        except PeerFault as exc:
            raise Closing(CloseCode.UNPROVEN, "the inbox proof does not hold") from exc

    async def _open_inbox(self, visit: Visit, signature: bytes) -> None:
        self._check_proof(visit, Purpose.INBOX, signature)
        if not await self._engine.open_inbox(visit.inbox):
            raise Closing(CloseCode.FULL, "too many inboxes")
        former = self._attended.get(visit.inbox)
        self._attended[visit.inbox] = visit
        if former is not None:
            # The newest proven socket wins: after a change of network the old one is dead without knowing.
            # In a task: its closing handshake may time out.
            self._spawn(former.connection.close(CloseCode.TAKEN_OVER, "the inbox was opened by another socket"))
        await self._send(visit, InboxOpen())
        for stored in await self._engine.waiting(visit.inbox):
            await self._send(visit, Message(stored.number, stored.sealed))

    async def _leave(self, visit: Visit) -> None:
        sent = visit.connection.closed.sent
        if sent is not None and sent.code == CloseCode.TOO_BIG:  # only a frame above our cap is worth a line
            LOG.warning("connection %012x closed: message above %d bytes", visit.number, self._caps.frame_bytes)
        self._publishing.discard(visit)
        if visit.peer:
            await self._engine.lose_holder(visit.peer, visit.number)
        if self._attended.get(visit.inbox) is visit:
            del self._attended[visit.inbox]
            await self._engine.leave_inbox(visit.inbox)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, visit: Visit, answer: Answer) -> None:
        await visit.connection.send(encode(answer))
