"""Backups to strangers: never more than may lie there, the others go on, and repair and replace obey it too."""

import asyncio

import pytest

from agent.estates import estate_of
from agent.houses import packs_at
from backuppeer.agent.jobs.repair import RepairJob
from backuppeer.agent.reporter import Reporter
from backuppeer.control.checking import RepairRequest
from backuppeer.errors import ExposedError
from backuppeer.ids import format_peer_id
from backuppeer.trust import exposure
from backuppeer.trust.evidence import Kind
from noise import noise

MOST = 600_000


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
