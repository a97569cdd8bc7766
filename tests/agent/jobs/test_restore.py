"""What a restore writes down of the hosts that it read from, and tells of what lacks."""

import asyncio
import os

import pytest

from agent.estates import estate_of
from backuppeer.agent.jobs.restore import RestoreJob, count_lost
from backuppeer.agent.reporter import Reporter
from backuppeer.control.restoring import RestoreRequest
from backuppeer.errors import PeerUnreachable
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


def test_a_folder_whose_list_lies_with_a_host_that_is_away_is_told_as_that_and_not_as_one_file(
    house, other, owner, tree, tmp_path
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            folder = tree()
            for number in range(4):
                (folder / f"whole{number}").write_bytes(os.urandom(1000))
            await estate.back_up(folder)
            (folder / "later").write_bytes(b"later")
            await estate.back_up(folder, house)
            estate.lose_repository("trees")  # as a home that was recovered
            estate.sight.away = {house.peer}
            request = RestoreRequest(servers=[], snapshot="latest", target=str(tmp_path / "target"), wait_s=0)
            with pytest.raises(PeerUnreachable, match=r"now: 1 folder with all in it; restored to .*: 0 files"):
                await RestoreJob(estate.vault, request, Reporter(estate._emit), estate._emit).run()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("errors", "dirs", "said"),
    [
        (1, 0, "1 file"),
        (2, 0, "2 files"),
        (1, 1, "1 folder with all in it"),
        (4, 2, "2 files and 2 folders with all in them"),
        (2, 1, "1 file and 1 folder with all in it"),
    ],
)
def test_what_lacks_is_counted_as_files_and_as_folders(errors, dirs, said):
    assert count_lost(errors, dirs) == said
