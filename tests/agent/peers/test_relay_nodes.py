"""Two nodes behind one name, each with its own relay: peers whom the name leads to different ones meet all the same."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from agent.peers.test_relays import home
from backuppeer.agent.peers.endpoint import whereabouts_of
from backuppeer.clock import SystemClock
from backuppeer.limits import RELAY_FRESH_S, RELAY_LIFE_S
from backuppeer.signaling.asking import ask_relay, relay_url
from backuppeer.signaling.messages import RelayIs
from backuppeer.signaling.server.relay.relaying import Relaying
from backuppeer.signaling.servers import may_lead_to
from signaling.kit import TurnedClock, run, serving, until


async def pump(reader, writer):
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


class Name:
    """What clients dial: hands each connection to the next node, from `turn` on."""

    def __init__(self):
        self.ports, self.turn, self.tasks = [], 0, set()

    async def carry(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        port = self.ports[self.turn % len(self.ports)]
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, to_writer), pump(to_reader, writer))


@asynccontextmanager
async def two_nodes(*, is_said=True):
    """Yield the name, its address, and both nodes with what they relay."""
    name = Name()
    async with await asyncio.start_server(name.carry, "127.0.0.1", 0) as door, AsyncExitStack() as held:
        url = f"ws://127.0.0.1:{door.sockets[0].getsockname()[1]}"
        nodes = []
        for _ in range(2):
            made = Relaying(SystemClock(), may_loopback=True)
            served = await held.enter_async_context(serving(relaying=made, origins=[url]))
            made.at = served.url if is_said else ""
            name.ports.append(served.port)
            nodes.append((served, made))
        yield name, url, *nodes
    await asyncio.gather(*name.tasks)


@asynccontextmanager
async def two_relays():
    """Yield two servers, of which the second says that its relay is the first one, for a day, and has no observers."""
    made = [Relaying(SystemClock(), may_loopback=True) for _ in range(2)]
    async with serving(relaying=made[0]) as good, serving(relaying=made[1]) as bad:
        made[1].answer = lambda *_: RelayIs(86_400, [], good.url)
        yield good, bad


def test_a_peer_whom_the_name_leads_to_another_node_finds_the_host_at_the_hosts_node():
    async def scene():
        async with (
            two_nodes() as (name, url, (a, _), (b, _)),
            home(url) as (host, at_host),
            home(url) as (owner, at_owner),
        ):
            await at_host.attach()
            assert at_host.home == a.url
            said = whereabouts_of(host, SystemClock(), at_host)
            assert said.relay == a.url, "what partners are told"
            name.turn = 1
            assert (await ask_relay(url, owner.transport_id)).at == b.url
            at_owner.know([said.relay])  # on loopback; out there it is `wss://` and a public name
            road = await at_owner.road(said.relay)
            assert road == relay_url(a.url)
            connection = await owner.dial(host.transport_id, [], relay=road)
            assert connection.remote == host.transport_id

    run(scene())


def test_a_host_whose_node_has_gone_is_found_at_another_one_and_asks_its_own_while_it_is_there():
    async def scene():
        clock = TurnedClock()
        async with two_nodes() as (name, url, (a, _), (b, at_b)), home(url, clock=clock) as (host, at_host):
            await at_host.attach()
            assert at_host.home == a.url
            name.turn = 1
            clock.turn(RELAY_FRESH_S)
            await at_host.attach()
            assert (at_host.home, at_b.admissions.holds(host.transport_id)) == (a.url, False)
            await a.stop()
            clock.turn(RELAY_FRESH_S)
            await at_host.attach()
            assert at_b.admissions.holds(host.transport_id)
            await until(lambda: at_host.home == b.url)

    run(scene())


@pytest.mark.parametrize(
    ("url", "other", "may"),
    [
        ("wss://one.example", "wss://a.one.example", True),
        ("wss://one.example", "wss://one.example:8443", True),
        ("ws://127.0.0.1:1", "ws://127.0.0.1:2", True),
        ("wss://one.example", "ws://one.example", False),
        ("wss://one.example", "ws://127.0.0.1:2", False),
        ("wss://one.example", "wss://10.0.0.1", False),
        ("wss://one.example", "wss://router.local", False),
        ("ws://127.0.0.1:1", "ws://10.0.0.1:2", False),
        ("wss://one.example", "https://one.example", False),
        ("wss://one.example", "", False),
    ],
)
def test_a_server_leads_to_its_own_host_or_to_what_is_public(url, other, may):
    assert may_lead_to(url, other) is may


def test_a_server_that_leads_where_it_may_not_is_asked_itself():
    async def scene():
        async with two_nodes(is_said=False) as (_, url, (_, made), _), home(url) as (_, at_host):
            made.at = "wss://10.0.0.1:1"
            await at_host.attach()
            assert at_host.home == url

    run(scene())


def test_a_server_that_leads_to_anothers_relay_says_nothing_for_it():
    async def scene():
        async with two_relays() as (good, bad), home(good.url, bad.url) as (_, at_host):
            at_host.servers = lambda: [good.url]
            await at_host.attach()
            before = at_host._admitted[good.url].answer
            at_host.servers = lambda: [good.url, bad.url]
            assert await at_host.road(bad.url) == relay_url(good.url)
            said = at_host._admitted[good.url].answer
            assert (said.life_s, sorted(said.observers)) == (int(RELAY_LIFE_S), sorted(before.observers))
            assert said.observers, "its own, and not none as the other one says"

    run(scene())


def test_a_node_that_answers_nobody_leaves_the_server_that_led_there():
    async def scene():
        async with two_relays() as (good, bad), home(bad.url) as (_, at_host):
            await good.stop()
            await at_host.attach()
            assert at_host.home == bad.url
            assert good.url not in at_host._admitted

    run(scene())
