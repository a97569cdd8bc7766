"""What others' ways to score make of a crowd: computed from what the crowd says, as ours is."""

import pytest
from simulation import crowds
from simulation.schemes import SCHEMES
from simulation.world import Size, World


@pytest.fixture(scope="module")
def world():
    return World(1, Size(peers=40, days=70, viewers=4))


def test_what_others_think_of_a_ring_follows_from_its_ratings(world, monkeypatch):
    monkeypatch.setattr(crowds, "CROWDS", (30, 60))
    monkeypatch.setitem(SCHEMES, "mean", lambda days: [0.25 for _ in days])
    found = crowds.run_ring(world)
    for size in (30, 60):
        assert found[f"mean: highest score, {size} ids, 0 edges"] == 0.25
        assert found[f"mean: at .5 or more, less edges, {size} ids, 0 edges"] == 0
        assert found[f"storj: highest score, {size} ids, 0 edges"] == 1
        rated = found[f"storj: at .5 or more, less edges, {size} ids, 0 edges"]
        assert 0.8 * size < rated <= size, "all that somebody rates"


def test_what_others_think_of_a_slandered_host_follows_from_its_ratings(world, monkeypatch):
    monkeypatch.setattr(crowds, "FORGERIES", 0)
    metric = "most a score drops, by hearsay"
    found = crowds.run_slander(world)
    assert found[f"mean: {metric}"] > found[f"earlier: {metric}"] > 0.5 > found[metric]
    assert found[f"storj: {metric}"] == pytest.approx(found[f"mean: {metric}"], abs=0.001)
    monkeypatch.setitem(SCHEMES, "storj", lambda days: [0.5 for _ in days])
    assert crowds.run_slander(world)[f"storj: {metric}"] == 0


def test_two_copies_on_one_disk_are_counted_for_each_way_to_score(world):
    found = crowds.run_one_disk(world)
    metric = "owners with both copies on it"
    assert found[metric] == 0
    assert {f"{scheme}: {metric}" for scheme in SCHEMES} < set(found)
