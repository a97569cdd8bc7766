"""That audits find a loss as often as the closed form says: by the real plan of real copies."""

import random

from simulation.hosts import chance_found, draws_of_day

from backuppeer.ids import AgreementId, LogicalId, StoredId
from backuppeer.limits import GIB, PACK_TARGET_BYTES
from backuppeer.proof.merkle import count_leaves
from backuppeer.shares.copies import Copy
from backuppeer.shares.sampling import plan_day

GIBS, DAYS, RUNS = 2, 3, 40


def find_by_plan(seed: int, dropped: float) -> bool:
    """Return whether a host that lost each leaf with some chance is asked for one of those."""
    chance = random.Random(f"lost {seed}")
    copies = [
        Copy(LogicalId(name := n.to_bytes(16, "big")), AgreementId(b"a" * 16), StoredId(name * 2), size, bytes(64))
        for n, size in enumerate([PACK_TARGET_BYTES] * (GIBS * GIB // PACK_TARGET_BYTES))
    ]
    leaves = count_leaves(PACK_TARGET_BYTES)
    lost = {(copy.stored, leaf) for copy in copies for leaf in chance.sample(range(leaves), int(dropped * leaves))}
    secret, first = chance.randbytes(32), 30 * chance.randrange(1000)
    draws = (draw for day in range(DAYS) for draw in plan_day(secret, first + day, lambda: copies))
    return any((draw.copy.stored, draw.first_leaf) in lost for draw in draws)


def test_the_real_plan_finds_lost_leaves_as_often_as_is_computed():
    dropped = 0.05
    found = sum(find_by_plan(seed, dropped) for seed in range(RUNS))
    expected = chance_found(GIBS, dropped, DAYS) * RUNS
    assert 20 < expected < 35, "a case in which too many and too few would be seen"
    assert abs(found - expected) < 9


def test_more_bytes_are_asked_for_more_and_who_keeps_nothing_is_found_at_once():
    assert draws_of_day(1) < draws_of_day(10) < draws_of_day(100)
    assert chance_found(10, 1.0, 1) == 1.0
    assert chance_found(1, 0.01, 30) < chance_found(10, 0.01, 30)
