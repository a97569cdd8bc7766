import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.cli.options import hoist_options


@pytest.mark.parametrize(
    ("words", "front", "rest"),
    [
        ("browse --json", "--json", "browse"),
        ("--json browse", "--json", "browse"),
        ("backup a --home /h --yes b", "--home /h --yes", "backup a b"),
        ("ls x --server=ws://a -y", "--server=ws://a -y", "ls x"),
        ("browse --server ws://a --server ws://b", "--server ws://a --server ws://b", "browse"),
        ("backup -- --json", "", "backup -- --json"),
        ("browse --home", "--home", "browse"),
        ("restore x --homes", "", "restore x --homes"),
    ],
)
def test_global_options_are_found_before_and_after_the_verb(words, front, rest):
    assert hoist_options(words.split()) == (front.split(), rest.split())


@given(st.lists(st.sampled_from(["--json", "--home", "-y", "--", "x", "--server=u", "--tag"])))
def test_no_word_is_lost(words):
    front, rest = hoist_options(words)
    assert sorted(front + rest) == sorted(words)
