"""What a host that had not heard keeps of the identity before: what of it comes into the list, and as what."""

import asyncio
from contextlib import asynccontextmanager, suppress

import msgspec
import pytest

from agent.estates import estate_of
from agent.houses import head_of
from agent.jobs.test_amend import tag
from agent.jobs.test_take_over import become_heir, job, two_machines
from backuppeer.agent.owner import joining
from backuppeer.agent.owner.joining import Joined, join_stray
from backuppeer.agent.owner.undeleting import find_unlisted
from backuppeer.backup import archiver
from backuppeer.backup.amending import ORIGINAL
from backuppeer.backup.browse import SnapshotFilter, list_snapshots
from backuppeer.errors import IntegrityFault
from backuppeer.limits import EXTENSION_BYTES, SNAPSHOT_TAGS
from backuppeer.repo.snapshot import REPLACED, decode_snapshot, encode_snapshot
from repo.building import make_snapshot


@asynccontextmanager
async def heir_and_thief(owner, tree, tmp_path, house, other, *, nonsense=None):
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
        undo, stolen = make_nonsense(*nonsense) if nonsense else None, ""
        with suppress(IntegrityFault):
            stolen = (await thief.back_up(fakes)).snapshot
        if undo is not None:
            undo()
        second.sight.away.clear()
        yield second, last, stolen


def make_nonsense(monkeypatch, made):
    """Let the next backups say something else than a snapshot where that should be; return how to stop."""
    monkeypatch.setattr(archiver, "encode_snapshot", made)
    return monkeypatch.undo


NONSENSE = [
    lambda _: b"no snapshot at all",
    lambda _: b"",
    lambda snapshot: encode_snapshot(snapshot)[:-1],
    lambda snapshot: msgspec.msgpack.encode(msgspec.structs.replace(snapshot, tree=b"short")),
]


@pytest.fixture(params=NONSENSE, ids=["other bytes", "none", "cut short", "malformed"])
def nonsense(request, monkeypatch):
    return monkeypatch, request.param


@pytest.fixture
def hosts(house, other):
    return house, other


def test_what_a_thief_lists_and_is_no_snapshot_holds_up_no_heir_and_is_no_fault_of_the_host(
    hosts, owner, tree, tmp_path, nonsense
):
    async def scenario():
        async with heir_and_thief(owner, tree, tmp_path, *hosts, nonsense=nonsense) as (
            second,
            last,
            _,
        ):
            done = await second.back_up(tree())
            assert (done.left_out, second.faults, find_doubtful(second)) == ([], [], [])
            assert last in {name.hex() for name in second.snapshots()}
            assert head_of(hosts[0]) == head_of(hosts[1])
            vault = second.vault
            lost = await asyncio.to_thread(find_unlisted, vault.repository, vault.source(wait_s=0))
            assert lost == {}, "nothing that could be had back"

    asyncio.run(scenario())


def test_what_a_thief_lists_and_is_no_snapshot_hides_no_other_one_from_who_takes_over(
    house, owner, tree, tmp_path, nonsense
):
    async def scenario():
        tree()
        async with two_machines(owner, tmp_path, house) as (thief, second):
            (first,) = [name.hex() for name in thief.snapshots()]
            undo = make_nonsense(*nonsense)
            with suppress(IntegrityFault):
                await thief.back_up(tree())
            undo()
            await job(second, owner).announce()
            with pytest.raises(IntegrityFault, match="missing"):
                await second.restore("latest", tmp_path / "out")
            assert (await second.restore(first, tmp_path / "out")).errors == 0
            done = await second.back_up(tree())
            assert (done.errors, second.faults) == (0, [])
            assert {name.hex() for name in second.snapshots()} == {first, done.snapshot}
            assert (await second.restore("latest", tmp_path / "last")).errors == 0

    asyncio.run(scenario())


def test_a_snapshot_in_which_no_word_more_has_room_is_tagged_all_the_same(owner, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate") as estate:
            full = encode_snapshot(make_snapshot(b"t" * 32, ext={"x": bytes(EXTENSION_BYTES - 1)}))
            _, body = joining._doubt(estate.vault.repository, b"n" * 32, full)
            assert decode_snapshot(body).tags == [REPLACED]
            assert joining._original(body) == b"n" * 32

    asyncio.run(scenario())


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
