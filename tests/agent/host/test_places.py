"""More at once than a host has file descriptors for: who is told "busy", and who is let in nevertheless."""

import asyncio
import errno
import gc
import os
import random
import resource
import subprocess
import sys
from contextlib import AsyncExitStack

import msgspec
import pytest

from agent.hosted import hosted
from agent.houses import WISH, offer, partner
from agent.loops import play
from agent.owner.test_heads import INDEX, chain_of, inventory, rows
from agent.parties import Party, ask, running
from backuppeer.agent.host import places, serving
from backuppeer.agent.host.places import Places
from backuppeer.agent.owner.fetch import read_range
from backuppeer.agent.owner.heads import Drafts
from backuppeer.agent.peers import sessions
from backuppeer.agent.peers.retry import retry
from backuppeer.clock import SystemClock
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import ExitCode, PeerUnreachable, StoreBusy, StoreUnavailable
from backuppeer.host.disk import explain_failure
from backuppeer.ids import PeerId
from backuppeer.limits import (
    KNOWN_OWNER_BYTES,
    LANES_PER_SESSION,
    LEAF_BYTES,
    MIB,
    OPEN_FILES,
    PACKS_READ_AT_ONCE,
    PACKS_RECEIVED_AT_ONCE,
    PLACE_WAIT_S,
    PLACES_PER_PEER,
    REPLY_S,
    REQUEST_STREAMS,
    UNASKED_AGREEMENTS,
)
from backuppeer.proof.merkle import compute_stored_id
from backuppeer.signaling.knock import Verdict
from backuppeer.transport.memory import Network
from backuppeer.wire.codes import CloseCode, RefusalCode
from backuppeer.wire.messages import GetRange, HeadStored, Proceed, PutHead, PutPack, Range, Stored

ONE, OTHER = PeerId(b"1" * 32), PeerId(b"2" * 32)


async def is_busy(made, *, is_newcomer, peer=ONE):
    try:
        async with made.take(peer, is_newcomer=is_newcomer):
            return False
    except StoreBusy:
        return True


def test_newcomers_leave_a_part_of_the_places_to_others():
    async def scenario():
        made = Places(4)
        async with AsyncExitStack() as held:
            for _ in range(2):
                await held.enter_async_context(made.take(ONE, is_newcomer=True))
            assert await is_busy(made, is_newcomer=True)
            for _ in range(2):
                await held.enter_async_context(made.take(ONE, is_newcomer=False))
            assert await is_busy(made, is_newcomer=False)
        async with made.take(ONE, is_newcomer=True), made.take(ONE, is_newcomer=True):
            assert not await is_busy(made, is_newcomer=False)

    play(scenario())


def test_no_peer_holds_more_places_than_one_session_may_use_however_many_sessions_it_makes():
    async def scenario():
        made = Places(4 * PLACES_PER_PEER)
        async with AsyncExitStack() as held:
            for _ in range(PLACES_PER_PEER):
                await held.enter_async_context(made.take(ONE, is_newcomer=False))
            assert await asyncio.create_task(is_busy(made, is_newcomer=False))
            assert not await is_busy(made, is_newcomer=False, peer=OTHER)
        assert not await is_busy(made, is_newcomer=False), "they are free again"
        gc.collect()  # each request is a task of its own, and what failed in it goes with it
        assert not made._shares, "nothing is remembered of who holds none"

    assert PLACES_PER_PEER >= REQUEST_STREAMS + LANES_PER_SESSION, "an honest owner never meets it"
    assert PACKS_RECEIVED_AT_ONCE >= 4 * PLACES_PER_PEER
    play(scenario())


def test_who_finds_no_place_waits_for_one_a_little():
    async def scenario():
        made = Places(1)
        clock = asyncio.get_running_loop().time
        async with made.take(ONE, is_newcomer=False):
            assert await is_busy(made, is_newcomer=False)
            assert clock() == PLACE_WAIT_S < REPLY_S
            waiting = asyncio.create_task(is_busy(made, is_newcomer=False))
            await asyncio.sleep(PLACE_WAIT_S / 2)
        assert not await waiting

    play(scenario())


def test_an_owner_is_a_newcomer_until_a_pack_of_its_lies_here(house, owner):
    agreement = owner.agree_with(house)
    store = house.premises.open()
    assert house.premises.is_newcomer(owner.peer)
    for size, is_newcomer in ((KNOWN_OWNER_BYTES - 1, True), (1, False)):
        data = os.urandom(size)
        with store.receive(agreement, compute_stored_id(data), size) as incoming:
            incoming.write(data)
            incoming.commit()
        assert house.premises.is_newcomer(owner.peer) is is_newcomer
    house.premises.close()
    assert not house.premises.is_newcomer(owner.peer), "while the store is away, whoever has an agreement counts"


def test_packs_beyond_the_cap_are_refused_as_busy_and_the_owner_tries_again(house, owner, monkeypatch):
    agreement = owner.agree_with(house)
    monkeypatch.setattr(serving, "PACKS_RECEIVED_AT_ONCE", 1)
    monkeypatch.setattr(places, "NEWCOMERS_PERMILLE", 1000)
    monkeypatch.setattr(places, "PLACE_WAIT_S", 0.0)

    async def scenario():
        async with hosted(house, owner) as link:
            first = PutPack(agreement=agreement, stored=compute_stored_id(b"a"), size=1)
            async with link.session.request(first) as channel:
                await channel.receive(Proceed)
                with pytest.raises(StoreBusy) as caught:
                    await link.put(agreement, b"one more")
                assert caught.value.exit_code is ExitCode.UNREACHABLE
                assert "moment" in caught.value.hint
                again = asyncio.create_task(retry(lambda: link.put(agreement, b"one more"), SystemClock()))
                await asyncio.sleep(0)
                assert not again.done()
                await channel.send_raw(b"a")
                await channel.receive(Stored)
            assert await again == "sent"

    asyncio.run(scenario())


def test_a_head_with_drafts_waits_for_a_place_as_a_pack_does_and_one_without_needs_none(house, owner, monkeypatch):
    agreement = owner.agree_with(house)
    monkeypatch.setattr(serving, "PACKS_RECEIVED_AT_ONCE", 1)
    monkeypatch.setattr(places, "NEWCOMERS_PERMILLE", 1000)
    monkeypatch.setattr(places, "PLACE_WAIT_S", 0.0)
    chain = chain_of(owner)
    chain.extend(INDEX, inventory(1))
    ((_, head, grant),) = rows(chain)
    plain = PutHead(agreement=agreement, head=head, grant=grant)
    refusal_of, refused = serving.refusal_of, asyncio.Event()

    def refuse(*args, **options):
        refused.set()
        return refusal_of(*args, **options)

    monkeypatch.setattr(serving, "refusal_of", refuse)

    async def scenario():
        async with hosted(house, owner) as link:
            draft = compute_stored_id(b"a")
            first = PutPack(agreement=agreement, stored=draft, size=1, is_draft=True)
            async with link.session.request(first) as channel:
                await channel.receive(Proceed)
                with pytest.raises(StoreBusy):
                    await link.ask(msgspec.structs.replace(plain, drafts=(draft,)), HeadStored)
                assert house.premises.open().heads.get(agreement) is None
                assert isinstance(await link.ask(plain, HeadStored), HeadStored)
                refused.clear()
                left = asyncio.create_task(chain.leave_with(partner(house, agreement, link.session), Drafts((draft,))))
                await refused.wait()
                await channel.send_raw(b"a")
                await channel.receive(Stored)
            assert await left == 0, "it was asked again in a moment"

    asyncio.run(scenario())


def test_reading_beyond_the_cap_is_refused_as_busy_too(house, owner, monkeypatch):
    agreement = owner.agree_with(house)
    monkeypatch.setattr(serving, "PACKS_READ_AT_ONCE", 1)
    monkeypatch.setattr(places, "PLACE_WAIT_S", 0.0)
    data = os.urandom(3 * MIB)  # more than a stream holds, so that the host is still sending

    async def scenario():
        async with hosted(house, owner) as link:
            await link.put(agreement, data)
            wanted = GetRange(agreement=agreement, stored=compute_stored_id(data), first_leaf=0, leaves=192)
            async with link.session.request(wanted) as reader:
                await reader.receive(Range)
                with pytest.raises(StoreBusy):
                    await link.ask(wanted, Range)
                assert b"".join([bytes(piece) async for piece in reader.receive_raw(len(data))]) == data

    asyncio.run(scenario())


def test_a_pack_of_which_no_byte_came_holds_no_file(house, owner):
    agreement = owner.agree_with(house)
    store = house.premises.open()
    with store.receive(agreement, compute_stored_id(b"ab"), 2) as incoming:
        assert not any((store.directory / "incoming").iterdir())
        incoming.write(b"a")
        assert len(list((store.directory / "incoming").iterdir())) == 1
        assert store.usage(agreement).reserved_bytes == 2, "its room is kept from the beginning"


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
def test_too_many_open_files_are_weather_and_no_fault_of_the_disk(house, code):
    error = explain_failure(OSError(code, os.strerror(code)), house.premises.directory)
    assert isinstance(error, StoreBusy)
    assert serving.refusal_of(error).code == RefusalCode.BUSY
    assert serving.refusal_of(StoreUnavailable("away")).code == RefusalCode.STORE_UNAVAILABLE


def test_a_host_out_of_descriptors_is_asked_again_and_not_blamed_for_a_loss(house, owner, monkeypatch):
    agreement = owner.agree_with(house)
    data = os.urandom(300_000)

    def refuse(*_, **__):
        raise OSError(errno.EMFILE, "too many open files")

    async def scenario():
        async with hosted(house, owner) as link:
            await link.put(agreement, data)
            host, into = partner(house, agreement, link.session), memoryview(bytearray(19 * LEAF_BYTES))
            with monkeypatch.context() as patch:
                patch.setattr("backuppeer.host.store.PackReader", refuse)
                with pytest.raises(StoreBusy):
                    await read_range(host, compute_stored_id(data), 0, into)
            got, _ = await read_range(host, compute_stored_id(data), 0, into)
            assert got == data

    asyncio.run(scenario())


def test_beyond_the_cap_of_sessions_a_newcomer_is_turned_away_and_a_partner_takes_a_newcomers_place(monkeypatch):
    monkeypatch.setattr(sessions, "OPEN_SESSIONS", 3)

    async def scenario():
        network = Network()
        partners = [Party(network, index) for index in (2, 3)]
        strangers = [Party(network, index) for index in (4, 5, 6)]
        names = {party.peer for party in strangers}
        host = Party(network, 1, is_newcomer=lambda peer: peer in names)
        async with running(host, *partners, *strangers):
            held = [await party.dial(host) for party in (partners[0], *strangers[:2])]
            with pytest.raises(PeerUnreachable):
                await strangers[2].dial(host)
            assert len(host.sessions.all()) == 3
            last = await partners[1].dial(host)
            await held[2].ended.wait()
            assert {session.peer for session in host.sessions.all()} == {
                partners[0].peer,
                partners[1].peer,
                strangers[0].peer,
            }
            assert await ask(last) == await ask(held[0])
            third = Party(network, 7)
            async with running(third):
                await third.dial(host)
                await held[1].ended.wait()
                fourth = Party(network, 8)
                async with running(fourth):
                    with pytest.raises(PeerUnreachable):
                        await fourth.dial(host)

    play(scenario())


def test_who_is_turned_away_for_the_cap_of_sessions_hears_so(monkeypatch):
    monkeypatch.setattr(sessions, "OPEN_SESSIONS", 1)

    async def scenario():
        network = Network()
        one, host, other = Party(network, 1), Party(network, 2), Party(network, 3)
        async with running(one, host, other):
            await other.dial(host)
            with pytest.raises(PeerUnreachable, match=f"code {int(CloseCode.OVERLOADED)}"):
                await one.dial(host)
            assert await host.dial(one), "what we dial ourselves is wanted"

    play(scenario())


@pytest.mark.slow
def test_a_policy_makes_so_many_agreements_and_then_asks_the_person(house, owner):
    # so small that space is not what ends it
    knock = owner.knock(house, (1, *WISH[1:]))
    randomness = random.Random(7)
    for _ in range(UNASKED_AGREEMENTS):
        stranger = SigningKey.from_seed(randomness.randbytes(32)).public
        asked = msgspec.structs.replace(knock, owner=stranger)
        assert house.requests.consider_knock(asked, offer("all")) is Verdict.ACCEPTED
    assert house.requests.consider_knock(asked, offer("all")) is Verdict.ACCEPTED, "the same again is no further one"
    assert house.requests.consider_knock(knock, offer("all")) is Verdict.PENDING
    assert [record.peer for record in house.shown] == [PeerId(owner.peer)]


@pytest.mark.slow
def test_an_agent_takes_the_descriptors_it_may_have():
    script = (
        "import resource as r; from backuppeer.cli.descriptors import use_descriptors;"
        "r.setrlimit(r.RLIMIT_NOFILE, (256, r.getrlimit(r.RLIMIT_NOFILE)[1]));"
        "use_descriptors(); print(r.getrlimit(r.RLIMIT_NOFILE)[0])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert int(done.stdout) == (OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard))
    assert PACKS_RECEIVED_AT_ONCE + PACKS_READ_AT_ONCE < 1024 / 4, "so that the caps hold where no more is given"
