"""Two nodes behind one name, upon one real store: across nodes, and when a node or the store goes."""

import asyncio
import itertools
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from websockets.exceptions import ConnectionClosed

from backuppeer import limits
from backuppeer.crypto.identity import Purpose, SigningKey
from backuppeer.errors import Unavailable, UserError
from backuppeer.signaling.client import open_link
from backuppeer.signaling.depositing import deposit_at
from backuppeer.signaling.messages import (
    Browse,
    Challenge,
    CloseCode,
    InboxOpen,
    Message,
    OpenInbox,
    Page,
    ProveInbox,
    Publish,
    Published,
    Refusal,
    Taken,
    inbox_proof_blob,
)
from backuppeer.signaling.pool import Pool
from backuppeer.signaling.server.caps import Caps
from backuppeer.signaling.server.cluster.shared import SharedEngine
from backuppeer.signaling.server.cluster.shared_notes import SharedNotes
from backuppeer.signaling.server.cluster.store import Store
from backuppeer.signaling.server.engine import Rate
from backuppeer.signaling.servers import authority
from signaling.kit import Host, NoJitter, TurnedClock, run, serving
from signaling.stores import storing

SEALED = b"s" * limits.KNOCK_BYTES
PREFIXES = itertools.count()


@pytest.fixture(autouse=True)
def beats(monkeypatch):
    """A heart that beats faster: what is waited for here is a few beats away."""
    monkeypatch.setattr(limits, "STORE_BEAT_S", 0.05)
    monkeypatch.setattr(limits, "STORE_NODE_DEAD_S", 0.5)


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    with storing(tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture
def own_process(tmp_path):
    with storing(tmp_path) as store:
        yield store


@dataclass
class Nodes:
    """Servers, their engines and the time of all."""

    urls: list[str]
    engines: list[SharedEngine]
    clock: TurnedClock


@asynccontextmanager
async def nodes(process, **caps):
    clock, prefix, caps = TurnedClock(), f"{{cluster{next(PREFIXES)}}}:", Caps(stamp_bits=0, sweep_s=0.05, **caps)
    engines = [
        SharedEngine(Store(process.url, prefix=prefix, now_ms=clock.now_ms), caps, clock=clock) for _ in range(2)
    ]
    async with (
        serving(caps, clock=clock, engine=engines[0]) as one,
        serving(caps, clock=clock, engine=engines[1]) as two,
    ):
        yield Nodes([one.url, two.url], engines, clock)


async def open_inbox(link, key):
    challenge = await link.ask(OpenInbox(key.public), Challenge)
    blob = inbox_proof_blob(challenge.nonce, authority(link.url), key.public)
    await link.ask(ProveInbox(key.sign(Purpose.INBOX, blob)), InboxOpen)


async def rows(url):
    async with open_link(url) as link:
        return (await link.ask(Browse(b"", limits.PAGE_LISTINGS), Page)).rows


async def until(holds):
    """Wait for what another process or task brings about."""
    while not await holds():  # noqa: ASYNC110 - there is no event to wait for across processes
        await asyncio.sleep(0.01)


def test_a_listing_published_at_one_node_is_handed_out_by_the_other(process):
    async def story():
        host = Host()
        async with nodes(process) as service, open_link(service.urls[0]) as link:
            assert (await link.ask(Publish(host.signed()), Published)).accepted
            assert await rows(service.urls[1]) == [host.signed()]
            async with open_link(service.urls[1]) as other:
                older = await other.ask(Publish(host.signed(host.listing().seq - 1)), Published)
            assert older == Published(accepted=False, code=Refusal.STALE)

    run(story())


def test_a_knock_at_one_node_arrives_at_the_inbox_that_is_open_at_the_other(process):
    async def story():
        key = SigningKey.generate()
        async with nodes(process) as service, open_link(service.urls[0]) as link:
            await open_inbox(link, key)
            await deposit_at(service.urls[1], key.public, SEALED)
            message = await link.receive(Message)
            assert message.sealed == SEALED
            await link.send(Taken(message.number))
            await until(lambda: is_taken(service, key))

    async def is_taken(service, key):
        return await service.engines[1].waiting(key.public) == []

    run(story())


def test_an_inbox_opened_at_another_node_closes_the_socket_at_the_first(process):
    async def story():
        key = SigningKey.generate()
        async with nodes(process) as service, open_link(service.urls[0]) as first:
            await open_inbox(first, key)
            async with open_link(service.urls[1]) as second:
                await open_inbox(second, key)
                with pytest.raises(Unavailable, match=str(CloseCode.TAKEN_OVER)):
                    await first.receive(Message)
                await deposit_at(service.urls[0], key.public, SEALED)
                assert (await second.receive(Message)).sealed == SEALED

    run(story())


def test_limits_count_at_all_nodes_together(process):
    async def story():
        async with nodes(process, network_pages=Rate(0.001, 3)) as service:
            for url in (service.urls[0], service.urls[1], service.urls[0]):
                assert await rows(url) == []
            with pytest.raises(Unavailable, match=str(CloseCode.TOO_MANY)):
                await rows(service.urls[1])

    run(story())


def test_what_a_killed_node_held_goes_60_s_after_its_last_beat(process):
    async def story():
        host, key = Host(), SigningKey.generate()
        async with (
            nodes(process) as service,
            open_link(service.urls[0]) as link,
            open_link(service.urls[0]) as inbox,
        ):
            await link.ask(Publish(host.signed()), Published)
            await open_inbox(inbox, key)
            await service.engines[0].membership.part()  # as if killed: nothing is said any more
            service.clock.turn(limits.LISTING_GRACE_S - 1)
            await until(lambda: is_left(service, key))
            assert await rows(service.urls[1]) == [host.signed()]
            service.clock.turn(2)
            await until(lambda: is_gone(service))
            await deposit_at(service.urls[1], key.public, SEALED)
            assert len(await service.engines[1].waiting(key.public)) == 1
            service.clock.turn(limits.INBOX_LIFE_S)
            await until(lambda: is_empty(service, key))

    async def is_left(service, key):
        node = service.engines[0].membership.node
        return not await service.engines[1]._store._client.sismember(
            service.engines[1]._store.prefix.encode() + b"ni:" + node, key.public
        )

    async def is_gone(service):
        return await rows(service.urls[1]) == []

    async def is_empty(service, key):
        return await service.engines[1].waiting(key.public) == []

    run(story())


def test_a_store_that_lost_everything_is_filled_again_by_hosts_that_come_back(own_process):
    async def story():
        host, heard = Host(), asyncio.Queue()

        async def on_message(sealed, _url):
            heard.put_nowait(sealed)

        async with (
            nodes(own_process) as service,
            Pool([service.urls[0]], clock=service.clock, randomness=NoJitter()) as pool,
        ):
            pool.attend(host.inbox, on_message)
            await pool.publish(host.signed())
            own_process.kill()
            own_process.start()
            await until(lambda: is_shown(service))
            await until(lambda: is_knocked(service, host, heard))

    async def is_shown(service):
        try:
            return await service.engines[1].count() == 1
        except Unavailable:
            return False

    async def is_knocked(service, host, heard):
        await deposit_at(service.urls[1], host.inbox.public, SEALED)
        await asyncio.sleep(0.01)
        return not heard.empty()

    run(story())


def test_without_the_store_a_node_hands_out_what_it_saw_says_busy_and_recovers(own_process, caplog):
    async def story():
        host, late = Host(), Host()
        async with nodes(own_process) as service, open_link(service.urls[0]) as link:
            await link.ask(Publish(host.signed()), Published)
            assert await rows(service.urls[1]) == [host.signed()]
            own_process.kill()
            assert await rows(service.urls[0]) == [host.signed()]
            assert await rows(service.urls[1]) == [host.signed()]
            async with open_link(service.urls[1]) as other:
                assert await other.ask(Publish(late.signed()), Published) == Published(
                    accepted=False, code=Refusal.BUSY
                )
                with pytest.raises(Unavailable, match=f"{CloseCode.BUSY} busy"):
                    await other.receive(Published)
            with pytest.raises(Unavailable, match=f"{CloseCode.BUSY} busy"):
                await deposit_at(service.urls[1], host.inbox.public, SEALED)
            async with open_link(service.urls[1]) as other:
                with pytest.raises(Unavailable, match=f"{CloseCode.BUSY} busy"):
                    await open_inbox(other, host.inbox)
            own_process.start()
            await until(lambda: is_taken(service, late))

    async def is_taken(service, late):
        try:
            async with open_link(service.urls[1]) as link:
                return (await link.ask(Publish(late.signed()), Published)).accepted
        except (Unavailable, ConnectionClosed):
            return False

    with caplog.at_level(logging.INFO):
        run(story())
    said = [record.message for record in caplog.records]
    assert any("read-only" in line for line in said)
    assert any("is back" in line for line in said)


def test_a_store_that_keeps_its_data_goes_on_and_what_ended_meanwhile_is_let_go(tmp_path):
    async def story(process):
        host, key = Host(), SigningKey.generate()
        async with nodes(process) as service, open_link(service.urls[0]) as inbox:
            await open_inbox(inbox, key)
            async with open_link(service.urls[0]) as link:
                await link.ask(Publish(host.signed()), Published)
                process.kill()
                await until(lambda: is_gone(service))
            process.start()
            await until(lambda: is_back(service))
            assert await rows(service.urls[1]) == [host.signed()]
            await deposit_at(service.urls[1], key.public, SEALED)
            assert (await inbox.receive(Message)).sealed == SEALED
            await until(lambda: has_paid(service))
            service.clock.turn(limits.LISTING_GRACE_S + 1)
            await until(lambda: is_empty(service))

    async def is_gone(service):
        return not any(engine.is_whole() for engine in service.engines)

    async def is_back(service):
        return all(engine.is_whole() for engine in service.engines)

    async def has_paid(service):
        return not service.engines[0].membership._lost_holders

    async def is_empty(service):
        return await rows(service.urls[1]) == []

    with storing(tmp_path, keeps=True) as process:
        run(story(process))


async def write(service, verb, key, *words):
    """Write to the store as somebody does who is no node."""
    store = service.engines[0]._store
    await store._client.execute_command(verb, store.prefix.encode() + key, *words)


def test_a_message_whose_number_is_none_is_left_out_and_the_others_arrive(process):
    async def story():
        host = Host()
        async with nodes(process) as service:
            async with open_link(service.urls[0]) as link:
                await open_inbox(link, host.inbox)
                for number in (b"none", b"-1", b"9" * 19, b"1" * 30):
                    await write(service, "HSET", b"m:" + host.inbox.public, number, SEALED)
                membership = service.engines[0].membership
                membership._catching_up.set()
                await deposit_at(service.urls[1], host.inbox.public, SEALED)
                assert (await link.receive(Message)).sealed == SEALED
                assert not membership._tasks[2].done()
            async with open_link(service.urls[1]) as link:
                await open_inbox(link, host.inbox)
                assert (await link.receive(Message)).sealed == SEALED
                later = b"l" * len(SEALED)
                await deposit_at(service.urls[0], host.inbox.public, later)
                assert (await link.receive(Message)).sealed == later

    run(story())


def test_networks_are_counted_by_a_key_of_any_size(process):
    async def story():
        async with nodes(process, network_pages=Rate(1.0, 2)) as service:
            day = service.clock.now_ms() // 86_400_000
            await write(service, "SET", b"key:%d" % day, bytes(100))
            for url in service.urls:
                await rows(url)
            with pytest.raises(Unavailable, match=f"{CloseCode.TOO_MANY} too many"):
                await rows(service.urls[0])

    run(story())


def test_what_no_node_wrote_is_as_good_as_no_answer_and_said_once(process, caplog):
    async def story():
        async with nodes(process) as service:
            notes, inbox = SharedNotes(service.engines[0]._store, 10), bytes(32)
            for words in ((b"number", b"none"), (b"number", b"%d" % service.clock.now_ms())):
                await write(service, "HSET", b"n:" + inbox, *words)
                with pytest.raises(Unavailable, match="none of its nodes wrote"):
                    await notes.get(inbox, now_ms=service.clock.now_ms())

    run(story())
    assert sum("none of its nodes wrote" in record.message for record in caplog.records) == 1


def test_an_address_that_is_none_of_a_store_is_refused():
    for url in ("https://example.org", "valkey", ""):
        with pytest.raises(UserError, match="not the address"):
            Store(url, prefix="x")


def test_connections_that_end_while_the_store_is_away_are_remembered_up_to_a_cap(process, monkeypatch):
    async def story():
        monkeypatch.setattr(limits, "STORE_DEBTS", 3)
        async with nodes(process) as service:
            membership = service.engines[0].membership
            node = membership.node
            for holder in range(5):
                membership.owe_holder(b"p" * 32, holder)
            await until(lambda: is_another(membership, node))

    async def is_another(membership, node):
        return membership.node != node

    run(story())
