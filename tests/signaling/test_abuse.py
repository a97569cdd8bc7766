"""Floods: what one network, key or inbox may cost the others, and what new keys cost while many come."""

import asyncio
from contextlib import suppress

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol

from backuppeer import limits
from backuppeer.clock import SystemClock
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import Unavailable
from backuppeer.signaling.client import open_link
from backuppeer.signaling.depositing import deposit_at
from backuppeer.signaling.messages import (
    SUBPROTOCOL,
    Browse,
    Challenge,
    CloseCode,
    Deposit,
    Deposited,
    OpenInbox,
    Page,
    Publish,
    Published,
    Refusal,
    encode,
)
from backuppeer.signaling.server.bans import Bans
from backuppeer.signaling.server.caps import Caps
from backuppeer.signaling.server.engine import Rate
from backuppeer.signaling.server.load import Load
from backuppeer.signaling.server.rate import Buckets
from backuppeer.signaling.server.relay.relay import SUBPROTOCOLS
from backuppeer.signaling.server.relay.relaying import Relaying
from backuppeer.signaling.servers import authority
from backuppeer.signaling.stamping import make_stamp
from signaling.kit import NOW_MS, Host, TurnedClock, run, serving

SEALED = b"s" * limits.KNOCK_BYTES
FEW = Rate(1.0, 2)


@pytest.mark.parametrize(
    ("cap", "request_of", "kind"),
    [
        ("network_pages", lambda: Browse(b"", 1), Page),
        ("network_deposits", lambda: Deposit(bytes(32), SEALED), Deposited),
        ("network_inboxes", lambda: OpenInbox(bytes(32)), Challenge),
        ("network_publishes", lambda: Publish(Host().signed()), Published),
    ],
)
def test_a_network_that_asks_too_much_is_sent_away_until_its_bucket_fills(cap, request_of, kind):
    async def story():
        async with serving(Caps(**{cap: FEW})) as server:
            for _ in range(FEW.burst):
                async with open_link(server.url) as link:
                    await link.ask(request_of(), kind)
            async with open_link(server.url) as link:
                with pytest.raises(Unavailable, match=f"{CloseCode.TOO_MANY} too many from this network"):
                    await link.ask(request_of(), kind)
            server.clock.turn(1)
            async with open_link(server.url) as link:
                await link.ask(request_of(), kind)

    run(story())


def test_what_a_network_may_ask_at_once_is_what_the_limits_say():
    caps = Caps()
    assert caps.network_publishes == (limits.NETWORK_PUBLISHES_PER_S, limits.NETWORK_PUBLISHES)
    assert caps.network_deposits == (limits.NETWORK_DEPOSITS_PER_S, limits.NETWORK_DEPOSITS)
    assert caps.network_pages == (limits.NETWORK_PAGES_PER_S, limits.NETWORK_PAGES)
    assert caps.network_inboxes == (limits.NETWORK_INBOXES_PER_S, limits.NETWORK_INBOXES)
    assert caps.key_publishes == (limits.KEY_PUBLISHES_PER_S, limits.KEY_PUBLISHES)
    assert caps.inbox_deposits == (limits.INBOX_DEPOSITS_PER_S, limits.INBOX_DEPOSITS)
    assert (caps.drain_s, caps.load_keys_per_s) == (limits.SERVER_DRAIN_S, limits.LOAD_KEYS_PER_S)
    assert (caps.strikes_burst, caps.strikes_per_hour) == (limits.SERVER_STRIKES, limits.SERVER_STRIKES_PER_HOUR)


def test_a_key_that_publishes_too_often_is_told_busy_and_others_are_not():
    async def story():
        host = Host()
        async with serving(Caps(key_publishes=FEW)) as server:
            async with open_link(server.url) as link:
                for seq in range(FEW.burst):
                    assert (await link.ask(Publish(host.signed(NOW_MS + seq)), Published)).accepted
                answer = await link.ask(Publish(host.signed(NOW_MS + 9)), Published)
                assert answer == Published(accepted=False, code=Refusal.BUSY)
                with pytest.raises(Unavailable, match=str(CloseCode.BUSY)):
                    await link.receive(Published)
            async with open_link(server.url) as link:
                assert (await link.ask(Publish(Host().signed()), Published)).accepted

    run(story())


def test_replaying_a_listing_costs_its_key_nothing_and_its_host_publishes_on():
    async def story():
        host = Host()
        async with serving(Caps(key_publishes=FEW)) as server, open_link(server.url) as link:
            assert (await link.ask(Publish(host.signed(NOW_MS)), Published)).accepted
            async with open_link(server.url) as replayer:
                for seq in (NOW_MS, NOW_MS - 1) * FEW.burst:
                    await replayer.ask(Publish(host.signed(seq)), Published)
            assert (await link.ask(Publish(host.signed(NOW_MS + 1)), Published)).accepted

    run(story())


def test_an_inbox_that_is_flooded_drops_what_is_too_much_and_answers_as_ever():
    async def story():
        inbox, other = SigningKey.generate().public, SigningKey.generate().public
        async with serving(Caps(inbox_deposits=FEW)) as server:
            for name in (inbox, other):
                await server.engine.open_inbox(name)
            for _ in range(FEW.burst + 3):
                await deposit_at(server.url, inbox, SEALED)
            await deposit_at(server.url, other, SEALED)
            assert len(await server.engine.waiting(inbox)) == FEW.burst
            assert len(await server.engine.waiting(other)) == 1

    run(story())


def test_a_flood_of_new_keys_makes_new_keys_work_more_and_idleness_makes_it_the_usual_again():
    clock = TurnedClock()
    load = Load(Caps(stamp_bits=16), clock=clock)
    assert load.bits() == 16
    asked = []
    for _ in range(8):
        for _ in range(int(limits.LOAD_KEYS_PER_S * limits.LOAD_WINDOW_S)):
            load.note_new_key()
        asked.append(load.bits())
    assert asked == sorted(asked)
    assert asked[0] == 17
    assert asked[-1] == limits.STAMP_BITS_MOST
    clock.turn(10 * limits.LOAD_WINDOW_S)
    assert load.bits() == 16


def test_an_operator_who_wants_no_work_gets_some_under_load_alone():
    load = Load(Caps(stamp_bits=0, load_keys_per_s=1.0), clock=TurnedClock())
    assert load.ask() == 0
    for _ in range(int(limits.LOAD_WINDOW_S)):
        load.note_new_key()
    assert load.ask() == limits.LOAD_BITS_LEAST + 1


def test_who_was_asked_for_less_a_moment_ago_is_not_sent_to_work_again():
    async def story():
        host = Host()
        async with serving(Caps(load_keys_per_s=1 / limits.LOAD_WINDOW_S), stamp_bits=1) as server:
            async with open_link(server.url) as link:
                assert (await link.ask(Publish(host.signed()), Published)).bits == 1
            for _ in range(2):  # the load rises while the first one works
                other = Host()
                stamp = await make_stamp(other.peer, authority(server.url), 1, clock=server.clock)
                async with open_link(server.url) as link:
                    assert (await link.ask(Publish(other.signed(), stamp), Published)).accepted
            async with open_link(server.url) as link:
                assert (await link.ask(Publish(Host().signed()), Published)).bits > limits.LOAD_BITS_LEAST
                stamp = await make_stamp(host.peer, authority(server.url), 1, clock=server.clock)
                assert (await link.ask(Publish(host.signed(), stamp), Published)).accepted
            server.clock.turn(limits.STAMP_S + 1)
            async with open_link(server.url) as link:
                late = await link.ask(Publish(Host().signed()), Published)
                assert late.code == Refusal.STAMP

    run(story())


async def send_frames(connection, frame):
    """Send a frame again and again, 100 in each write, until the server hangs up."""
    connection.transport.write(b"".join(connection.protocol.data_to_send()))
    written = frame.serialize(mask=True, extensions=[]) * 100
    while not connection.transport.is_closing():
        connection.transport.write(written)
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "frame",
    [
        Frame(Opcode.PONG, b""),
        Frame(Opcode.PING, b""),
        Frame(Opcode.CONT, b"", fin=False),
        Frame(Opcode.CONT, b"x", fin=False),
    ],
)
@pytest.mark.parametrize("path", ["", "/relay"])
def test_who_floods_with_frames_that_say_nothing_is_cut_and_then_kept_out(frame, path):
    async def story():
        protocol = Subprotocol(SUBPROTOCOLS[0] if path else SUBPROTOCOL)
        caps, made = Caps(strikes_burst=1), Relaying(SystemClock())
        async with serving(caps, relaying=made) as server:
            for _ in range(2):
                async with connect(server.url + path, subprotocols=[protocol], ping_interval=None) as connection:
                    if frame.opcode is Opcode.CONT:
                        connection.protocol.send_binary(b"", fin=False)
                    await send_frames(connection, frame)
            with pytest.raises(InvalidStatus, match="429"):
                await connect(server.url + path, subprotocols=[protocol])

    run(story())


def test_who_pings_now_and_then_is_served_on():
    async def story():
        caps = Caps()
        assert caps.control_frames == (limits.SERVER_CONTROL_FRAMES_PER_S, limits.SERVER_CONTROL_FRAMES)
        asking = [Subprotocol(SUBPROTOCOL)]
        async with serving(caps) as server, connect(server.url, subprotocols=asking, ping_interval=None) as connection:
            for _ in range(3):
                for _ in range(caps.control_frames.burst):
                    await (await connection.ping())
                server.clock.turn(60)
            await connection.send(encode(Browse(b"", 1)))
            await connection.recv()

    run(story())


def test_sockets_that_say_nothing_or_drip_do_not_keep_others_out():
    """Slow loris: as many as one address may have hold on, and who comes from elsewhere is served meanwhile."""

    async def story():
        caps = Caps(connections_per_address=20, handshake_s=0.3, silence_s=0.3)
        async with serving(caps, trusted=["127.0.0.1"]) as server:
            slow = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(60)]
            for number, (_, writer) in enumerate(slow):
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n"[: number % 26])
            async with open_link(server.url) as link:
                await link.ask(Browse(b"", 1), Page)
            for reader, writer in slow:
                await reader.read()  # returns when the server has cut it
                writer.close()

    run(story())


def test_a_request_that_does_not_end_is_cut_before_it_fills_the_memory():
    async def story():
        line = b"X-Much: " + b"a" * 4000 + b"\r\n"
        async with serving(Caps(handshake_s=60)) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET / HTTP/1.1\r\n")
            for _ in range(0, 2 * limits.SERVER_REQUEST_BYTES, len(line)):
                writer.write(line)
                await asyncio.sleep(0)
            with suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 10) == b""
            writer.close()
            async with open_link(server.url) as link:
                await link.ask(Browse(b"", 1), Page)

    run(story())


def test_a_sender_that_floods_waits_and_another_one_does_not():
    async def story():
        async with serving(Caps(messages_burst=5, messages_per_s=10.0)) as server, open_link(server.url) as flood:
            for _ in range(8):
                await flood._connection.send(encode(Browse(b"", 1)))
            async with open_link(server.url) as link:
                await link.ask(Browse(b"", 1), Page, timeout_s=1)
            for _ in range(8):
                await flood.receive(Page)

    run(story())


def test_bans_and_buckets_remember_no_more_than_their_cap(monkeypatch):
    monkeypatch.setattr(limits, "SERVER_BANS", 2)
    clock = TurnedClock()
    bans = Bans(Caps(strikes_burst=1), clock=clock)
    for address in ("a", "b", "c"):
        assert not bans.strike(address)
        assert bans.strike(address)
    assert [bans.holds(address) for address in ("a", "b", "c")] == [False, True, True]
    clock.turn(limits.SERVER_BAN_S)
    assert not bans.holds("c")
    buckets = Buckets(2, clock=clock)
    rate = Rate(0.001, 1)
    assert [buckets.spend(name, rate) for name in (b"a", b"b", b"a", b"c", b"a")] == [True, True, False, True, False]
    assert len(buckets._buckets) == 2
