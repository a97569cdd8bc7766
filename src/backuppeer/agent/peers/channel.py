"""Messages on one transport stream: the async driver of wire.codec and of the request table (DESIGN 6).

Knows: frames in, frames out, raw bytes between them, time limits. Must not know: what any message means.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Literal, TypeVar, cast

from backuppeer.errors import PeerUnreachable, ProtocolViolation, Refusal, RefusedError, StoreBusy, StoreUnavailable
from backuppeer.limits import BLOCK_BYTES, BULK_STALL_S, GATHER_BYTES, GATHER_S, MIB, REPLY_S
from backuppeer.transport.base import Buffer, Give, MovesBulk, Stream, Take
from backuppeer.wire.codec import Frame, FrameReader
from backuppeer.wire.codes import RefusalCode, classify_refusal
from backuppeer.wire.fields import Message
from backuppeer.wire.messages import Refused, Unsupported
from backuppeer.wire.session import RequestStream, Speaker, State

M = TypeVar("M", bound=Message)
N = TypeVar("N", bound=Message)
OnPiece = Callable[[int], None]
_RAW_PIECE_BYTES: Final = MIB // 4
"""For streams that copy, as iroh's do: they are best with less than a MiB (FACTS)."""
_LOOK_S: Final = 1.0
"""How often is looked whether bulk moves in a thread."""
ABORT_CODE: Final = 1
FULL_HINT: Final = (
    "the agreed space is full: ask for more with `backup-peer peers resize PEER SIZE`, or agree with a further host, "
    "see `backup-peer browse`"
)
"""What to do when a peer has no room: what may be added to it knows who works with that peer."""
_HINTS: Final[dict[int, str]] = {
    RefusalCode.POLICY: "its person decides: ask there, or see `backup-peer browse` for another host",
    RefusalCode.QUOTA: FULL_HINT,
    RefusalCode.NO_AGREEMENT: "ask it again: `backup-peer connect PEER --storage 10GB`",
    RefusalCode.STORE_UNAVAILABLE: "its disk is away or full; its person can tell, and the next try may work",
    RefusalCode.NOT_FOUND: "it lost this, or the agreement has ended; other hosts may hold it",
    RefusalCode.DAMAGED: "it lost this; other hosts may hold it",
    RefusalCode.BUSY: "try again in a moment",
    RefusalCode.OWED: (
        "`backup-peer peers show PEER` says what you promised and keep; offer it with `backup-peer host --storage SIZE`"
    ),
}


async def read_frame(stream: Stream, reader: FrameReader) -> Frame:
    """Return the next frame of `stream`, reading not a byte beyond it.

    Raises:
        ProtocolViolation: oversized, or the stream ended.
        PeerUnreachable: the connection is gone.

    """
    while wanted := reader.wanted_bytes():
        data = await stream.read(wanted)
        if not data:
            reader.finish()
            raise ProtocolViolation("the stream ended where a message was due")
        reader.feed(data)
    frame = reader.next_frame()
    if frame is None:
        raise ProtocolViolation("the stream ended where a message was due")
    return frame


class _Pace:
    """How long a transfer of `size` bytes may take: each piece BULK_STALL_S, and that per MiB in all.

    In all, too, or a peer that sends a byte a minute would hold a transfer, and its memory, for ever.
    """

    def __init__(self, size: int) -> None:
        self.size, self.done = size, 0
        self._clock = asyncio.get_running_loop().time
        self._end_s = self._clock() + BULK_STALL_S * (1 + size // BLOCK_BYTES)

    @property
    def left(self) -> int:
        """Bytes still to come."""
        return self.size - self.done

    def next_s(self) -> float:
        """Return when the next piece must be there."""
        return min(self._clock() + BULK_STALL_S, self._end_s)


@asynccontextmanager
async def _in_time(pace: _Pace, verb: str) -> AsyncIterator[asyncio.Timeout]:
    try:
        async with asyncio.timeout_at(pace.next_s()) as limit:
            yield limit
    except TimeoutError as exc:
        raise PeerUnreachable(f"the peer {verb} {pace.done} of {pace.size} bytes, then too little") from exc


class _Watch:
    """Looks now and then at what a thread moves; `pace` and `on_piece` hear of it, and what moves gets more time.

    Not a closure: one that names itself is a ring, which would keep the task, and its megabytes, until a collection.
    """

    def __init__(self, bulk: MovesBulk, pace: _Pace, on_piece: OnPiece | None) -> None:
        self._bulk, self._pace, self._on_piece = bulk, pace, on_piece
        self._seen = bulk.moved_bytes
        self._timer: asyncio.TimerHandle | None = None

    def look(self, limit: asyncio.Timeout) -> None:
        """Look, and look again in a moment."""
        if self._note():
            limit.reschedule(self._pace.next_s())
        self._timer = asyncio.get_running_loop().call_later(_LOOK_S, self.look, limit)

    def end(self) -> None:
        """Look for the last time."""
        self._note()
        if self._timer is not None:
            self._timer.cancel()

    def _note(self) -> bool:
        moved = self._bulk.moved_bytes - self._seen
        self._seen += moved
        self._pace.done += moved
        if moved and self._on_piece is not None:
            self._on_piece(moved)
        return moved > 0


@asynccontextmanager
async def _watched(bulk: MovesBulk, pace: _Pace, verb: str, on_piece: OnPiece | None = None) -> AsyncIterator[None]:
    """Give up the block when what it moves in a thread stalls."""
    watch = _Watch(bulk, pace, on_piece)
    async with _in_time(pace, verb) as limit:
        watch.look(limit)
        try:
            yield
        finally:
            watch.end()


class Channel:
    """One request stream, used by one task at a time; the table decides what may follow what."""

    def __init__(
        self,
        stream: Stream,
        role: Literal[Speaker.OPENER, Speaker.SERVER],
        *,
        spent: set[type[Message]] | None = None,
    ) -> None:
        self._stream = stream
        self._bulk = stream if isinstance(stream, MovesBulk) else None
        self._reader = FrameReader()
        self._machine = RequestStream(role)
        self.asked: type[Message] | None = None
        """What the peer began with; None: nothing was read of it yet."""
        self._spent = spent if spent is not None else set()

    async def send(self, message: Message) -> None:
        """Write one message."""
        await self._stream.write(self._machine.send(message))

    def spend(self) -> bool:
        """Note that what the peer began with is answered in this session; False: it was already."""
        if self.asked is None or self.asked in self._spent:
            return False
        self._spent.add(self.asked)
        return True

    async def refuse(self, message: Refused) -> bool:
        """Write a refusal if one may still be said; False when raw bytes are on their way instead."""
        if self._machine.state is State.ENDED:
            return False
        await self.send(message)
        return True

    async def send_raw(self, data: Buffer, *, on_piece: OnPiece | None = None) -> None:
        """Write bulk bytes that an earlier message announced; `on_piece` hears the size of each piece taken.

        Raises:
            PeerUnreachable: the peer took nothing for BULK_STALL_S, or less than a MiB per BULK_STALL_S in all, or is
                gone.

        """
        view = memoryview(data)
        if self._bulk is not None:
            async with _watched(self._bulk, _Pace(len(view)), "took", on_piece):
                await self._stream.write(view)
            return
        pace = _Pace(len(view))
        for start in range(0, len(view), _RAW_PIECE_BYTES):
            piece = view[start : start + _RAW_PIECE_BYTES]
            async with _in_time(pace, "took"):
                await self._stream.write(piece)
            pace.done += len(piece)
            if on_piece is not None:
                on_piece(len(piece))

    async def send_given(self, size_bytes: int, give: Give) -> None:
        """Write bulk bytes that `give` provides piece by piece, in a thread.

        Raises:
            PeerUnreachable: as `send_raw`.

        """
        if self._bulk is not None:
            async with _watched(self._bulk, _Pace(size_bytes), "took"):
                await self._bulk.send_bulk(size_bytes, give)
            return
        buffer = memoryview(bytearray(min(size_bytes, MIB)))
        for offset in range(0, size_bytes, MIB):
            piece = buffer[: size_bytes - offset]
            await asyncio.to_thread(give, offset, piece)
            await self.send_raw(piece)

    async def receive_any(self, *, timeout_s: float | None = REPLY_S) -> Message:
        """Return the next message.

        Raises:
            ProtocolViolation: malformed, oversized, out of place, or the stream ended.
            PeerUnreachable: nothing came within `timeout_s`, or the connection is gone.

        """
        try:
            async with asyncio.timeout(timeout_s):
                frame = await read_frame(self._stream, self._reader)
        except TimeoutError as exc:
            raise PeerUnreachable(f"no answer within {timeout_s:.0f} s") from exc
        message = self._machine.receive(frame)
        self.asked = self.asked or type(message)
        return message

    async def receive(
        self, kind: type[M], *others: type[N], timeout_s: float | None = REPLY_S, is_read: bool = False
    ) -> M | N:
        """Return the next message, which must be one of the kinds given; `is_read`: something stored is asked for.

        Raises:
            RefusedError: the peer answered Refused.
            StoreBusy: it did because it has too much to do just now.
            StoreUnavailable: what it stores is away just now (`is_read`; who brings something goes elsewhere).
            ProtocolViolation: another kind.

        """
        message = await self.receive_any(timeout_s=timeout_s)
        if isinstance(message, (kind, *others)):
            return cast("M | N", message)
        if isinstance(message, Refused):
            raise error_of(message, is_read=is_read)
        if isinstance(message, Unsupported):
            raise RefusedError(
                "the peer's version does not know this request",
                hint="update backup-peer on both sides",
                refusal=Refusal.ALLOWED,
            )
        name = type(message).__name__
        raise ProtocolViolation(f"got {name} where {' or '.join(k.__name__ for k in (kind, *others))} was due")

    async def receive_raw(self, size_bytes: int) -> AsyncIterator[memoryview]:
        """Yield exactly `size_bytes` bulk bytes in pieces of a MiB, the last one shorter; each is valid until the next.

        Raises:
            ProtocolViolation: the peer finished before.
            PeerUnreachable: no byte came for BULK_STALL_S, or less than a MiB per BULK_STALL_S in all.

        """
        pace = _Pace(size_bytes)
        buffer = memoryview(bytearray(min(size_bytes, MIB)))
        while pace.left:
            piece = buffer[: pace.left]
            await self._fill(piece, pace)
            yield piece

    async def receive_through(self, size_bytes: int, take: Take) -> None:
        """Hand exactly `size_bytes` bulk bytes to `take`, a MiB at a time, in a thread; before an error, what came.

        Raises:
            ProtocolViolation: as `receive_raw`.
            PeerUnreachable: as `receive_raw`.

        """
        if self._bulk is not None:
            async with _watched(self._bulk, _Pace(size_bytes), "sent"):
                await self._bulk.receive_bulk(size_bytes, take)
            return
        pace = _Pace(size_bytes)
        buffer = memoryview(bytearray(min(size_bytes, MIB)))
        while pace.left:
            piece, before = buffer[: pace.left], pace.done
            try:
                await self._fill(piece, pace)
            finally:
                # Also what came before a cut: it need not be sent again.
                if came := pace.done - before:
                    await asyncio.to_thread(take, piece[:came])

    async def receive_into(self, view: memoryview) -> None:
        """Fill `view` with bulk bytes, without a copy in between where the stream can.

        Raises:
            ProtocolViolation: as `receive_raw`.
            PeerUnreachable: as `receive_raw`.

        """
        await self._fill(view, _Pace(len(view)))

    async def _fill(self, view: memoryview, pace: _Pace) -> None:
        if self._bulk is not None:
            async with _watched(self._bulk, pace, "sent"):
                await self._bulk.fill(view)
            return
        while view:
            async with _in_time(pace, "sent"):
                data = await self._stream.read(min(len(view), _RAW_PIECE_BYTES))
            if not data:
                raise ProtocolViolation(f"the stream ended {pace.left} bytes early")
            view[: len(data)] = data
            pace.done += len(data)
            view = view[len(data) :]
            if len(data) < GATHER_BYTES and pace.left > _RAW_PIECE_BYTES:
                # A read costs the same, whatever it brings: who asks at once gets datagram after datagram.
                await asyncio.sleep(GATHER_S)

    async def wait_end(self) -> None:
        """Wait until the peer has finished its direction: it has read all that we wrote."""
        async with asyncio.timeout(REPLY_S):
            while await self._stream.read(1024):
                pass

    async def finish(self) -> None:
        """Say that we write no more."""
        await self._stream.finish()

    async def abort(self) -> None:
        """Throw the stream away; the peer's calls on it fail."""
        await self._stream.abort(ABORT_CODE)


class SucceededError(RefusedError):
    """The peer says that another goes on in our place: to be believed by what Hello shows, not by this (ADR 69)."""


def error_of(refused: Refused, *, is_read: bool = False) -> RefusedError | StoreUnavailable:
    """Return what a peer's refusal is raised as; `is_read`: something stored was asked for.

    Its words are quoted as such, and its hint is not shown: a stranger must not advise our person.
    """
    hint = _HINTS.get(refused.code, _HINTS[RefusalCode.POLICY])
    if refused.code == RefusalCode.BUSY:
        return StoreBusy(f'the peer says: "{refused.message or "busy"}"', hint=hint)
    if refused.code == RefusalCode.STORE_UNAVAILABLE and is_read:
        return StoreUnavailable(f'the peer says: "{refused.message or "not now"}"', hint=hint)
    refusal = classify_refusal(refused.code, is_read=is_read)
    kind = SucceededError if refused.code == RefusalCode.SUCCEEDED else RefusedError
    return kind(f'the peer says: "{refused.message or "no"}"', hint=hint, refusal=refusal)
