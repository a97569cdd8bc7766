"""Rows kept as one setting: what is written is read again, over a restart, and half a row is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.agent.home.rows import KeptRows, cut_rows
from backuppeer.agent.home.state import State

rows_of = st.integers(1, 40).flatmap(
    lambda size: st.tuples(st.just(size), st.lists(st.binary(min_size=size, max_size=size), max_size=8))
)


@given(rows_of)
def test_rows_are_cut_as_they_were_joined(case):
    size, rows = case
    assert cut_rows(b"".join(rows), size) == rows


@pytest.mark.parametrize("raw", [b"", b"abc", b"abcdabc"])
def test_half_a_row_is_none(raw):
    assert cut_rows(raw, 4) == ([b"abcd"] if len(raw) > 4 else [])


def test_what_is_kept_is_there_after_a_restart_and_replaced_as_a_whole(tmp_path):
    state = State(tmp_path / "state.db")
    kept = KeptRows(state, "some.rows", 2)
    assert kept.read() == []
    kept.write({b"bb", b"aa"})
    state.close()
    state = State(tmp_path / "state.db")
    kept = KeptRows(state, "some.rows", 2)
    assert kept.read() == [b"aa", b"bb"]
    kept.write([b"cc"])
    assert kept.read() == [b"cc"]
    state.close()
