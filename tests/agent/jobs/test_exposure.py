"""Backups to strangers: never more than may lie there, the others go on, and repair and replace obey it too."""

import asyncio

import pytest

from agent.estates import estate_of
from agent.houses import HostHouse, packs_at
from agent.jobs.pruning import LARGE, host_fixture
from agent.jobs.test_prune import forget, prune
from backuppeer.agent.jobs.backup import BackupJob, Paths
from backuppeer.agent.jobs.repair import RepairJob
from backuppeer.agent.reporter import Reporter, reporting
from backuppeer.control.checking import RepairRequest
from backuppeer.control.saving import BackupRequest
from backuppeer.errors import ExposedError
from backuppeer.ids import format_peer_id
from backuppeer.limits import MIB
from backuppeer.trust import exposure
from backuppeer.trust.evidence import Kind
from noise import noise

MOST = 600_000
roomy, friend = host_fixture("roomy", b"r"), host_fixture("friend", b"f")


@pytest.fixture(autouse=True)
def _little(monkeypatch):
    """What a stranger may have: two small packs, so that the third is too much."""
    monkeypatch.setattr(exposure, "TRIAL_BYTES", MOST)


def play(owner, tmp_path, houses, scenario):
    async def run():
        async with estate_of(owner, tmp_path / "estate", *houses) as estate:
            await scenario(estate)

    asyncio.run(run())


def held(estate, house):
    return estate.vault.standing.held_bytes(house.peer)


def grow(tree, seed):
    """Add a file of 200 kB that does not shrink: with its list and tree a backup of two packs."""
    folder = tree()
    (folder / f"noise{seed}").write_bytes(noise(seed, 200_000))
    return folder


def test_the_only_host_at_its_cap_ends_the_backup_with_the_ways_out_and_nothing_is_asked_back(
    house, owner, tree, tmp_path
):
    async def scenario(estate):
        first = await estate.back_up(grow(tree, 1))
        assert any("is a stranger to you" in note for note in estate.notes)

        async def go_on():
            for seed in range(2, 9):
                await estate.back_up(grow(tree, seed))

        with pytest.raises(ExposedError, match="is a stranger to you") as caught:
            await go_on()
        assert "--cap" in caught.value.hint
        assert held(estate, house) <= MOST
        packs = packs_at(house)
        restored = await estate.restore(first.snapshot, tmp_path / "out")
        assert (restored.errors, packs_at(house)) == (0, packs)

    play(owner, tmp_path, (house,), scenario)


def test_the_backup_goes_on_with_a_friend_and_names_the_stranger_until_audits_or_a_person_make_room(
    house, other, owner, tree, tmp_path
):
    async def scenario(estate):
        estate.state.meet(other.peer, 1, verified=True)
        done = await estate.back_up(grow(tree, 1))
        seed = 2
        while not done.left_out:
            done = await estate.back_up(grow(tree, seed))
            seed += 1
        assert done.peers == [format_peer_id(other.peer)]
        [left] = done.left_out
        assert (left.peer_id, left.capped) == (format_peer_id(house.peer), True)
        assert held(estate, house) <= MOST < held(estate, other)
        estate.vault.standing.saw(house.peer, Kind.AUDITED, size_bytes=held(estate, house))
        done = await estate.back_up(grow(tree, seed + 1))
        assert done.left_out == [], "four times what was seen"
        assert MOST < held(estate, house) <= 4 * MOST

    play(owner, tmp_path, (house, other), scenario)


def test_a_repair_does_not_bring_a_stranger_up_to_more_than_may_lie_there(house, other, owner, tree, tmp_path):
    async def scenario(estate):
        estate.state.meet(other.peer, 1, verified=True)
        away = estate.sight.away
        away.add(house.peer)
        for seed in range(1, 5):
            await estate.back_up(grow(tree, seed))
        away.clear()
        request = RepairRequest(actions=["copies"])
        done = await RepairJob(estate.vault, estate.auditor, request, Reporter(estate._emit)).run()
        assert [left.peer_id for left in done.left_out] == [format_peer_id(house.peer)]
        assert "it lacks" in done.left_out[0].reason
        assert packs_at(house) == []
        estate.vault.exposing.lift(house.peer, 10**9)
        done = await RepairJob(estate.vault, estate.auditor, request, Reporter(estate._emit)).run()
        assert done.left_out == []
        assert len(packs_at(house)) == len(packs_at(other))

    play(owner, tmp_path, (house, other), scenario)


def test_a_first_backup_that_is_too_much_is_no_dead_end_prune_frees_what_it_left_and_a_smaller_one_stands(
    roomy, owner, tree, tmp_path, monkeypatch
):
    monkeypatch.setattr(exposure, "TRIAL_BYTES", 20 * MIB)
    monkeypatch.setattr(HostHouse, "wish", LARGE)

    async def scenario(estate):
        folder = tree()
        (folder / "large").write_bytes(noise(1, 40 * MIB))
        request = BackupRequest(servers=[], paths=[str(folder)], dry_run=True)
        async with reporting(estate._emit) as reporter:
            await BackupJob(estate.vault, request, reporter, Paths(request)).run()
        assert any("21 MB more may go there for now, and 41.9 MB" in note for note in estate.notes), estate.notes
        with pytest.raises(ExposedError) as caught:
            await estate.back_up(folder)
        assert held(estate, roomy) > 10 * MIB
        assert "of yours lie there or are on the way, of 21 MB at most" in caught.value.message
        assert caught.value.hint.startswith("`backup-peer prune` frees 1"), caught.value.hint
        assert "back up less than 21 MB first" in caught.value.hint
        assert "audit bp1" not in caught.value.hint, "there is no head upon which it could be asked"
        (folder / "large").write_bytes(noise(2, 10 * MIB))
        with pytest.raises(ExposedError):
            await estate.back_up(folder)
        await prune(estate)
        assert (await estate.back_up(folder)).left_out == []

    play(owner, tmp_path, (roomy,), scenario)


def test_what_broke_off_at_a_stranger_is_named_beside_a_backup_that_stands_with_a_friend(
    roomy, friend, owner, tree, *, tmp_path, monkeypatch
):
    monkeypatch.setattr(exposure, "TRIAL_BYTES", 17 * MIB)
    monkeypatch.setattr(HostHouse, "wish", LARGE)

    async def scenario(estate):
        estate.state.meet(friend.peer, 1, verified=True)
        folder = tree()
        (folder / "large").write_bytes(noise(1, 40 * MIB))
        with pytest.raises(ExposedError):
            await estate.back_up(folder, roomy)
        (folder / "large").write_bytes(noise(2, 3 * MIB))
        [left] = (await estate.back_up(folder)).left_out
        assert left.capped
        assert left.hint.startswith("`backup-peer prune` frees 1")
        await prune(estate)
        assert (await estate.back_up(folder)).left_out == []
        (folder / "large").write_bytes(noise(3, 18 * MIB))
        [left] = (await estate.back_up(folder)).left_out
        assert "prune" not in left.hint, "what it got of a backup that stands elsewhere stays"

    play(owner, tmp_path, (roomy, friend), scenario)


def test_packs_whose_deletion_was_signed_do_not_count(house, owner, tree, tmp_path):
    async def scenario(estate):
        estate.vault.exposing.lift(house.peer, 2 * MOST)
        for seed in range(1, 5):
            await estate.back_up(grow(tree, seed))
        estate.vault.exposing.lift(house.peer, None)
        assert estate.vault.exposing.room(house.peer) == 0
        await forget(estate, *estate.snapshots())
        await prune(estate)
        lying = held(estate, house)
        assert lying > MOST, "its lock keeps it"
        folder = tree()
        for path in folder.glob("noise*"):
            path.unlink()
        (folder / "fresh").write_bytes(noise(9, 200_000))
        done = await estate.back_up(folder)
        assert (done.left_out, held(estate, house) > lying) == ([], True)

    play(owner, tmp_path, (house,), scenario)
