"""What a host that had not heard keeps of the identity before: what of it comes into the list, and as what."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from agent.estates import estate_of
from agent.houses import head_of
from agent.jobs.test_amend import tag
from agent.jobs.test_take_over import become_heir, job, two_machines
from backuppeer.agent.owner import joining
from backuppeer.agent.owner.joining import Joined, join_stray
from backuppeer.backup.amending import ORIGINAL
from backuppeer.backup.browse import SnapshotFilter, list_snapshots
from backuppeer.limits import SNAPSHOT_TAGS
from backuppeer.repo.snapshot import REPLACED, decode_snapshot, encode_snapshot
from repo.building import make_snapshot


@asynccontextmanager
async def heir_and_thief(owner, tree, tmp_path, house, other):
    """An heir whom one host follows, and a thief who has backed up at the other one, which had not heard."""
    tree()
    async with two_machines(owner, tmp_path, house, other) as (thief, second):
        second.sight.away.add(other.peer)
        await job(second, owner).announce()
        become_heir(second, epoch=3)
        last = (await second.back_up(tree())).snapshot
        thief.sight.away.add(house.peer)
        fakes = tmp_path / "fakes"
        fakes.mkdir()
        (fakes / "letter").write_bytes(b"as the thief would have it")
        stolen = (await thief.back_up(fakes)).snapshot
        second.sight.away.clear()
        yield second, last, stolen


def find_doubtful(estate):
    return list_snapshots(estate.vault.repository.index, SnapshotFilter(tags=(REPLACED,)))


def test_what_is_joined_by_a_command_that_backs_nothing_up_is_in_the_hosts_packs_all_the_same(
    house, other, owner, tree, tmp_path
):
    async def scenario():
        async with heir_and_thief(owner, tree, tmp_path, house, other) as (second, last, stolen):
            await tag(second, bytes.fromhex(last), add=["mine"])
            ((name, marked),) = find_doubtful(second)
            assert marked.ext[ORIGINAL].hex() == stolen
            assert head_of(other) == head_of(house)
            second.lose_repository()
            assert (await second.restore(name.hex(), tmp_path / "out")).errors == 0
            assert find_doubtful(second) == [(name, marked)]

    asyncio.run(scenario())


def test_what_was_joined_once_is_not_joined_again_from_another_host(house, other, owner, tree, tmp_path):
    async def scenario():
        async with heir_and_thief(owner, tree, tmp_path, house, other) as (second, _, _):
            stray = head_of(other)
            await second.back_up(tree())
            source = second.vault.source(wait_s=0)
            again = await asyncio.to_thread(join_stray, second.vault.repository, stray, source)
            assert again == Joined(0, is_doubtful=False)
            assert len(find_doubtful(second)) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("tags", [[], ["one"], [f"tag{number}" for number in range(SNAPSHOT_TAGS)]])
def test_no_word_of_a_thief_hides_what_he_made_or_what_another_host_keeps(owner, tmp_path, tags):
    """He may write into a snapshot what he likes: also that it is another one, which the heir has not seen yet."""

    async def scenario():
        async with estate_of(owner, tmp_path / "estate") as estate:
            forged = encode_snapshot(make_snapshot(b"t" * 32, tags=tags, ext={ORIGINAL: b"o" * 32}))
            _, body = joining._doubt(estate.vault.repository, b"n" * 32, forged)
            assert decode_snapshot(body).tags == [REPLACED, *tags][:SNAPSHOT_TAGS]
            assert joining._original(body) == b"n" * 32

    asyncio.run(scenario())
