"""A conversation as it went over streams: recorded from the network in memory, and one side of it played again.

A tape is JSON: sessions, of streams, of turns `[who, what, …]`; who is "owner" or "host", what a frame in hex, or
`{"pack": number, "at": first, "size": bytes}` for bulk. Who plays a side says what was recorded, to the byte, and
compares what it hears: every field that the recorded version knew is there with the value of then; more may be.
"""

import json
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from msgspec import msgpack

from backuppeer.transport.base import Connection, Stream

Piece: TypeAlias = Any
VOLATILE: Final = {32: {"free_bytes", "spare_bytes"}}
"""Fields that tell of the machine, by type of message."""
_HEAD_BYTES: Final = 4


class Tape:
    """What went over the streams of connections, in the order in which it was written."""

    def __init__(self, packs: Sequence[bytes]) -> None:
        self._packs = packs
        self._connections: dict[int, tuple[object, dict[int, tuple[object, list[tuple[bool, bytearray]]]]]] = {}

    def note(self, link: object, pipes: tuple[object, object], data: bytes, *, is_owner: bool) -> None:
        """Take what one side wrote; `link` and `pipes` are what tells connections and streams apart, kept alive."""
        _, streams = self._connections.setdefault(id(link), (link, {}))
        _, turns = streams.setdefault(min(map(id, pipes)), (pipes, []))
        if not turns or turns[-1][0] is not is_owner:
            turns.append((is_owner, bytearray()))
        turns[-1][1].extend(data)

    def render(self) -> str:
        """Return the tape, one turn a line."""
        sessions = [
            [[self._split(turn) for turn in turns] for _, turns in streams.values()]
            for _, streams in self._connections.values()
        ]
        lines = [
            [",\n".join("   " + json.dumps(turn) for turn in stream) for stream in session] for session in sessions
        ]
        joined = [",\n".join(f"  [\n{stream}\n  ]" for stream in session) for session in lines]
        return "[\n" + ",\n".join(f" [\n{session}\n ]" for session in joined) + "\n]\n"

    def _split(self, turn: tuple[bool, bytearray]) -> list[Piece]:
        is_owner, data = turn
        said: list[Piece] = ["owner" if is_owner else "host"]
        rest = bytes(data)
        while rest:
            piece, size = self._cut(rest)
            said.append(piece)
            rest = rest[size:]
        return said

    def _cut(self, rest: bytes) -> tuple[Piece, int]:
        """Return the first piece: bulk of a pack, or a frame, or the byte that opens a session."""
        for number, pack in enumerate(self._packs):
            # A frame is small and begins with three zeros or less; no pack does.
            for size in (len(pack), 2 * 16384, len(pack) - 2 * 16384):
                at = pack.find(rest[:size]) if 4096 < size <= len(rest) else -1
                if at >= 0:
                    return {"pack": number, "at": at, "size": size}, size
        length = _HEAD_BYTES + int.from_bytes(rest[:_HEAD_BYTES], "big") if rest[:1] == b"\0" else 1
        return rest[:length].hex(), length


class Player:
    """Plays one side of a recorded session on a live connection."""

    def __init__(self, who: str, session: list[list[list[Piece]]], packs: Sequence[bytes]) -> None:
        self._who, self._session, self._packs = who, session, packs

    async def play(self, connection: Connection) -> None:
        """Say what the recorded side said, stream after stream, and check what the other says; Goodbye comes last."""
        control, *requests = self._session
        opens = control[0][0] == self._who
        stream = await self._open(connection, opens=opens)
        *greeting, (who, *farewell) = control
        await self._take_turns(stream, [*greeting, (who, *farewell[:-1])])
        for turns in requests:
            request = await self._open(connection, opens=opens)
            await self._take_turns(request, turns)
            await request.finish()
            assert await request.read(1) == b"", "it says more than was recorded"
        await self._take_turns(stream, [(who, farewell[-1])])

    async def _open(self, connection: Connection, *, opens: bool) -> Stream:
        return await (connection.open_stream() if opens else connection.accept_stream())

    async def _take_turns(self, stream: Stream, turns: Sequence[Sequence[Piece]]) -> None:
        for who, *pieces in turns:
            for piece in pieces:
                await (stream.write(self._data(piece)) if who == self._who else self._hear(stream, piece))

    def _data(self, piece: Piece) -> bytes:
        if isinstance(piece, str):
            return bytes.fromhex(piece)
        return self._packs[piece["pack"]][piece["at"] : piece["at"] + piece["size"]]

    async def _hear(self, stream: Stream, piece: Piece) -> None:
        expected = self._data(piece)
        if not isinstance(piece, str) or len(expected) == 1:
            assert await stream.read_exact(len(expected)) == expected
            return
        size = int.from_bytes(await stream.read_exact(_HEAD_BYTES), "big")
        compare(expected[_HEAD_BYTES:], await stream.read_exact(size))


def compare(recorded: bytes, heard: bytes) -> None:
    """Check that a frame (type, body) says what it said when it was recorded; it may say more."""
    assert heard[0] == recorded[0], f"message {heard[0]} where {recorded[0]} was recorded"
    then, now = msgpack.decode(recorded[1:]), msgpack.decode(heard[1:])
    for name, value in then.items():
        if name not in VOLATILE.get(recorded[0], ()):
            assert now.get(name) == value, f"{name} of message {recorded[0]} is {now.get(name)!r}, not {value!r}"
