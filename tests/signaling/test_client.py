"""One server that is slow, floods, or drops us: how long and how much the client lets it."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import serve

from agent.loops import play
from backuppeer import limits
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import Unavailable
from backuppeer.signaling import client
from backuppeer.signaling.client import InboxReader, Link, open_link
from backuppeer.signaling.messages import SUBPROTOCOL, Browse, Message, Page
from backuppeer.signaling.pool import Pool
from signaling.kit import NoJitter, run


class Silent:
    """Takes every message and never answers."""

    async def send(self, _data):
        pass

    async def recv(self):
        await asyncio.Event().wait()


def test_an_answer_that_does_not_come_is_given_up_after_its_time():
    async def story():
        with pytest.raises(Unavailable, match="did not answer within 5 s"):
            await Link("ws://a.example", Silent()).ask(Browse(b"", 1), Page)
        assert asyncio.get_running_loop().time() == limits.SERVER_CONNECT_S

    play(story())


def test_a_dial_has_the_time_to_connect_and_the_library_is_given_our_caps(monkeypatch):
    given = {}

    def connect(_url, **named):
        given.update(named)
        raise TimeoutError

    async def story():
        with pytest.raises(Unavailable, match="did not answer within 5 s"):
            async with open_link("ws://a.example"):
                pass

    monkeypatch.setattr(client, "_Connect", connect)
    run(story())
    assert (given["open_timeout"], given["close_timeout"]) == (limits.SERVER_CONNECT_S, limits.SERVER_CLOSE_S)


def test_a_frame_above_the_cap_is_refused_before_it_is_held():
    async def story():
        async def flood(socket):
            async for _ in socket:
                await socket.send(bytes(limits.SIGNALING_FRAME_BYTES + 1))

        async with (
            serve(flood, "127.0.0.1", 0, subprotocols=[SUBPROTOCOL], compression=None) as server,
            open_link(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}") as link,
        ):
            # Unavailable, not a protocol violation: the library closed, and nothing came to be decoded.
            with pytest.raises(Unavailable, match="a message that is too long"):
                await link.ask(Browse(b"", 1), Page)

    run(story())


def test_an_inbox_remembers_only_so_many_messages_it_has_handed_on():
    got = []

    async def keep(sealed, _server):
        got.append(sealed)

    async def story():
        key = SigningKey.generate()
        reader = InboxReader("ws://a", key, on_message=keep, on_state=print, randomness=NoJitter())
        for number in [*range(4 * limits.INBOX_MESSAGES + 1), 1, 0]:
            await reader._hand_on(Message(number, b"%d" % number))

    asyncio.run(story())
    # The oldest was forgotten, so it is heard again; the one after it was not.
    assert got[-2:] == [b"%d" % (4 * limits.INBOX_MESSAGES), b"0"]


def test_only_a_connection_that_held_starts_the_backoff_anew(monkeypatch):
    lives = [1.0, limits.RECONNECT_SETTLED_S, limits.RECONNECT_SETTLED_S + 0.1, 1.0]
    attempts = []

    @asynccontextmanager
    async def dial(_url):
        yield None

    async def serve_link(_link):
        if len(attempts) == len(lives):
            raise EOFError
        await asyncio.sleep(lives[len(attempts)])  # virtual
        raise Unavailable("dropped")

    def note(attempt, _randomness):
        attempts.append(attempt)
        return 0.0

    monkeypatch.setattr(client, "open_link", dial)
    monkeypatch.setattr(client, "backoff_s", note)

    async def story():
        with pytest.raises(EOFError):
            await client._keep(
                "ws://a",
                serve_link,
                on_state=lambda _connected, _error: None,
                randomness=NoJitter(),
                wake=asyncio.Event(),
            )

    play(story())
    assert attempts == [1, 2, 0, 1]


def test_of_the_servers_a_peer_names_only_so_many_are_dialled():
    async def story():
        async with Pool(["ws://own.example"]) as pool:
            named = [f"wss://h{n}.example" for n in range(limits.SERVERS + 4)]
            assert pool._reachable([*named, "ws://own.example"]) == ["ws://own.example", *named[: limits.SERVERS - 1]]

    asyncio.run(story())
