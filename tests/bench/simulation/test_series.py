"""Series: what is drawn comes out of the run, as metrics like any other, and stays out of the table."""

import json

import pytest
from simulation.courses import OURS
from simulation.panels import PANELS, find_curves
from simulation.series import ALONE, CON_DAY, NEW_NAME, SLANDERED, TRACES, Point, read_point
from simulation.table import format_table
from simulation.targets import SCENARIOS, gather_seeds
from simulation.world import Size, World

SMALL = Size(peers=20, days=240, viewers=4)


@pytest.fixture(scope="module")
def results():
    world = World(1, SMALL)
    return gather_seeds([{name: trace(world) for name, trace in TRACES.items()}])


def curves(results, name, number=0):
    return {line.text: curve for line, curve in find_curves(results[name], PANELS[name][number])}


def test_a_point_is_read_from_the_name_of_its_metric_and_other_metrics_are_none():
    assert read_point("score on day 7") == Point(OURS, "", "", 7)
    assert read_point("lowest score on day 12") == Point(OURS, "lowest", "", 12)
    assert read_point("mean: score of a new name on day 365") == Point("mean", "", NEW_NAME, 365)
    assert read_point("day at which 0.5 is reached, 1 GiB") is None
    assert read_point("mean: highest score, 10,000 ids, 0 edges") is None


def test_every_line_of_every_panel_has_points_of_the_run(results):
    assert set(PANELS) == set(TRACES) <= set(SCENARIOS)
    for name, panels in PANELS.items():
        for panel in panels:
            found = find_curves(results[name], panel)
            assert tuple(line for line, _ in found) == panel.lines
            for _, curve in found:
                assert len(curve.days) == len(curve.values) > 20
                assert curve.days == sorted(set(curve.days))
                assert all(0 <= value <= 1 for value in curve.values)


def test_peace_is_looked_at_weekly_and_attacks_daily(results):
    for name in TRACES:
        days = next(iter(curves(results, name).values())).days
        assert days[1] - days[0] == (7 if name in {"honest", "laptop", "slander"} else 1), name


def test_the_band_of_ours_is_around_its_mean(results):
    ours = curves(results, "honest")["BackupPeer"]
    assert len(ours.least) == len(ours.values) == len(ours.most)
    assert all(a <= b <= c for a, b, c in zip(ours.least, ours.values, ours.most, strict=True))
    assert any(a < c for a, c in zip(ours.least, ours.most, strict=True))


def test_of_several_worlds_a_band_is_as_wide_as_the_widest():
    name = "score on day 7"
    worlds = [{name: 0.4, f"lowest {name}": 0.1, f"highest {name}": 0.5}, {name: 0.6, f"lowest {name}": 0.3}]
    worlds[1][f"highest {name}"] = 0.9
    assert gather_seeds([{"honest": world} for world in worlds])["honest"] == {
        name: 0.5, f"lowest {name}": 0.1, f"highest {name}": 0.9,
    }  # fmt: skip


def test_attacks_show_in_our_series_and_hardly_in_those_of_others(results):
    found = curves(results, "long-con")
    assert found["BackupPeer"].values[CON_DAY - 1] > 0.8
    assert found["BackupPeer"].values[CON_DAY + 20] <= 0.3 + 1e-9
    assert found["the earlier tool"].values[CON_DAY + 20] > 0.8
    ours, alone = (results["slander"][f"score of {mood} by owners on day 237"] for mood in (SLANDERED, ALONE))
    assert abs(ours - alone) < 0.05
    assert curves(results, "slander", 1)["mean of ratings, slandered"].values[0] < 0.2
    whitewashed = curves(results, "whitewash", 1)["BackupPeer"]
    assert whitewashed.days[0] > 60
    assert whitewashed.values[0] < 0.2


def test_results_are_numbers_under_names_and_the_table_leaves_points_out(results):
    read = json.loads(json.dumps(results))
    assert all(isinstance(value, float) for metrics in read.values() for value in metrics.values())
    assert "on day" not in format_table(results)
