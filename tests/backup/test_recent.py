"""What was used last is kept, and never more than the cap, or one value that is larger."""

from hypothesis import given
from hypothesis import strategies as st

from backuppeer.backup.recent import Recent


def test_what_was_not_used_for_longest_goes_first():
    recent = Recent(3)
    for key in "abc":
        recent.put(key, key.upper(), 1)
    assert recent.get("a") == "A"
    recent.put("d", "D", 1)
    assert [recent.get(key) for key in "abcd"] == ["A", None, "C", "D"]
    recent.drop("a")
    assert ("a" in recent, "c" in recent, recent.held) == (False, True, 2)


def test_a_value_that_is_larger_than_the_cap_is_kept_alone():
    recent = Recent(10)
    recent.put("a", 1, 5)
    recent.put("b", 2, 50)
    assert (recent.get("a"), recent.get("b"), recent.held) == (None, 2, 50)
    recent.put("c", 3, 5)
    assert (recent.get("b"), recent.get("c"), recent.held) == (None, 3, 5)


def test_of_many_who_want_a_value_one_makes_it():
    recent = Recent(2)
    assert recent.make("a", lambda: 1, 1) == (1, True)
    assert recent.make("a", lambda: 2, 1) == (1, False)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 7), st.sampled_from(["put", "get", "drop", "make"]))))
def test_whatever_is_done_the_sizes_add_up_and_stay_below_the_cap(steps):
    recent, sizes = Recent(12), {}
    for key, size, action in steps:
        if action == "put":
            recent.put(key, key, size)
            sizes[key] = size
        elif action == "make":
            was_there = key in recent
            assert recent.make(key, lambda key=key: key, size) == (key, not was_there)
            sizes = sizes if was_there else sizes | {key: size}
        elif action == "drop":
            recent.drop(key)
        else:
            assert recent.get(key) in {None, key}
        kept = [key for key in range(10) if key in recent]
        assert recent.held == sum(sizes[key] for key in kept) <= 12
