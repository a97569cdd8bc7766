"""Which leaves are asked for when."""

import random
import tracemalloc
from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.errors import LocalError
from backuppeer.ids import AgreementId, LogicalId, StoredId
from backuppeer.limits import (
    AUDIT_CYCLE_DAYS,
    AUDIT_SAMPLE_BYTES,
    AUDIT_SAMPLES,
    AUDIT_SMALL_PACK_BYTES,
    GIB,
    KIB,
    LEAF_BYTES,
    MIB,
    PACK_TARGET_BYTES,
)
from backuppeer.proof.audits import Sample
from backuppeer.proof.merkle import count_leaves
from backuppeer.shares.copies import Copy
from backuppeer.shares.ledger import Ledger
from backuppeer.shares.sampling import _draw_places, _Measure, _walk, count_uniform, draw_any, plan_bulk, plan_day
from noise import noise

SEED = b"s" * 32
CYCLE = 690
DAYS = range(CYCLE * 30, CYCLE * 30 + 30)
GB = 10**9


def copy_of(number: int, size: int = PACK_TARGET_BYTES) -> Copy:
    name = number.to_bytes(16, "big")
    return Copy(LogicalId(name), AgreementId(b"a" * 16), StoredId(name * 2), size, bytes(64))


def full_packs(size_bytes: int) -> list[Copy]:
    return [copy_of(number) for number in range(size_bytes // PACK_TARGET_BYTES)]


def plan_cycle(copies: list[Copy], seed: bytes = SEED, days: range = DAYS) -> list:
    return [draw for day in days for draw in plan_day(seed, day, lambda: copies)]


def chi_square(counts: list[int], expected: list[float]) -> float:
    return sum((count - wanted) ** 2 / wanted for count, wanted in zip(counts, expected, strict=True))


def bound(freedom: int) -> float:
    """Return what a chi-square exceeds in less than one case of 10,000 (mean + 4.5 deviations, for many degrees)."""
    return freedom + 4.5 * (2 * freedom) ** 0.5


@pytest.fixture(scope="module")
def large() -> tuple[list[Copy], list]:
    """100 GB of full packs, and what is asked of them in a cycle."""
    copies = full_packs(100 * GB)
    return copies, plan_cycle(copies)


# --- what holds for any copies
sizes = st.lists(st.integers(1, PACK_TARGET_BYTES), max_size=12)


@given(sizes=sizes, seed=st.binary(min_size=32, max_size=32), cycle=st.integers(0, 10**6))
def test_each_copy_of_a_mebibyte_is_covered_in_each_cycle_and_every_draw_is_a_leaf_of_a_copy(sizes, seed, cycle):
    copies = [copy_of(number, size) for number, size in enumerate(sizes)]
    draws = plan_cycle(copies, seed, range(cycle * 30, cycle * 30 + 30))
    assert {c.stored for c in copies if c.size >= AUDIT_SMALL_PACK_BYTES} <= {draw.copy.stored for draw in draws}
    assert all(draw.leaves == 1 and 0 <= draw.first_leaf < count_leaves(draw.copy.size) for draw in draws)
    assert all(draw.sample == Sample(draw.copy.stored, draw.first_leaf, 1) for draw in draws)
    assert len(draws) <= len(copies) + count_uniform(sum(sizes))


@given(sizes=sizes, day=st.integers(0, 10**6))
def test_same_seed_and_day_ask_for_the_same_in_the_order_of_the_copies(sizes, day):
    copies = [copy_of(number, size) for number, size in enumerate(sizes)]
    draws = list(plan_day(SEED, day, lambda: copies))
    assert draws == list(plan_day(SEED, day, lambda: iter(copies)))
    assert [draw.copy.logical for draw in draws] == sorted(draw.copy.logical for draw in draws)


@given(sizes=sizes, cycle=st.integers(0, 10**6))
def test_bulk_reads_are_different_whole_blocks_of_a_hundredth_of_the_bytes(sizes, cycle):
    copies = [copy_of(number, size) for number, size in enumerate(sizes)]
    draws = list(plan_bulk(SEED, cycle, lambda: copies))
    assert len({(draw.copy.stored, draw.first_leaf) for draw in draws}) == len(draws)
    assert all(draw.first_leaf % 64 == 0 for draw in draws)
    assert all(1 <= draw.leaves == min(64, count_leaves(draw.copy.size) - draw.first_leaf) for draw in draws)
    assert len(draws) == -(-(sum(sizes) // 100) // MIB)
    assert draws == list(plan_bulk(SEED, cycle, lambda: copies))


def test_nothing_is_asked_of_nobody():
    assert plan_cycle([]) == []
    assert list(plan_bulk(SEED, CYCLE, list)) == []


@pytest.mark.parametrize("seed", [b"", bytes(31), bytes(33)])
def test_seed_of_another_length_is_refused(seed):
    with pytest.raises(LocalError):
        list(plan_day(seed, 0, lambda: [copy_of(1)]))


def test_any_other_seed_day_or_cycle_asks_for_something_else():
    copies = full_packs(4 * GIB)
    day = {(d.copy.stored, d.first_leaf) for d in plan_day(SEED, DAYS[0], lambda: copies)}
    for seed, when in ((b"t" * 32, DAYS[0]), (SEED, DAYS[1]), (SEED, DAYS[0] + 30), (SEED, DAYS[0] + 3000)):
        other = {(d.copy.stored, d.first_leaf) for d in plan_day(seed, when, lambda: copies)}
        assert len(day & other) <= 1


def test_copies_that_come_or_go_between_the_two_readings_do_no_harm():
    copies = full_packs(GIB)
    for second in (copies[:5], [], copies[3:], [copy_of(999, 1), *copies], [*copies, copy_of(999, 1)]):
        readings = iter([copies, second])
        draws = list(plan_day(SEED, DAYS[0], lambda readings=readings: next(readings)))
        assert all(draw.first_leaf < count_leaves(draw.copy.size) for draw in draws)


@pytest.mark.slow
def test_copies_are_read_one_by_one_and_none_is_kept():
    def many():
        return (copy_of(number) for number in range(20_000))

    tracemalloc.start()
    count = sum(1 for _ in plan_day(SEED, DAYS[0], many))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count > 600
    assert peak < 200_000  # twenty thousand copies take over 4 MB
    taken = [0]

    def counted():
        for copy in many():
            taken[0] += 1
            yield copy

    list(islice(plan_day(SEED, DAYS[0], counted), 10))
    assert taken[0] < 20_000 + 1_000


def test_the_ledger_gives_the_copies_of_one_agreement_and_none_that_is_doomed(tmp_path):
    copies = full_packs(2 * GIB)
    other = Copy(LogicalId(b"z" * 16), AgreementId(b"b" * 16), StoredId(b"z" * 32), MIB, bytes(64))
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.register_copies([*copies, other])
    ledger.doom([copies[3].logical])
    kept = [copy for copy in copies if copy is not copies[3]]
    for day in DAYS:
        planned = list(plan_day(SEED, day, lambda: ledger.copies_at(copies[0].agreement)))
        assert planned == list(plan_day(SEED, day, lambda: kept))
    ledger.close()


# --- how much
@pytest.mark.parametrize(
    ("size", "count"),
    [
        (0, 0),
        (1, 1),
        (256 * KIB, 1),
        (100 * MIB, 3),
        (GIB, 30),
        (10 * GIB, 308),
        (29 * GIB, 894),
        (32 * GIB, 900),
        (100 * GB, 900),
        (10**13, 900),
    ],
)
def test_uniform_draws_are_30_a_day_from_32_gib_on_and_a_share_of_the_bytes_below(size, count):
    assert count_uniform(size) == count
    assert count * AUDIT_SAMPLE_BYTES <= max(size * 0.0005, AUDIT_SAMPLE_BYTES)


def test_every_day_has_its_share_of_the_uniform_draws():
    copies = full_packs(2 * GIB)
    packs = Counter(draw.copy.stored for draw in plan_cycle(copies))
    assert sum(packs.values()) == len(copies) + count_uniform(2 * GIB)
    fewest, most = (
        f([len(list(plan_day(SEED, day, lambda: [copy_of(1, 2**38)]))) for day in DAYS]) for f in (min, max)
    )
    assert (fewest, most) == (AUDIT_SAMPLES, AUDIT_SAMPLES + 1)  # one of them has the turn of the copy itself


def test_the_one_draw_of_a_small_store_comes_on_a_day_that_nobody_knows():
    tiny = [copy_of(1, 1000)]
    days = [day for cycle in range(60) for day in range(30) if list(plan_day(SEED, cycle * 30 + day, lambda: tiny))]
    assert 60 <= len(days) <= 62
    assert len(set(days)) > 20


@pytest.mark.slow
def test_a_cycle_of_100_gb_costs_no_more_than_15_of_10000_bytes(large):
    copies, draws = large
    sent, stored = len(draws) * AUDIT_SAMPLE_BYTES, sum(copy.size for copy in copies)
    assert sent <= stored * 0.0015
    assert len(draws) == len(copies) + 900


@pytest.mark.slow
@pytest.mark.parametrize("size", [250 * GB, 1000 * GB])
def test_a_cycle_of_more_costs_no_larger_share(size):
    copies = full_packs(size)
    assert len(plan_cycle(copies)) * AUDIT_SAMPLE_BYTES <= sum(copy.size for copy in copies) * 0.0015


@pytest.mark.slow
def test_small_packs_are_covered_in_proportion_to_their_bytes():
    for size in (256 * KIB, 512 * KIB, MIB - 1):
        copies = [copy_of(number, size) for number in range(3000)]
        covered = len(plan_cycle(copies)) - count_uniform(3000 * size)
        chance = size / MIB
        assert abs(covered - 3000 * chance) <= 4.5 * (3000 * chance * (1 - chance)) ** 0.5 + 1


@pytest.mark.parametrize(("size", "blocks"), [(50 * GB, 477), (100 * GB, 954), (1000 * GB, 1024)])
def test_bulk_reads_end_at_a_gibibyte(size, blocks):
    copies = full_packs(size)
    assert len(list(plan_bulk(SEED, CYCLE, lambda: copies))) == blocks


# --- how evenly
def test_leaves_and_copies_are_drawn_evenly(large):
    copies, draws = large
    places = Counter(draw.first_leaf // 16 for draw in draws)
    wanted = len(draws) / 64
    assert chi_square([places[n] for n in range(64)], [wanted] * 64) < bound(63)
    # Beside its own turn a copy is drawn by chance: 900 times in 5,960.
    tenths = Counter(int.from_bytes(draw.copy.logical, "big") * 10 // len(copies) for draw in draws)
    assert chi_square([tenths[n] - len(copies) / 10 for n in range(10)], [90.0] * 10) < bound(9)


@pytest.mark.slow
def test_turns_of_copies_are_spread_over_the_days_and_drawn_anew_in_each_cycle():
    copies = full_packs(50 * GB)
    turns = {}
    for cycle in (CYCLE, CYCLE + 1):
        for day in range(30):
            draws = plan_day(SEED, cycle * 30 + day, lambda: copies)
            turns[cycle, day] = {draw.copy.stored for draw in draws}
    sizes = [len(turns[CYCLE, day]) for day in range(30)]
    assert chi_square(sizes, [sum(sizes) / 30] * 30) < bound(29)
    again = sum(len(turns[CYCLE, day] & turns[CYCLE + 1, day]) for day in range(30))
    assert again < sum(sizes) / 10  # knowing the turn of one cycle tells nothing of the next


def test_each_leaf_of_all_is_as_likely_as_any_other():
    measure = _Measure([copy_of(1, 2**38)], LEAF_BYTES)
    measure.pieces = 96
    drawn = Counter(place for day in range(400) for place in _draw_places(SEED, day, measure))
    assert drawn.total() == 400 * 30
    assert chi_square([drawn[n] for n in range(96)], [125.0] * 96) < bound(95)


@given(sizes=sizes, data=st.data())
def test_a_place_among_all_leaves_is_one_of_the_copy_that_holds_it(sizes, data):
    copies = [copy_of(number, size) for number, size in enumerate(sizes)]
    leaves = [(copy, leaf) for copy in copies for leaf in range(count_leaves(copy.size))]
    places = sorted(data.draw(st.lists(st.integers(0, len(leaves) - 1), max_size=9))) if leaves else []
    found = [(copy, leaf) for copy, here in _walk(copies, LEAF_BYTES, places) for leaf in here]
    assert found == [leaves[place] for place in places]


# --- what is found
def find_share(draws: list, is_lost, rounds: int, rng: random.Random) -> float:
    """Return in which share of the rounds, each with other losses, one of the leaves asked for was lost."""
    asked = [(draw.copy.stored, draw.first_leaf) for draw in draws]
    return sum(is_lost(rng)(asked) for _ in range(rounds)) / rounds


def lose_packs(copies: list[Copy]):
    def choose(rng: random.Random):
        lost = {copy.stored for copy in rng.sample(copies, len(copies) // 100)}
        return lambda asked: any(stored in lost for stored, _ in asked)

    return choose


def lose_leaves(rng: random.Random):
    """Each leaf by itself, one in a hundred; only those that are asked for have to be drawn."""
    return lambda asked: any(rng.randrange(100) == 0 for _ in set(asked))


def test_a_loss_of_one_hundredth_of_the_packs_is_found_within_30_days(large):
    copies, draws = large
    assert find_share(draws, lose_packs(copies), 500, random.Random(1)) >= 0.99
    for size in (2 * GB, 32 * GIB):
        smaller = full_packs(size)
        assert find_share(plan_cycle(smaller), lose_packs(smaller), 500, random.Random(2)) >= 0.99


@pytest.mark.slow
def test_a_loss_of_one_hundredth_of_the_leaves_is_found_within_30_days(large):
    assert find_share(large[1], lose_leaves, 500, random.Random(3)) >= 0.99
    assert find_share(plan_cycle(full_packs(32 * GIB)), lose_leaves, 500, random.Random(4)) >= 0.99


@pytest.mark.slow
def test_a_loss_of_copies_whose_turn_is_just_over_is_found_as_well(large):
    """A host that drops what was asked for on the first day, on any seed, has 29 days without their turn."""
    copies, _ = large
    found = 0
    for trial in range(20):
        seed = noise(trial, 32)
        first = list(dict.fromkeys(draw.copy.stored for draw in plan_day(seed, DAYS[0], lambda: copies)))
        lost = set(first[: len(copies) // 100])
        # Only what is drawn from all leaves finds them: reading the lost copies alone would draw from those.
        days = range(DAYS[1], DAYS[0] + 31)
        found += any(d.copy.stored in lost for day in days for d in plan_day(seed, day, lambda: copies))
    assert found == 20


def test_counted_bytes_of_a_sample_hold_a_leaf_and_its_path():
    assert AUDIT_SAMPLE_BYTES - LEAF_BYTES >= 10 * 32 + 2 * 34
    assert len(DAYS) == AUDIT_CYCLE_DAYS


def test_a_draw_beside_the_plan_takes_any_leaf_of_all_and_none_of_nothing():
    copies = [copy_of(1, 3 * LEAF_BYTES), copy_of(2, 1), copy_of(3, 2 * LEAF_BYTES + 1)]
    drawn = [next(draw_any(lambda: copies, lambda pieces, at=at: at % pieces)) for at in range(7)]
    leaves = [(1, 0), (1, 1), (1, 2), (2, 0), (3, 0), (3, 1), (3, 2)]
    assert [(draw.copy, draw.first_leaf, draw.leaves) for draw in drawn] == [
        (copies[number - 1], leaf, 1) for number, leaf in leaves
    ]
    assert list(draw_any(list, lambda pieces: pieces)) == []
