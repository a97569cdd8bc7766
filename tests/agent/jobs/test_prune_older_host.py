"""A host whose program is older: what it knows nothing of costs room for a while, and no backup."""

import asyncio

import msgspec
import pytest

from agent.estates import estate_of
from agent.houses import FAULTS, HostHouse
from agent.jobs.pruning import LARGE
from agent.jobs.test_prune import assert_whole, back_up, deleted, erase, held, plan, prune
from agent.jobs.test_prune_unfinished import break_off, house, small, tree  # noqa: F401 - fixtures
from backuppeer.agent.host.serving import Serving
from backuppeer.wire.messages import PutHead


class OlderPutHead(msgspec.Struct, frozen=True, kw_only=True):
    """PutHead before there were drafts."""

    agreement: bytes
    head: bytes
    grant: bytes


@pytest.fixture(autouse=True)
def older(monkeypatch):
    """Let hosts decode what they are sent as an older program does; returns how many drafts it did not see."""
    answer, unseen = Serving._answer_one, []

    async def answer_as_before(serving, peer, channel, message):
        if isinstance(message, PutHead):
            unseen.extend(message.drafts)
            seen = msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=OlderPutHead)
            message = msgspec.msgpack.decode(msgspec.msgpack.encode(seen), type=PutHead)
            assert not message.drafts
        await answer(serving, peer, channel, message)

    monkeypatch.setattr(HostHouse, "wish", LARGE)
    monkeypatch.setattr(Serving, "_answer_one", answer_as_before)
    return unseen


def test_a_host_that_knows_no_drafts_keeps_what_broke_off_for_its_lock_and_is_blamed_for_nothing(
    house,  # noqa: F811
    owner,
    tree,  # noqa: F811
    small,  # noqa: F811
    *,
    tmp_path,
    older,
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            await break_off(estate, tree("a", "b"))
            left, wanted = held(house), {}
            await back_up(estate, small("c"), wanted)
            assert set(older) == left, "the owner says which are drafts, whoever listens"
            done = await prune(estate)
            (row,) = done.hosts
            assert (row.at_once_bytes, row.packs) == (0, len(left)), "to this host they are packs as any other"
            assert row.lock_s >= house.wish[2], "and the person is told for how long it keeps them"
            assert left <= deleted(house)
            assert not left & held(house)
            await assert_whole(estate, tmp_path, wanted)
            again = await plan(estate)
            assert (again.delete_packs, again.unfinished_packs) == (0, 0)
            erase(house)
            await back_up(estate, tree("a", "b"), wanted)
            await assert_whole(estate, tmp_path, wanted)
            assert not estate.seen(house) & FAULTS

    asyncio.run(scenario())
