"""How a home is found at a relay and finds others by one: a real server, real transports, all on loopback."""

import asyncio
import os
from contextlib import asynccontextmanager

import msgspec
import pytest

from backuppeer.agent.peers import relays as relays_module
from backuppeer.agent.peers.relays import Relays, judge_nat
from backuppeer.agent.peers.whereabouts import NatKind, Whereabouts, read_binding
from backuppeer.clock import SystemClock
from backuppeer.crypto.identity import SigningKey
from backuppeer.ids import PeerId
from backuppeer.limits import (
    RELAY_ATTACH_S,
    RELAY_FRESH_S,
    RELAY_KEPT_S,
    RELAY_LIFE_S,
    RELAY_SERVERS,
    RELAY_VAIN_S,
    RELAY_WAIT_S,
)
from backuppeer.proof.statements import TransportBinding, sign_statement
from backuppeer.signaling.asking import is_proxied, relay_url
from backuppeer.signaling.proxying import use_nothing, use_proxy
from backuppeer.signaling.server.relay.relaying import Relaying
from backuppeer.transport.iroh import open_iroh
from backuppeer.transport.memory import Network
from signaling.kit import TurnedClock, dead_url, hanging, run, serving, until


@asynccontextmanager
async def relaying():
    made = Relaying(SystemClock(), may_loopback=True)
    async with serving(relaying=made) as served:
        yield served, made


@asynccontextmanager
async def home(*servers, clock=None):
    """A transport and its relays, as of a home that may use loopback."""
    transport = await open_iroh(os.urandom(32), bind=["127.0.0.1:0"])
    made = Relays(transport, clock or SystemClock(), loopback=False)
    made.servers = lambda: list(servers)
    try:
        yield transport, made
    finally:
        await made.close()
        await transport.close()


def test_a_host_is_found_at_the_relay_of_its_server_and_reached_there_without_any_address():
    async def scene():
        async with relaying() as (server, _), home(server.url) as (host, at_host), home() as (owner, at_owner):
            await at_host.attach()
            assert at_host.home == server.url
            assert at_host.nat is NatKind.NONE
            at_owner.know([server.url])
            road = await at_owner.road(server.url)
            assert road == relay_url(server.url)
            connection = await owner.dial(host.transport_id, [], relay=road)
            assert connection.remote == host.transport_id

    run(scene())


def test_nothing_is_asked_of_a_server_that_a_peer_named_and_that_is_neither_ours_nor_public():
    async def scene():
        async with relaying() as (server, made), home() as (owner, relays):
            assert await relays.road(server.url) == ""
            assert not made.admissions.holds(owner.transport_id)

    run(scene())


def test_a_home_on_loopback_and_one_whose_transport_has_no_relays_ask_nobody():
    async def scene():
        async with relaying() as (server, made), home(server.url) as (transport, _):
            for relays in (
                Relays(transport, SystemClock(), loopback=True),
                Relays(Network().join(bytes(32)), SystemClock(), loopback=False),
            ):
                relays.servers = lambda: [server.url]
                await relays.attach()
                assert (relays.home, await relays.road(server.url)) == ("", "")
            assert made.relay.counters.admitted == 0
            assert not made.admissions.holds(transport.transport_id)

    run(scene())


def test_servers_that_are_away_or_have_no_relay_leave_a_host_without_one():
    async def scene():
        async with serving() as plain, home(plain.url, dead_url()) as (_, relays):
            await relays.attach()
            assert relays.home == ""
            assert await relays.road(plain.url) == ""

    run(scene())


async def how_long(work):
    began_s = asyncio.get_running_loop().time()
    await work
    return asyncio.get_running_loop().time() - began_s


def test_a_server_that_hangs_keeps_no_host_from_the_relay_of_another():
    async def scene():
        async with hanging() as mute, relaying() as (good, _), home(mute, good.url) as (_, relays):
            await relays.attach()
            assert relays.home == good.url
            assert await how_long(relays.attach()) < RELAY_WAIT_S

    run(scene())


def test_a_server_that_hangs_is_waited_for_once_in_a_while_and_not_at_each_knock():
    async def scene():
        clock = TurnedClock()
        async with hanging() as mute, home(mute, clock=clock) as (_, relays):
            assert RELAY_WAIT_S <= await how_long(relays.attach()) < RELAY_ATTACH_S
            assert await how_long(relays.attach()) < RELAY_WAIT_S
            clock.turn(RELAY_FRESH_S)
            assert await how_long(relays.attach()) >= RELAY_WAIT_S

    run(scene())


def test_a_server_that_answers_late_is_used_once_it_has_answered(monkeypatch):
    async def scene():
        asked, may_answer = relays_module.ask_relay, asyncio.Event()

        async def answer_late(url, transport):
            await may_answer.wait()
            return await asked(url, transport)

        monkeypatch.setattr(relays_module, "ask_relay", answer_late)
        async with relaying() as (server, _), home(server.url) as (_, relays):
            await relays.attach()
            assert relays.home == ""
            may_answer.set()
            await until(lambda: relays.home == server.url)

    run(scene())


def test_a_relay_that_is_never_home_is_waited_for_once_in_minutes():
    async def scene():
        clock = TurnedClock()
        async with relaying() as (server, _), home(server.url, clock=clock) as (transport, relays):
            transport.use_relay = lambda _: asyncio.sleep(0)  # as where iroh does not trust the certificate
            assert await how_long(relays.attach()) >= RELAY_ATTACH_S - 0.1
            assert await how_long(relays.attach()) < RELAY_WAIT_S
            clock.turn(RELAY_VAIN_S)
            assert await how_long(relays.attach()) >= RELAY_ATTACH_S - 0.1

    run(scene())


def test_observers_that_are_silent_are_waited_for_once_in_minutes():
    async def scene():
        clock = TurnedClock()
        async with relaying() as (server, _), home(server.url, clock=clock) as (transport, relays):

            async def stay_silent(*_):
                await asyncio.Event().wait()

            transport.observe = stay_silent
            assert await how_long(relays.attach()) >= RELAY_WAIT_S
            assert relays.home == server.url
            assert await how_long(relays.attach()) < RELAY_WAIT_S

    run(scene())


def test_who_dials_by_a_relay_waits_no_longer_for_observers_that_are_silent():
    async def scene():
        async with relaying() as (server, _), home(server.url) as (transport, relays):

            async def stay_silent(*_):
                await asyncio.Event().wait()

            transport.observe = stay_silent
            assert await asyncio.wait_for(relays.road(server.url), 4 * RELAY_WAIT_S) == relay_url(server.url)

    run(scene())


def test_what_a_server_said_a_moment_ago_is_not_asked_again_and_later_it_is(monkeypatch):
    asked = []

    async def scene():
        clock = TurnedClock()
        async with relaying() as (server, _), home(server.url, clock=clock) as (_, relays):
            ask = relays_module.ask_relay

            async def count(url, transport):
                asked.append(url)
                return await ask(url, transport)

            monkeypatch.setattr(relays_module, "ask_relay", count)
            await relays.road(server.url)
            clock.turn(RELAY_FRESH_S - 1)
            await relays.road(server.url)
            assert len(asked) == 1
            clock.turn(1)
            await relays.road(server.url)
            assert len(asked) == 2

    run(scene())


@pytest.fixture
def _quickly(monkeypatch):
    monkeypatch.setattr(relays_module, "OBSERVE_LOOK_S", 0.01)


@pytest.mark.usefixtures("_quickly")
def test_a_home_that_is_found_at_a_relay_stays_admitted():
    async def scene():
        clock = TurnedClock()
        made = Relaying(clock)
        async with serving(relaying=made, clock=clock) as server, home(server.url, clock=clock) as (host, relays):
            await relays.attach()
            for _ in range(4):
                clock.turn(RELAY_LIFE_S / 2)
                renewed_s = relays._admitted[server.url].since_s
                await until(lambda then=renewed_s: relays._admitted[server.url].since_s > then)
            assert made.admissions.holds(host.transport_id)

    run(scene())


@pytest.mark.usefixtures("_quickly")
def test_a_dialler_asks_no_more_once_it_has_no_use_for_the_relay():
    async def scene():
        clock = TurnedClock()
        async with relaying() as (server, _), home(server.url, clock=clock) as (_, relays):
            await relays.road(server.url)
            looked = []
            relays.is_relayed = lambda: looked.append(1) or True
            clock.turn(RELAY_KEPT_S + 1)
            await until(lambda: len(looked) > 2)
            assert relays._admitted
            relays.is_relayed = lambda: False
            await until(lambda: not relays._admitted)
            await until(relays._keeping.done)

    run(scene())


@pytest.mark.usefixtures("_quickly")
def test_a_server_that_was_restarted_is_asked_again_when_its_observers_are_gone():
    async def scene():
        clock = TurnedClock()
        async with home(clock=clock) as (host, relays):
            async with relaying() as (server, _):
                relays.servers = lambda: [server.url]
                await relays.attach()
                url, port = server.url, server.port
            again = Relaying(SystemClock(), may_loopback=True)
            async with serving(relaying=again, port=port):
                clock.turn(RELAY_FRESH_S + 10)
                await until(lambda: again.admissions.holds(host.transport_id))
                await until(lambda: again.relay.counters.clients == 1)
                assert relays.home == url

    run(scene())


def test_of_many_servers_only_some_are_asked():
    async def scene():
        below, plain = [f"ws://127.0.0.1:1/{n}" for n in range(3)], [f"ws://127.0.0.1:{n}" for n in range(1, 10)]
        async with home(*below, *plain) as (_, relays):
            asked = []
            relays._ask = lambda url: asked.append(url) or asyncio.sleep(0, result=False)
            await relays.attach()
            assert len(asked) == RELAY_SERVERS  # and none that lies below a path: a relay has one of its own

    run(scene())


def test_a_proxy_of_the_environment_keeps_relays_out_of_use(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "near.example")
    assert is_proxied("wss://far.example")
    assert not is_proxied("wss://near.example")

    async def scene():
        async with home("wss://far.example") as (_, relays):
            relays.know(["wss://far.example"])
            assert await relays.road("wss://far.example") == ""

    run(scene())


def test_a_proxy_that_a_command_names_keeps_relays_out_of_use_for_it():
    async def scene():
        use_proxy("socks5://127.0.0.1:9050")
        assert is_proxied("wss://far.example")
        assert not is_proxied("ws://127.0.0.1:8443")
        use_nothing()
        assert is_proxied("wss://far.example")
        use_proxy("")
        assert not is_proxied("wss://far.example")

    run(scene())


def test_a_relay_that_was_used_without_a_proxy_is_not_used_by_who_wants_one(monkeypatch):
    async def scene():
        async with relaying() as (server, _), home(server.url) as (_, relays):
            assert await relays.road(server.url)
            monkeypatch.setattr(relays_module, "is_proxied", lambda _: True)
            assert await relays.road(server.url) == ""

    run(scene())


@pytest.mark.parametrize(
    ("seen", "kind"),
    [
        ([], NatKind.UNKNOWN),
        (["192.0.2.7:4"], NatKind.NONE),
        (["203.0.113.9:4"], NatKind.SOME),
        (["203.0.113.9:4", "203.0.113.9:4"], NatKind.STEADY),
        (["203.0.113.9:4", "203.0.113.9:5"], NatKind.SYMMETRIC),
    ],
)
def test_a_nat_is_judged_by_where_two_observers_see_one_socket(seen, kind):
    assert judge_nat(seen, ["192.0.2.7:4"]) is kind


def bind(**ext):
    identity = SigningKey.generate()
    peer = PeerId(identity.public)
    binding = TransportBinding(peer=peer, transport=bytes(32), addresses=["192.0.2.7:4"], time_ms=1, ext=ext)
    return read_binding(sign_statement(binding, identity), peer)


def test_relay_and_nat_travel_in_the_signed_binding():
    said = Whereabouts(bytes(32), ("192.0.2.7:4",), 1, "wss://one.example", "steady")
    assert bind(**said.extensions()) == said
    assert Whereabouts.decode(said.encode()) == said


def test_what_is_no_server_and_no_kind_of_nat_counts_as_not_said():
    assert bind(relay=b"http://192.0.2.1/x", nat=b"worst") == Whereabouts(bytes(32), ("192.0.2.7:4",), 1)
    assert bind(relay=b"\xff\xfe", nat=b"\xff") == Whereabouts(bytes(32), ("192.0.2.7:4",), 1)
    assert bind(relay=b"ws://" + b"a" * 300) == Whereabouts(bytes(32), ("192.0.2.7:4",), 1)


def test_whereabouts_that_were_kept_before_there_were_relays_are_still_read():
    old = msgspec.msgpack.encode({"transport": bytes(32), "addresses": ["192.0.2.7:4"], "time_ms": 1})
    assert Whereabouts.decode(old) == Whereabouts(bytes(32), ("192.0.2.7:4",), 1)


def test_relays_are_examined_on_request_and_one_that_hangs_is_left_out():
    async def scene():
        async with relaying() as (server, _), hanging() as silent, home(server.url, silent) as (_, relays):
            assert relays.is_usable
            assert await relays.examine([server.url, silent], 2.0) == [server.url]
            assert relays.nat is NatKind.NONE
            assert relays.home == ""  # to be asked about makes nobody a host
            assert await relays.examine([], 1.0) == []

    run(scene())


def test_a_home_on_loopback_examines_nothing():
    async def scene():
        async with relaying() as (server, _):
            relays = Relays(Network().join(b"x" * 32), SystemClock(), loopback=True)
            assert not relays.is_usable
            assert await relays.examine([server.url], 1.0) == []

    run(scene())
