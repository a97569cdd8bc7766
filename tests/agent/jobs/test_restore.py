"""What a restore writes down of the hosts that it read from."""

import asyncio
import os

from agent.estates import estate_of
from backuppeer.trust.evidence import Kind


def restored_bytes(estate, house):
    return sum(seen.size_bytes for seen in estate.evidence.latest(house.peer) if seen.kind is Kind.RESTORED)


def test_each_host_is_credited_with_what_came_from_it(house, other, owner, tree, tmp_path):
    house.wish = other.wish = (64_000_000, 3600, 60)

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            folder = tree()
            for number in range(4):
                (folder / f"large{number}").write_bytes(os.urandom(9_000_000))
            await estate.back_up(folder)
            estate.sight.away = {house.peer}
            await estate.restore("latest", tmp_path / "one")
            assert restored_bytes(estate, house) == 0
            assert restored_bytes(estate, other) > 36_000_000
            estate.sight.away = set()
            before = restored_bytes(estate, other)
            await estate.restore("latest", tmp_path / "two")
            shares = restored_bytes(estate, house), restored_bytes(estate, other) - before
            assert min(shares) > 0, "two that are there share the work"
            assert 36_000_000 < sum(shares) < 40_000_000

    asyncio.run(scenario())
