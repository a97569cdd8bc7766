"""The caps of a server: what it grants unless told otherwise, and that the process keeps to its times."""

import asyncio

import pytest

from backuppeer import limits
from backuppeer.errors import UserError
from backuppeer.signaling.client import open_link
from backuppeer.signaling.listing import open_listing
from backuppeer.signaling.messages import Publish, Published
from backuppeer.signaling.server import process
from backuppeer.signaling.server.caps import Caps
from backuppeer.signaling.server.engine import Shown
from signaling.kit import NOW_MS, Host, TurnedClock, WatchedEngine, run, serving


def test_a_server_grants_what_the_limits_say_unless_told_otherwise():
    assert Caps() == Caps(
        listings=limits.SERVER_LISTINGS,
        inboxes=limits.SERVER_INBOXES,
        inbox_messages=limits.INBOX_MESSAGES,
        stored_messages=limits.SERVER_STORED_MESSAGES,
        connections=limits.SERVER_CONNECTIONS,
        connections_per_address=limits.SERVER_CONNECTIONS_PER_ADDRESS,
        refusals=limits.SERVER_REFUSALS,
        messages_per_s=limits.SERVER_MESSAGES_PER_S,
        messages_burst=limits.SERVER_MESSAGES_BURST,
        frame_bytes=limits.SIGNALING_CLIENT_FRAME_BYTES,
        silence_s=limits.SERVER_INBOX_SILENCE_S,
        handshake_s=limits.SERVER_HANDSHAKE_S,
        grace_s=limits.LISTING_GRACE_S,
        inbox_life_s=limits.INBOX_LIFE_S,
        sweep_s=limits.SERVER_SWEEP_S,
    )


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_a_socket_that_never_becomes_a_websocket_is_closed(said):
    async def story():
        async with serving(Caps(handshake_s=0.05)) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(said)
            await reader.read()  # returns when the server has closed; the test ends by its own time limit otherwise
            writer.transport.abort()

    run(story())


def test_connections_are_given_the_times_and_sizes_of_the_caps(monkeypatch):
    made = []

    async def listen(listener, *_args):
        made.append(listener)
        raise OSError("enough seen")

    monkeypatch.setattr(process.Listener, "listen", listen)
    with pytest.raises(UserError, match="enough seen"):
        asyncio.run(process.run_server("127.0.0.1:0", caps=Caps(handshake_s=3.0, frame_bytes=99)))
    (listener,) = made
    assert (listener.handshake_s, listener.message_bytes) == (3.0, 99)
    assert listener.close_s == limits.SERVER_CLOSE_S
    assert Caps().ping_s == limits.SERVER_PING_S


def test_what_has_expired_is_swept_out_while_the_server_runs():
    class Sweeping(WatchedEngine):
        def __init__(self, caps, *, clock):
            super().__init__(caps, clock=clock)
            self.swept = asyncio.Event()

        async def sweep(self):
            await super().sweep()
            self.swept.set()

    async def story():
        caps, clock = Caps(sweep_s=0.001), TurnedClock()
        engine = Sweeping(caps, clock=clock)
        row = open_listing(Host().signed(), NOW_MS)
        await engine.put_listing(Shown(row.peer, row.listing.seq, row.signed, b"d" * 32, is_slot=True, life_s=5), 1)
        async with serving(caps, clock=clock, engine=engine):
            assert (await engine.page(b"", 1)).rows == [row.signed]
            clock.turn(5)
            engine.swept.clear()
            await engine.swept.wait()
            assert (await engine.page(b"", 1)).rows == []

    run(story())


def test_a_listing_stays_on_show_for_its_life_and_the_skew_of_clocks():
    async def story():
        async with serving() as server, open_link(server.url) as link:
            await link.ask(Publish(Host().signed()), Published)
            (shown,) = server.engine.record
            assert shown.life_s == limits.LISTING_LIFE_S + limits.CLOCK_SKEW_S

    run(story())
