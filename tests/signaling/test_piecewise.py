"""What the other end of a connection can make this process look through in one go, and what not."""

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol

from backuppeer import limits
from backuppeer.errors import Unavailable
from backuppeer.signaling.client import open_link
from backuppeer.signaling.messages import SUBPROTOCOL, Browse, Message, Page
from backuppeer.signaling.piecewise import _ANSWER_PIECE_BYTES, Answering, Valve
from backuppeer.signaling.server.connection import _PIECE_BYTES
from backuppeer.signaling.server.door import Visitor
from signaling.kit import run, serving
from signaling.test_tls import make_certificate

ASKING = [Subprotocol(SUBPROTOCOL)]


class Line:
    """A transport that notes whether it reads."""

    def __init__(self):
        self.reads, self.closing = True, False

    def pause_reading(self):
        self.reads = False

    def resume_reading(self):
        self.reads = True

    def is_closing(self):
        return self.closing


def test_what_was_read_is_looked_through_a_piece_in_each_turn_and_nothing_is_read_until_then():
    async def story():
        line, seen = Line(), []
        valve = Valve(line, seen.append, 2)
        valve.take(b"abcde")
        assert (seen, line.reads) == ([b"ab"], False)
        valve.take(b"f")
        await asyncio.sleep(0)
        assert (seen, line.reads) == ([b"ab", b"cd"], False)
        await asyncio.sleep(0)
        assert (seen, line.reads) == ([b"ab", b"cd", b"ef"], True)
        valve.take(b"g")
        assert (seen[-1], line.reads) == (b"g", True)

    run(story())


def test_while_the_library_has_enough_nothing_more_is_looked_through():
    async def story():
        line, seen = Line(), []
        valve = Valve(line, seen.append, 2)
        valve.take(b"abcd")
        valve.pause_reading()
        valve.take(b"ef")
        for _ in range(3):
            await asyncio.sleep(0)
        assert (seen, line.reads) == ([b"ab"], False)
        valve.resume_reading()
        for _ in range(3):
            await asyncio.sleep(0)
        assert (seen, line.reads) == ([b"ab", b"cd", b"ef"], True)

    run(story())


@pytest.mark.parametrize("is_told", [True, False])
def test_of_a_connection_that_ended_no_more_is_looked_at(is_told):
    async def story():
        line, seen = Line(), []
        valve = Valve(line, seen.append, 2)
        valve.take(b"abcd")
        line.closing = not is_told
        if is_told:
            valve.drop()
        for _ in range(3):
            await asyncio.sleep(0)
        assert seen == [b"ab"]

    run(story())


@pytest.mark.parametrize("is_sealed", [True, False])
def test_of_a_refusal_that_is_longer_than_a_piece_all_is_read_though_the_line_ends_with_it(
    tmp_path, monkeypatch, is_sealed
):
    certificate, context = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    async def refuse(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        page = b"<p>nobody is here</p>" * 2000
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: %d\r\n\r\n" % len(page) + page)
        writer.close()

    async def story():
        tls = context if is_sealed else None
        async with await asyncio.start_server(refuse, "127.0.0.1", 0, ssl=tls) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(Unavailable, match="HTTP status 502"):
                async with open_link(f"{'wss' if is_sealed else 'ws'}://127.0.0.1:{port}"):
                    pass

    run(story())


async def watch_turns(looked):
    """Note how much was looked through in each turn of the loop, until cancelled."""
    turns = [0]
    try:
        while True:
            before = len(looked)
            await asyncio.sleep(0)
            turns.append(len(looked) - before)
    except asyncio.CancelledError:
        return max(turns)


def count_frames(kind, monkeypatch):
    name = "is_heard" if kind is Visitor else "process_event"
    looked, process = [], getattr(kind, name)
    monkeypatch.setattr(kind, name, lambda self, event: looked.append(None) or process(self, event))
    return looked


@pytest.mark.parametrize(
    "frame", [Frame(Opcode.PONG, b""), Frame(Opcode.PING, b""), Frame(Opcode.CONT, b"", fin=False)]
)
def test_a_server_that_floods_with_frames_that_say_nothing_is_hung_up_on_at_once(frame, monkeypatch):
    async def flood(connection):
        if frame.opcode is Opcode.CONT:
            connection.protocol.send_binary(b"", fin=False)
        connection.transport.write(b"".join(connection.protocol.data_to_send()))
        connection.transport.write(frame.serialize(mask=False, extensions=[]) * 100_000)
        await connection.wait_closed()

    async def story():
        async with serve(flood, "127.0.0.1", 0, subprotocols=ASKING) as server:
            port = server.sockets[0].getsockname()[1]
            async with open_link(f"ws://127.0.0.1:{port}") as link:
                with pytest.raises(Unavailable, match="connection lost"):
                    await link.receive(Message)

    looked = count_frames(Answering, monkeypatch)
    run(story())
    assert len(looked) <= _ANSWER_PIECE_BYTES


def test_a_server_may_ping_as_often_as_it_likes_to_know_who_is_there():
    async def story():
        async with serving() as server, open_link(server.url) as link:
            for _ in range(limits.SERVER_CONTROL_FRAMES // 2):
                await (await link._connection.ping())
            await link.ask(Browse(b"", 1), Page)

    run(story())


def test_a_client_that_sends_very_many_messages_at_once_stops_no_server(monkeypatch):
    async def story():
        async with serving() as server, connect(server.url, subprotocols=ASKING) as flooder:
            watching = asyncio.create_task(watch_turns(looked))
            flooder.transport.write(Frame(Opcode.BINARY, b"").serialize(mask=True, extensions=[]) * 40_000)
            await flooder.wait_closed()
            async with open_link(server.url) as link:
                await link.ask(Browse(b"", 1), Page)
            watching.cancel()
            assert 0 < await watching <= _PIECE_BYTES // 6 + 1

    looked = count_frames(Visitor, monkeypatch)
    run(story())
