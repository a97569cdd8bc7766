"""A benchmark of hours can be taken in pieces: what is finished is kept, and kept apart from other machines."""

import pytest
from results import Results, Turn, drop_turns, find_missing, load_results, read_results, save_results, turn_of
from rows import ROWS, expand_rows
from run import plan_turns

from bench.samples import sample

MACHINE = {"processor": "p", "cores": "2", "memory": "4 GiB", "kernel": "k", "file system": "ext4", "restic": "1"}


def test_what_was_saved_is_there_again(tmp_path):
    results = Results(machine=MACHINE, samples=[sample(), sample(work="restore", differences=2, cpu_s={"owner": 1.5})])
    save_results(tmp_path / "r.json", results)
    again = load_results(tmp_path / "r.json", MACHINE)
    assert (again.samples, again.machine) == (results.samples, MACHINE)
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_only_turns_without_samples_are_taken():
    results = Results(samples=[sample(number=0), sample(number=0, peer="restic-rest")])
    turns = plan_turns(["large"], [], rounds=2, scale=1.0)
    missing = find_missing(results, turns)
    assert [(turn.peer, turn.round) for turn in missing] == [
        ("borg-local", 0),
        ("backup-peer", 1),
        ("restic-rest", 1),
        ("borg-local", 1),
    ]


def test_another_scale_is_another_turn():
    turns = plan_turns(["large"], ["backup-peer"], rounds=1, scale=0.1)
    assert find_missing(Results(samples=[sample()]), turns) == turns


def test_turns_to_be_taken_again_lose_just_their_own_samples():
    kept = [sample(number=1), sample(peer="restic-rest"), sample(row="vm"), sample(scale=0.5)]
    results = Results(samples=[sample(), sample(work="restore"), *kept])
    drop_turns(results, [Turn("large", "backup-peer", 0, 1.0)])
    assert results.samples == kept
    assert turn_of(kept[0]) == Turn("large", "backup-peer", 1, 1.0)


def test_figures_of_another_machine_are_not_mixed_in(tmp_path):
    save_results(tmp_path / "r.json", Results(machine=MACHINE, samples=[sample()]))
    with pytest.raises(SystemExit, match=r"another machine \(kernel\)"):
        load_results(tmp_path / "r.json", MACHINE | {"kernel": "other"})


def test_a_newer_program_goes_on_in_the_same_file_and_is_named(tmp_path):
    save_results(tmp_path / "r.json", Results(machine=MACHINE, samples=[sample()]))
    newer = MACHINE | {"restic": "2"}
    assert load_results(tmp_path / "r.json", newer).machine == newer


@pytest.mark.parametrize("text", ["", "[]", '{"samples": [{}]}', '{"format": 2}', '{"odd": 1}'])
def test_a_file_that_is_no_result_is_refused_by_name_and_left_alone(tmp_path, text):
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(SystemExit, match=r"r\.json"):
        read_results(path)
    assert path.read_text() == text


def test_a_group_of_rows_is_spelt_out_once():
    assert expand_rows("linear,linear-10k,large") == ["linear-10k", "linear-100k", "linear-1m", "large"]
    assert expand_rows("all") == list(ROWS)


def test_an_unknown_row_is_named_with_those_there_are():
    with pytest.raises(SystemExit, match="'larg'; rows: small, large"):
        expand_rows("larg")
