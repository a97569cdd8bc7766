"""Sizes in words: one way for all rooms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.cli.units import parse_size
from backuppeer.sizes import format_free, format_size


@pytest.mark.parametrize(
    ("size", "near", "free"),
    [
        (0, "0 B", "0 B"),
        (999, "999 B", "999 B"),
        (1000, "1 kB", "1 kB"),
        (5_598_000, "5.6 MB", "5.59 MB"),
        (2**30, "1.07 GB", "1.07 GB"),
        (999_999_999, "1 GB", "999 MB"),
        (-5, "-5 B", "0 B"),
    ],
)
def test_a_size_is_rounded_to_the_nearest_and_what_is_free_down(size, near, free):
    assert (format_size(size), format_free(size)) == (near, free)


@given(st.integers(min_value=0, max_value=9 * 10**18))
def test_what_is_said_to_be_free_is(size):
    assert size * 0.99 - 1 <= parse_size(format_free(size)) <= size
