"""What the long soak says of growth is no better than what it saw."""

import os

from soak.growth import find_growth, find_slope, sample


def life(*, level, per_hour, ages=range(0, 600, 5), start=0.0):
    return [(float(age), level + per_hour * age / 3600 + (start if age < 60 else 0)) for age in ages]


def test_lives_of_different_level_that_rise_alike_are_told_to_rise_so():
    assert round(find_slope([life(level=50, per_hour=12), life(level=90, per_hour=12)]), 6) == 12


def test_what_a_process_takes_as_it_starts_is_no_growth():
    flat = life(level=50, per_hour=0, start=-40)
    assert (find_slope([flat]), find_growth(flat)) == (0, 0)


def test_a_leak_is_growth():
    assert 25 < find_growth(life(level=50, per_hour=600)) < 50


def test_what_caches_take_in_the_first_third_is_no_growth():
    filling = [(float(age), min(age, 200.0)) for age in range(60, 660, 5)]
    assert find_growth(filling) == 0


def test_of_lives_that_ended_young_nothing_is_told():
    assert (find_slope([life(level=50, per_hour=9, ages=range(50))]), find_growth([(70.0, 1.0)])) == (None, None)


def test_a_sample_is_of_a_living_process():
    mine = sample("me", os.getpid(), 1.0)
    assert mine.memory_bytes > 1 << 20
    assert mine.files >= 3
    assert sample("nobody", 2**22 + 1, 1.0) is None
