"""What one connection costs the server while it idles, and when the server takes it for dead."""

import asyncio
import gc
import ssl
from contextlib import suppress

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from backuppeer import limits
from backuppeer.crypto.identity import SigningKey
from backuppeer.limits.units import KIB
from backuppeer.signaling.client import Link, open_link
from backuppeer.signaling.listing import open_listing
from backuppeer.signaling.messages import (
    SUBPROTOCOL,
    Browse,
    Challenge,
    CloseCode,
    Message,
    OpenInbox,
    Page,
    Publish,
    Published,
    Taken,
    decode_answer,
    encode,
)
from backuppeer.signaling.server.caps import Caps
from backuppeer.signaling.server.desk import Desk
from backuppeer.signaling.server.door import Visitor
from backuppeer.signaling.server.engine import Shown
from backuppeer.signaling.server.listener import Tls
from signaling.kit import NOW_MS, Host, run, serving, until
from signaling.test_operating import get
from signaling.test_server import open_inbox
from signaling.test_tls import make_certificate

SOON_S = 0.2
NEVER_S = 1000.0


@pytest.fixture(autouse=True)
def cut_soon(monkeypatch):
    """Who does not close is cut at once."""
    monkeypatch.setattr(limits, "SERVER_CLOSE_S", 0.05)


def quiet(url):
    """A client that has no tasks of its own."""
    return connect(url, subprotocols=[SUBPROTOCOL], compression=None, proxy=None, ping_interval=None)


def test_hosts_that_idle_keep_no_task():
    async def story():
        async with serving() as server:
            before = len(asyncio.all_tasks())
            async with quiet(server.url) as one, quiet(server.url) as two:
                key = SigningKey.generate()
                await open_inbox(Link(server.url, one), key)
                assert (await Link(server.url, two).ask(Publish(Host().signed()), Published)).accepted
                await until(lambda: len(asyncio.all_tasks()) == before)
                await server.engine.deposit(key.public, b"s" * limits.KNOCK_BYTES)
                assert decode_answer(await one.recv()).sealed == b"s" * limits.KNOCK_BYTES

    run(story())


@pytest.mark.parametrize("frame", [None, Frame(Opcode.PONG, b""), Frame(Opcode.PONG, b"else"), Frame(Opcode.PING, b"")])
def test_who_does_not_answer_a_ping_is_taken_for_dead_whatever_else_it_says_and_others_are_not(frame):
    async def story():
        host, other = Host(), Host()
        async with serving(Caps(ping_s=SOON_S)) as server, open_link(server.url) as living:
            assert (await living.ask(Publish(other.signed()), Published)).accepted
            async with quiet(server.url) as dead:
                assert (await Link(server.url, dead).ask(Publish(host.signed()), Published)).accepted
                dead.transport.pause_reading()  # pings are not seen, so not answered
                if frame is not None:
                    dead.transport.write(frame.serialize(mask=True, extensions=[]))
                assert await server.engine.lost.get() == host.peer
                dead.transport.abort()
            assert (await living.ask(Publish(other.signed()), Published)).accepted
            assert server.engine.lost.empty()

    run(story())


def test_who_asks_for_more_than_it_reads_is_taken_for_dead():
    async def story():
        async with serving(Caps(ping_s=SOON_S)) as server, open_link(server.url) as link:
            for number in range(limits.PAGE_LISTINGS):
                row = open_listing(Host().signed(), NOW_MS)
                shown = Shown(row.peer, NOW_MS, row.signed, b"", is_slot=True, life_s=60)
                await server.engine.put_listing(shown, number)
            async with quiet(server.url) as deaf:
                deaf.transport.pause_reading()
                for _ in range(limits.SERVER_MESSAGES_BURST):  # 8 MB: more than the buffers between us take
                    await deaf.send(encode(Browse(b"", limits.PAGE_LISTINGS)))
                await until_left(server.port, 1)
                deaf.transport.abort()
            await link.ask(Browse(b"", 1), Page)

    async def until_left(port, count):
        while f"backuppeer_connections {count + 1}.0" not in await get(port, "/metrics"):
            pass

    run(story())


@pytest.fixture
def lines(monkeypatch):
    """The server's side of each WebSocket, as they open."""
    opened, serve = [], Visitor.serve
    monkeypatch.setattr(Visitor, "serve", lambda self: opened.append(self) or serve(self))
    return opened


def test_who_does_not_read_is_taken_for_dead_whatever_pong_it_makes_up(lines):
    async def story():
        async with serving(Caps(ping_s=NEVER_S)) as server, quiet(server.url) as connection:
            (line,) = lines
            line.pause_writing()  # as asyncio does when too much waits to be sent
            line.beat(b"ping")
            made_up = Frame(Opcode.PONG, line._owed).serialize(mask=True, extensions=[])
            connection.transport.write(made_up)
            await Link(server.url, connection).ask(Browse(b"", 1), Page)
            line.beat(b"ping")
            assert line.state is not State.OPEN

    run(story())


def test_what_an_inbox_gets_while_its_owner_does_not_read_waits_there_and_follows(lines):
    async def story():
        key = SigningKey.generate()
        async with serving(Caps(ping_s=NEVER_S)) as server, quiet(server.url) as owner:
            link = Link(server.url, owner)
            await open_inbox(link, key)
            (line,) = lines
            await until(lambda: not line._is_attended)
            tasks = len(asyncio.all_tasks())
            line.pause_writing()
            for letter in b"abcdef":
                await server.engine.deposit(key.public, bytes([letter]) * limits.KNOCK_BYTES)
            await link.send(Taken(1))  # none was sent: a guess
            await until(lambda: len(asyncio.all_tasks()) > tasks)
            await until(lambda: len(asyncio.all_tasks()) == tasks)
            line.resume_writing()
            await link.send(Taken(2))
            assert [(await link.receive(Message)).sealed[:1] for _ in "cdef"] == [b"c", b"d", b"e", b"f"]
            await server.engine.deposit(key.public, b"g" * limits.KNOCK_BYTES)
            assert (await link.receive(Message)).sealed[:1] == b"g"

    run(story())


def test_what_a_connection_sent_too_fast_ends_with_it_and_holds_up_no_end_of_the_server(lines, monkeypatch):
    pauses = []

    async def pause(seconds):
        pauses.append(seconds)
        await until(lambda: lines[0].is_lost)

    plain = Desk.__init__
    monkeypatch.setattr(Desk, "__init__", lambda self, *args, **named: plain(self, *args, **named, pause=pause))

    async def story():
        key = SigningKey.generate()
        async with serving(Caps(ping_s=NEVER_S, messages_burst=2)) as server, quiet(server.url) as owner:
            await open_inbox(Link(server.url, owner), key)
            owner.transport.write(Frame(Opcode.BINARY, encode(Taken(1))).serialize(mask=True, extensions=[]) * 700)
            await until(lambda: pauses)
            await server.stop()
            assert server.engine.left.get_nowait() == key.public
            assert len(pauses) == 1

    run(story())


def test_a_message_in_parts_is_one_message():
    async def story():
        async with serving() as server, quiet(server.url) as connection:
            request = encode(Publish(Host().signed()))
            await connection.send([request[:500], request[500:900], request[900:]])
            assert decode_answer(await connection.recv()) == Published(accepted=True, code="")

    run(story())


def test_more_messages_than_are_kept_waiting_are_all_answered():
    async def story():
        async with serving() as server, quiet(server.url) as connection:
            for _ in range(limits.SERVER_MESSAGES_BURST):
                await connection.send(encode(Browse(b"", 1)))
            for _ in range(limits.SERVER_MESSAGES_BURST):
                assert isinstance(decode_answer(await connection.recv()), Page)

    run(story())


async def watch_turns(looked):
    """Return how much was looked through in a turn of the loop at most, once cancelled."""
    turns = [0]
    with suppress(asyncio.CancelledError):
        while True:
            before = len(looked)
            await asyncio.sleep(0)
            turns.append(len(looked) - before)
    return max(turns)


@pytest.mark.parametrize("is_text", [True, False])
def test_who_sends_very_many_messages_at_once_lets_others_have_their_turn_between(is_text, monkeypatch):
    async def story():
        async with serving() as server, quiet(server.url) as flooder:
            watching = asyncio.create_task(watch_turns(looked))
            frame = Frame(Opcode.TEXT if is_text else Opcode.BINARY, b"").serialize(mask=True, extensions=[])
            flooder.transport.write(frame * 40_000)
            await flooder.wait_closed()
            async with open_link(server.url) as link:
                await link.ask(Browse(b"", 1), Page)
            watching.cancel()
            assert 0 < await watching <= 16 * KIB // len(frame) + 1

    looked, is_heard = [], Visitor.is_heard
    monkeypatch.setattr(Visitor, "is_heard", lambda self, frame: looked.append(None) or is_heard(self, frame))
    run(story())


def test_text_is_refused_even_where_it_is_none():
    async def story():
        async with serving() as server, quiet(server.url) as connection:
            connection.transport.write(Frame(Opcode.TEXT, b"\xff\xfe").serialize(mask=True, extensions=[]))
            with pytest.raises(ConnectionClosed) as closed:
                await connection.recv()
            assert closed.value.rcvd.code == CloseCode.MALFORMED

    run(story())


def test_what_follows_a_handshake_in_the_same_packet_is_answered():
    async def story():
        async with serving() as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            words = [
                "GET / HTTP/1.1",
                f"Host: 127.0.0.1:{server.port}",
                "Upgrade: websocket",
                "Connection: Upgrade",
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
                "Sec-WebSocket-Version: 13",
                f"Sec-WebSocket-Protocol: {SUBPROTOCOL}",
            ]
            request = Frame(Opcode.BINARY, encode(OpenInbox(bytes(32)))).serialize(mask=True, extensions=[])
            writer.write("\r\n".join([*words, "", ""]).encode() + request)
            assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
            header = await reader.readexactly(2)
            assert isinstance(decode_answer(await reader.readexactly(header[1])), Challenge)
            writer.transport.abort()

    run(story())


def test_who_begins_no_tls_is_cut_like_who_begins_no_websocket(tmp_path):
    async def story():
        _, context = make_certificate(tmp_path)
        async with serving(Caps(handshake_s=SOON_S), tls=context) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            assert await reader.read() == b""  # returns when the server has cut it
            writer.transport.abort()

    run(story())


def test_who_does_not_finish_a_tls_handshake_is_counted_from_the_first_byte_on(tmp_path):
    async def story():
        _, context = make_certificate(tmp_path)
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        caps = Caps(connections_per_address=2, refusals=1, handshake_s=NEVER_S)
        async with serving(caps, tls=context) as server:
            silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            with suppress(ConnectionError):
                assert await reader.read() == b""  # returns when the server has cut it
            writer.close()
            for _, one in silent:
                one.transport.abort()
            while not await is_served(server.port, trusting):  # they are counted out again
                pass
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            await server.stop()  # holds up no end either
            with suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()

    async def is_served(port, trusting):
        with suppress(ConnectionError, ssl.SSLError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
            writer.write(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = await reader.read()
            writer.close()
            return b" 200 " in answer
        return False

    run(story())


def test_a_tls_connection_has_a_buffer_of_one_record(tmp_path):
    async def story():
        _, context = make_certificate(tmp_path)
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        async with serving(tls=context) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=trusting)
            writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 200 " in await reader.read()
            held = [one for one in gc.get_objects() if type(one) is Tls]
            assert held
            assert all(len(one._ssl_buffer) <= 16 * KIB for one in held)
            writer.close()

    run(story())


def test_the_end_of_a_server_waits_for_what_is_under_way_and_lets_all_inboxes_go():
    async def story():
        keys = [SigningKey.generate() for _ in range(3)]
        async with serving(Caps(ping_s=NEVER_S, drain_s=0.01)) as server:
            links = [await quiet(server.url) for _ in keys]
            for link, key in zip(links, keys, strict=True):
                await open_inbox(Link(server.url, link), key)
            await server.stop()
            assert {server.engine.left.get_nowait() for _ in keys} == {key.public for key in keys}
            for link in links:
                await link.close()

    run(story())
