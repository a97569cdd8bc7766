"""Hearsay: conserved, halved at each step, and of no use to a crowd (T3, DESIGN 8)."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.trust.flow import (
    HOPS,
    PAIR_MOST,
    SUPPLY,
    Inflow,
    Pair,
    make_chart,
    pair_capacity,
    spread,
)

VIEWER = 0


@pytest.mark.parametrize(
    ("days", "gib", "capacity"),
    [
        (0, 100, 0.0),
        (60, 0, 0.0),
        (60, 31, 1.5 * (1 - math.exp(-1))),
        (10**6, 31, 1.5),
        (10**6, 10**6, 1.5),
        (10**6, 1, 0.3),
        (-5, -5, 0.0),
    ],
)
def test_what_a_pair_carries_grows_with_days_and_bytes_up_to_a_limit(days, gib, capacity):
    assert pair_capacity(days, gib) == pytest.approx(capacity)


def test_each_step_passes_on_half_and_the_third_is_the_last():
    chain = [Pair(n, n + 1, PAIR_MOST) for n in range(6)]
    assert spread(VIEWER, chain) == {2: 0.75, 3: 0.375}
    assert HOPS == 3


def test_the_hosts_of_a_peer_share_what_it_passes_on_by_what_their_pairs_carry():
    pairs = [Pair(VIEWER, 1, 1.0), Pair(1, 2, 0.3), Pair(1, 3, 0.9)]
    assert spread(VIEWER, pairs) == pytest.approx({2: 0.125, 3: 0.375})
    assert spread(VIEWER, [*pairs[:1], Pair(1, 2, 0.2)]) == pytest.approx({2: 0.2}), "no more than the pair carries"


def test_who_stores_with_many_gives_them_no_more_than_the_supply_together():
    many = [Pair(VIEWER, n, PAIR_MOST) for n in range(1, 101)]
    targets = [Pair(n, 1000 + n, PAIR_MOST) for n in range(1, 101)]
    assert sum(spread(VIEWER, [*many, *targets]).values()) == pytest.approx(SUPPLY / 2)


def test_word_of_itself_of_the_viewer_or_given_twice_adds_nothing():
    base = [Pair(VIEWER, 1, 1.0), Pair(1, 2, 0.4)]
    extra = [
        Pair(1, 1, 1.5),
        Pair(2, 2, 1.5),
        Pair(1, VIEWER, 1.5),
        Pair(2, VIEWER, 1.5),
        Pair(1, 2, 0.4),
        Pair(1, 2, 0.1),
    ]
    assert spread(VIEWER, base + extra) == pytest.approx(spread(VIEWER, base))


def test_a_circle_carries_each_pair_once():
    circle = [Pair(VIEWER, 1, 1.5), Pair(1, 2, 0.1), Pair(2, 1, 0.1)]
    reached = spread(VIEWER, circle)
    assert reached[2] <= 0.1
    assert reached[1] <= 0.05


@st.composite
def networks(draw):
    """Honest peers who store with each other and, some of them, with a crowd that says of itself whatever it likes."""
    source = random.Random(draw(st.integers(0, 2**32)))
    honest = list(range(draw(st.integers(1, 12))))
    crowd = [f"s{n}" for n in range(draw(st.integers(1, 40)))]
    pairs = [
        Pair(a, b, source.uniform(0.01, PAIR_MOST)) for a in honest for b in honest if a != b and source.random() < 0.3
    ]
    attack = {(source.choice(honest), source.choice(crowd)) for _ in range(draw(st.integers(0, 8)))}
    attack |= {(VIEWER, source.choice(crowd)) for _ in range(draw(st.integers(0, 2)))}
    pairs += [Pair(a, s, source.uniform(0.01, 10.0)) for a, s in sorted(attack, key=str)]
    pairs += [Pair(a, b, 10.0) for a in crowd for b in crowd if source.random() < 0.5]
    pairs += [Pair(s, source.choice(honest), 10.0) for s in crowd]
    source.shuffle(pairs)
    return pairs, set(crowd), len(attack)


@given(networks())
def test_a_crowd_gains_no_more_than_three_for_each_pair_that_leads_into_it(network):
    pairs, crowd, edges = network
    reached = spread(VIEWER, pairs)
    assert sum(flow for peer, flow in reached.items() if peer in crowd) <= 3 * edges + 1e-9
    assert sum(reached.values()) <= SUPPLY * (0.5 + 0.25) + 1e-9
    assert all(flow > 0 for flow in reached.values())
    assert VIEWER not in reached


def total_of(crowd: int, edges: int) -> float:
    """Return what a crowd gets that passes on all that comes in: from owners that the viewer knows, and from itself."""
    source = random.Random(crowd)
    pairs = [Pair(VIEWER, owner, PAIR_MOST) for owner in range(1, edges + 1)]
    pairs += [Pair(owner, f"s{owner}", PAIR_MOST) for owner in range(1, edges + 1)]
    pairs += [Pair(VIEWER, "s0", PAIR_MOST)]
    for number in range(crowd):
        others = source.sample([other for other in range(crowd) if other != number], 20)
        pairs += [Pair(f"s{number}", f"s{other}", PAIR_MOST) for other in others]
    return sum(flow for peer, flow in spread(VIEWER, pairs).items() if isinstance(peer, str))


@pytest.mark.parametrize("edges", [0, 1, 5, 20])
def test_a_crowd_of_thirty_that_is_full_gets_what_one_of_a_thousand_gets(edges):
    small, large = total_of(30, edges), total_of(1000, edges)
    assert 0 < small <= 3 * (edges + 1)
    assert large == pytest.approx(small, rel=0.01), "what comes in is all there is, however many share it"


@given(networks(), st.integers(1, 200))
def test_more_identities_give_a_crowd_nothing(network, more):
    pairs, crowd, edges = network
    names = sorted(crowd)
    grown = [*pairs, *(Pair(names[n % len(names)], f"more{n}", 10.0) for n in range(more))]
    reached = spread(VIEWER, grown)
    assert (
        sum(flow for peer, flow in reached.items() if peer in crowd or str(peer).startswith("more")) <= 3 * edges + 1e-9
    )


@given(networks())
def test_the_order_of_what_is_known_changes_nothing(network):
    pairs, _, _ = network
    assert spread(VIEWER, pairs) == spread(VIEWER, sorted(pairs, key=str))


@given(networks())
def test_the_ways_to_a_peer_carry_together_what_reaches_it(network):
    inflow = Inflow(make_chart(network[0]), VIEWER)
    for peer, amount in inflow.reached.items():
        ways = inflow.trace(VIEWER, peer)
        assert sum(way.amount for way in ways) == pytest.approx(amount)
        assert all(way.peers[0] == VIEWER and way.peers[-1] == peer and 3 <= len(way.peers) <= 4 for way in ways)
        assert [way.amount for way in ways] == sorted((way.amount for way in ways), reverse=True)


@given(networks(), st.integers(0, 2**32))
def test_what_is_brought_up_to_date_is_to_the_last_bit_what_is_found_anew(network, seed):
    source, chart = random.Random(seed), make_chart(network[0])
    peers = [VIEWER, *chart, *network[1]]
    words = [Pair(source.choice(peers), source.choice(peers), source.uniform(0.01, PAIR_MOST)) for _ in range(20)]
    inflow = Inflow(chart, VIEWER)
    for word in words:
        owners = {word.owner, source.choice([VIEWER, *chart])}
        for owner in owners:
            row = chart.setdefault(owner, {})
            if source.random() < 0.3 and row:
                del row[source.choice(list(row))]
            row.update({word.host: word.capacity} if word.host != owner else {})
        before = dict(inflow.reached)
        changed = inflow.update(owners)
        anew = Inflow(chart, VIEWER)
        assert inflow.reached == anew.reached
        assert changed == {p for p in before | anew.reached if before.get(p) != anew.reached.get(p)}
        far = source.choice([*anew.reached, "nobody"])
        assert {(way.peers, way.amount) for way in inflow.trace(VIEWER, far)} == {
            (way.peers, way.amount) for way in anew.trace(VIEWER, far)
        }


def test_what_one_pair_changes_is_gone_through_alone():
    pairs = [Pair(VIEWER, n, 0.1) for n in range(1, 21)]
    pairs += [Pair(n, 100 + 10 * n + m, 0.1) for n in range(1, 21) for m in range(10)]
    chart = Rows(make_chart(pairs))
    inflow = Inflow(chart, VIEWER)
    chart.asked.clear()
    chart[1][7] = 0.2
    changed = inflow.update([1])
    assert chart.asked == {1, 7}, "who it is said by, and whom it is said of, who has more to pass on"
    assert changed == {7, *range(110, 120), *range(170, 180)}


class Rows(dict):
    """A chart that notes whose row is read."""

    def __init__(self, rows):
        super().__init__(rows)
        self.asked = set()

    def get(self, owner, default=None):
        if owner in self:
            self.asked.add(owner)
        return super().get(owner, default)
