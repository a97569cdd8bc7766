"""For each path the newest snapshot that has it is found, whatever list of paths it was made of."""

from hypothesis import given
from hypothesis import strategies as st

from backuppeer.backup.parents import is_within, merge_paths, plan_parents
from backuppeer.repo.snapshot import Snapshot

PATHS = st.sampled_from([b"/", b"/a", b"/a.b", b"/a/b", b"/a/b/c", b"/d", b"/d/e"])


MADE = {"host": "h", "user": "u", "tags": [], "set": "", "files": 0, "dirs": 0, "bytes": 0, "program": "p"}


def made_of(time: int, *paths: bytes) -> Snapshot:
    return Snapshot(tree=bytes([time]) * 32, time_ns=time, **{**MADE, "paths": sorted(paths)})


def test_the_newest_snapshot_of_all_the_paths_is_enough():
    old, new = made_of(1, b"/a", b"/d"), made_of(2, b"/a", b"/d")
    plan = plan_parents([new, old], [b"/d", b"/a/"])
    assert (plan.base, plan.grafts) == (new, {})


def test_each_path_is_taken_from_the_newest_snapshot_that_has_it():
    a, d, both = made_of(3, b"/a"), made_of(2, b"/d"), made_of(1, b"/a", b"/d")
    plan = plan_parents([both, d, a], [b"/a", b"/d"])
    assert (plan.base, plan.grafts) == (a, {b"/d": d})


def test_a_folder_above_takes_what_was_backed_up_below_it():
    b, e = made_of(1, b"/a/b"), made_of(2, b"/d/e")
    plan = plan_parents([b, e], [b"/"])
    assert (plan.base, plan.grafts) == (e, {b"/a/b": b})


def test_a_folder_below_takes_what_was_backed_up_above_it():
    whole = made_of(1, b"/a")
    assert plan_parents([whole, made_of(2, b"/d")], [b"/a/b"]).base is whole


def test_without_anything_in_common_the_newest_is_compared_with_and_without_any_none():
    other = made_of(1, b"/x")
    assert plan_parents([other], [b"/a"]).base is other
    assert plan_parents([], [b"/a"]).base is None


@given(st.lists(PATHS, min_size=1), st.lists(st.tuples(st.integers(1, 9), st.lists(PATHS, min_size=1)), max_size=6))
def test_nothing_that_a_newer_snapshot_has_whole_is_taken_from_an_older_one(paths, made):
    snapshots = [made_of(number * 10 + time, *of) for number, (time, of) in enumerate(made)]
    plan = plan_parents(snapshots, paths)
    for path in merge_paths(paths):
        whole = [s for s in snapshots if any(is_within(path, of) for of in s.paths)]
        if whole:
            newest = max(whole, key=lambda s: s.time_ns)
            assert plan.grafts.get(path, plan.base) is newest
            assert not [graft for graft in plan.grafts if graft != path and is_within(graft, path)]


@given(st.lists(PATHS, min_size=1))
def test_merged_paths_hold_all_and_none_twice(paths):
    merged = merge_paths(paths)
    assert all(sum(is_within(path, kept) for kept in merged) == 1 for path in paths)
