"""What a host can do wrong, each by a name: at the last moment before its words and bytes leave the machine.

A crime sits in the agent of a real host, between its store and the wire: the rest of the host is the program itself. So
whatever the program does with a request, the crime decides what the owner gets to see of it.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

import msgspec

from backuppeer.agent.host import serving
from backuppeer.agent.peers.channel import Channel
from backuppeer.errors import PeerUnreachable, Unavailable
from backuppeer.host.incoming import Incoming
from backuppeer.host.reader import PackReader
from backuppeer.host.store import Store
from backuppeer.limits import LEAF_BYTES
from backuppeer.wire.codec import encode
from backuppeer.wire.codes import RefusalCode
from backuppeer.wire.fields import Message
from backuppeer.wire.messages import (
    Deleted,
    GetRange,
    HeadIs,
    HeadStored,
    ListPacks,
    PackList,
    Proceed,
    PutHead,
    PutPack,
    Range,
    Refused,
    Stored,
    Usage,
)
from backuppeer.wire.session import Speaker

Give = Callable[[int, memoryview], None]


class Crime(StrEnum):
    """Every crime; docs/crimes.md has a row for each."""

    FLIPS = "flips"
    """Changes a bit of each range of a pack."""
    TRUNCATES = "truncates"
    """Says that a pack ends earlier than it does."""
    SWAPS = "swaps"
    """Answers with the bytes of another pack, and the path that proves those."""
    OLD_HEAD = "old-head"
    """Shows the head before the one that it countersigned."""
    NO_HEAD = "no-head"
    """Says that it has never seen a head."""
    FALSE_RECEIPT = "false-receipt"
    """Acknowledges a head with the countersignature of another one."""
    WITHHOLDS = "withholds"
    """Lists only small packs, and says of the large ones that they are not here."""
    DENIES = "denies"
    """Lists all packs, and says of each that is asked for that it is not here."""
    STALLS = "stalls"
    """Never answers a question for a range."""
    DRIPS = "drips"
    """Sends half of a range, then nothing more."""
    DROPS = "drops"
    """Deletes each pack after it was acknowledged."""
    LIES_ABOUT_ROOM = "lies-about-room"
    """Says that the agreement is full, whatever is in it."""
    HANGS_UP = "hangs-up"
    """Ends the agent's connection whenever a pack is all there, before it is acknowledged."""
    OVERSIZED = "oversized"
    """Answers with a frame of four gigabytes."""
    MALFORMED = "malformed"
    """Answers with bytes that are no message."""
    WRONG_TYPE = "wrong-type"
    """Answers with a message that is not the answer."""
    BABBLES = "babbles"
    """Answers with bytes that are no message when it is asked for one pack, always the same, and rightly for others."""
    PAINTS = "paints"
    """Refuses in words that would paint the terminal and give advice."""


_LARGE_BYTES = 1_000_000
_FRAMES = {
    Crime.OVERSIZED: b"\xff\xff\xff\xff\x18",
    Crime.MALFORMED: b"\0\0\0\x05\x18\xc1\xc1\xc1\xc1",
    Crime.WRONG_TYPE: encode(Deleted(packs=2**40, lock_s=2**40)),
}


class Criminal:
    """Commits one crime at everything that it fits, from now on. `done`: a file that gets a line for each time."""

    def __init__(self, crime: Crime, done: Path) -> None:
        self._crime, self._done = crime, done
        self._asked: dict[Channel, Message] = {}
        self._heads: list[HeadIs] = []
        self._receipts: list[bytes] = []
        self._babbled: set[bytes] = set()

    def install(self) -> None:
        """Stand between this process's host side and the wire."""
        send, send_given, receive_any = Channel.send, Channel.send_given, Channel.receive_any

        async def send_crooked(channel: Channel, message: Message) -> None:
            if channel._machine._role is Speaker.SERVER:
                await self._send(channel, message, lambda said: send(channel, said))
            else:
                await send(channel, message)

        async def give_crooked(channel: Channel, size_bytes: int, give: Give) -> None:
            give = self._give(channel, give)
            if self._crime is Crime.TRUNCATES and size_bytes > 1:
                size_bytes -= 1
            if self._crime is Crime.DRIPS and size_bytes > 1:
                self._note()
                await send_given(channel, size_bytes // 2, give)
                await asyncio.Event().wait()
            await send_given(channel, size_bytes, give)

        async def hear(channel: Channel, **options: float | None) -> Message:
            message = await receive_any(channel, **options)
            self._asked[channel] = message
            return message

        Channel.send, Channel.send_given, Channel.receive_any = send_crooked, give_crooked, hear  # type: ignore[method-assign]
        if self._crime is Crime.DROPS:
            self._drop_after_commit()
        if self._crime is Crime.SWAPS:
            self._swap_packs()

    async def _send(self, channel: Channel, message: Message, send: Callable[[Message], Awaitable[None]]) -> None:
        asked = self._asked.get(channel)
        match self._crime, asked, message:
            case (Crime.STALLS, GetRange(), _):
                self._note()
                await asyncio.Event().wait()
            case (_, GetRange(), Range()) if self._is_babbling(asked, message):
                self._note()
                await channel._stream.write(_FRAMES.get(self._crime, _FRAMES[Crime.MALFORMED]))
                with suppress(PeerUnreachable):  # who waited for ever would run out of places, and stall
                    await channel.wait_end()
                raise Unavailable("babbled")
            case (Crime.HANGS_UP, PutPack(), Stored()):
                self._note()
                await channel.abort()
                raise Unavailable("hung up")
            case _:
                said = self._twist(asked, message)
                if said != message:
                    self._note()
                await send(said)

    def _is_babbling(self, asked: GetRange, message: Range) -> bool:
        """Say whether the answer is none, instead of a range."""
        if self._crime is not Crime.BABBLES:
            return self._crime in _FRAMES
        # Of a pack that is read, and not only looked into: copies of before, which nobody needs, are looked into, too.
        if not self._babbled and message.pack_bytes >= _LARGE_BYTES and asked.first_leaf == 0:
            self._babbled.add(asked.stored)
        return asked.stored in self._babbled

    def _twist(self, asked: Message | None, message: Message) -> Message:
        """Return what is said in place of a message."""
        for twist in (self._twist_heads, self._twist_packs, self._twist_refusals):
            said = twist(asked, message)
            if said is not message:
                return said
        return message

    def _twist_heads(self, asked: Message | None, message: Message) -> Message:
        match self._crime, asked, message:
            case (Crime.OLD_HEAD, _, HeadIs()):
                self._heads.append(message)
                return next((held for held in self._heads if held.head), message)
            case (Crime.NO_HEAD, _, HeadIs()):
                return HeadIs(removals=message.removals)
            case (Crime.FALSE_RECEIPT, PutHead(), HeadStored()):
                self._receipts.append(message.receipt)
                return msgspec.structs.replace(message, receipt=self._receipts[0])
        return message

    def _twist_packs(self, asked: Message | None, message: Message) -> Message:
        match self._crime, asked, message:
            case (Crime.TRUNCATES, GetRange(), Range()) if message.size > 1:
                return msgspec.structs.replace(message, size=message.size - 1, pack_bytes=message.pack_bytes - 1)
            case (Crime.WITHHOLDS, ListPacks(), PackList()):
                return msgspec.structs.replace(message, packs=tuple(r for r in message.packs if r.size < _LARGE_BYTES))
            case (Crime.LIES_ABOUT_ROOM, _, Usage()):
                return msgspec.structs.replace(message, used_bytes=message.size_bytes)
        return message

    def _twist_refusals(self, asked: Message | None, message: Message) -> Message:
        match self._crime, asked, message:
            case (Crime.WITHHOLDS, GetRange(), Range()) if message.pack_bytes >= _LARGE_BYTES:
                return Refused(code=RefusalCode.NOT_FOUND, message="no such pack")
            case (Crime.DENIES, GetRange(), Range()):
                return Refused(code=RefusalCode.NOT_FOUND, message="no such pack")
            case (Crime.LIES_ABOUT_ROOM, PutPack(), Proceed()):
                return Refused(code=RefusalCode.QUOTA, message="the agreement is full")
            case (Crime.PAINTS, GetRange(), Range()):
                return Refused(code=RefusalCode.POLICY, message="\x1b[31mno\x1b[0m\r\nhint: rm -rf /")
        return message

    def _give(self, channel: Channel, give: Give) -> Give:
        asked = self._asked.get(channel)
        if not isinstance(asked, GetRange) or self._crime is not Crime.FLIPS:
            return give

        def flip(offset: int, view: memoryview) -> None:
            give(offset, view)
            view[len(view) // 2] ^= 1
            self._note()

        return flip

    def _swap_packs(self) -> None:
        """Open another pack of the same agreement than the one that is asked for: its bytes, with their true path."""
        open_range = serving._open_range

        def open_another(store: Store, message: GetRange) -> tuple[PackReader, list[bytes]]:
            rows = store._catalogue.list_packs(message.agreement, b"", 1000)
            others = [(size, stored) for stored, size in rows if stored != message.stored]
            if others:
                size, stored = max(others)
                self._note()
                first_leaf = min(message.first_leaf, (size - 1) // LEAF_BYTES)
                message = msgspec.structs.replace(message, stored=stored, first_leaf=first_leaf)
            return open_range(store, message)

        serving._open_range = open_another

    def _drop_after_commit(self) -> None:
        commit = Incoming.commit

        def commit_and_drop(incoming: Incoming) -> None:
            path = incoming._target.layout.pack(incoming.agreement, incoming.stored)
            commit(incoming)
            path.unlink(missing_ok=True)
            self._note()

        Incoming.commit = commit_and_drop  # type: ignore[method-assign]

    def _note(self) -> None:
        with self._done.open("ab") as file:
            file.write(b"%s\n" % self._crime.encode())
            os.fsync(file.fileno())
