"""A pack that comes again while, or after, an earlier try was cut: the host asks for the rest alone."""

import asyncio

import pytest

from agent.hosted import hosted
from agent.houses import WISH
from backuppeer.agent.host import serving as serving_module
from backuppeer.host.incoming import Incoming
from backuppeer.host.parts import Parts
from backuppeer.limits import MIB, PART_AWAITED_S, REPLY_S
from backuppeer.proof.merkle import compute_stored_id
from backuppeer.wire.messages import Proceed, PutPack, Stored
from noise import noise

DATA = noise(7, 2 * MIB + 100_000)
FIRST = MIB + 50_000


def offer(agreement, *, resumes=True):
    return PutPack(agreement=agreement, stored=compute_stored_id(DATA), size=len(DATA), resumes=resumes)


async def send_first(link, agreement, left):
    """Send the first bytes of a pack, and throw the stream away once told to."""
    async with link.session.request(offer(agreement)) as channel:
        assert (await channel.receive(Proceed)).have == 0
        await channel.send_raw(DATA[:FIRST])
        await left.wait()
        raise ConnectionAbortedError


@pytest.fixture
def play(house, owner, monkeypatch):
    """Run a scenario once a host has written the first MiB of a pack, whose try has not ended."""

    def run(scenario):
        agreement, write = owner.agree_with(house, (16 * MIB, *WISH[1:])), Incoming.write

        async def begin():
            arrived, left, loop = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop()

            def told(incoming, piece):
                write(incoming, piece)
                loop.call_soon_threadsafe(arrived.set)

            monkeypatch.setattr(Incoming, "write", told)
            async with hosted(house, owner) as link, asyncio.timeout(20):
                first = asyncio.create_task(send_first(link, agreement, left))
                await arrived.wait()
                await scenario(link, agreement, left)
                left.set()
                await asyncio.gather(first, return_exceptions=True)

        asyncio.run(begin())

    return run


def test_the_try_before_ends_first_and_the_rest_alone_is_asked_for(house, play):
    async def scenario(link, agreement, left):
        async with link.session.request(offer(agreement)) as channel:
            left.set()
            have = (await channel.receive(Proceed)).have
            assert MIB <= have <= FIRST
            await channel.send_raw(DATA[have:])
            await channel.receive(Stored)
        assert house.premises.open().usage(agreement).packs == 1

    play(scenario)


def test_an_owner_of_before_gets_its_pack_asked_for_whole(play):
    async def scenario(link, agreement, left):
        left.set()
        async with link.session.request(offer(agreement, resumes=False)) as channel:
            assert (await channel.receive(Proceed)).have == 0
            await channel.send_raw(DATA)
            await channel.receive(Stored)

    play(scenario)


@pytest.mark.parametrize("patience_s", [0.05])
def test_a_try_before_that_does_not_end_is_not_waited_for_longer(play, monkeypatch, patience_s):
    assert PART_AWAITED_S < REPLY_S
    monkeypatch.setattr(serving_module, "PART_AWAITED_S", patience_s)

    async def scenario(link, agreement, _):
        async with link.session.request(offer(agreement)) as channel:
            assert (await channel.receive(Proceed)).have == 0
            await channel.send_raw(DATA)
            await channel.receive(Stored)

    play(scenario)


def make_disk_small(store, monkeypatch):
    """Give a store a disk that has room for the pack, once, beside what always stays free."""
    incoming, most = store.directory / "incoming", store.quota.floor_bytes + len(DATA) + 100_000
    monkeypatch.setattr(store.quota, "free_disk", lambda: most - sum(p.stat().st_size for p in incoming.iterdir()))


@pytest.mark.parametrize("data", [DATA, DATA[:-1]])
def test_what_came_before_a_cut_takes_no_room_from_a_pack_on_a_disk_that_is_nearly_full(house, play, monkeypatch, data):
    async def scenario(link, agreement, left):
        is_kept, keep, loop = asyncio.Event(), Parts.keep, asyncio.get_running_loop()

        def told(parts, *kept):
            keep(parts, *kept)
            loop.call_soon_threadsafe(is_kept.set)

        monkeypatch.setattr(Parts, "keep", told)
        left.set()
        await is_kept.wait()
        make_disk_small(house.premises.open(), monkeypatch)
        announced = PutPack(agreement=agreement, stored=compute_stored_id(data), size=len(data), resumes=True)
        async with link.session.request(announced) as channel:
            assert (await channel.receive(Proceed)).have == 0
            await channel.send_raw(data)
            await channel.receive(Stored)

    play(scenario)
