"""Transfers that are cut again and again: each connection is lost after so many bytes, and nothing is sent twice."""

import asyncio
import functools

import pytest

from agent.hosted import hosted
from agent.houses import WISH
from agent.owner.test_transfer import Redial, Run, draft_of, noise
from backuppeer.agent.owner import upload as upload_module
from backuppeer.agent.peers import retry as retry_module
from backuppeer.agent.peers.partners import Partner
from backuppeer.host.incoming import Incoming
from backuppeer.limits import KIB, MIB


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Pauses between tries are short, and there may be many."""
    monkeypatch.setattr(retry_module, "RETRY_FIRST_S", 0.001)
    monkeypatch.setattr(retry_module, "RETRY_MOST_S", 0.005)
    monkeypatch.setattr(upload_module, "retry", functools.partial(retry_module.retry, budget_s=60.0))


@pytest.fixture
def received(monkeypatch):
    """How many bytes of packs the host took, sent twice or not."""
    sizes, write = [], Incoming.write

    def count(incoming, piece):
        sizes.append(len(piece))
        write(incoming, piece)

    monkeypatch.setattr(Incoming, "write", count)
    return sizes


@pytest.mark.parametrize("each_bytes", [700_001, 1_300_003])
def test_a_transfer_whose_connections_all_break_completes_and_sends_no_byte_of_a_pack_twice(
    house, owner, received, each_bytes
):
    agreement = owner.agree_with(house, (64 * MIB, *WISH[1:]))

    async def scenario():
        async with hosted(house, owner) as link:
            run = Run(owner, [Partner(agreement, house.peer, "host", Redial(link))])
            weather = link.near.transport._network.weather
            # What arrived and was not read is lost with the connection: little, so that each one brings something.
            weather.cut_after_bytes, weather.window_bytes = each_bytes, 64 * KIB
            drafts = [draft_of(owner, *(noise((pack, n), 500_000) for n in range(2))) for pack in range(3)]
            await run.store(*drafts)
            weather.cut_after_bytes = None
            cuts = run.upload._targets[0].partner.reach.dialled - len(drafts)
            assert cuts >= 2
            assert sorted(copy.logical for copy in run.copies) == sorted(draft.logical for draft in drafts)
            for draft in drafts:
                assert len(await run.read(draft)) == 2
            return sum(copy.size for copy in run.copies)

    assert asyncio.run(scenario()) == sum(received)
