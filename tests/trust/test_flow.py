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
    Pair,
    make_chart,
    pair_capacity,
    spread,
    spread_over,
    trace_over,
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
    assert spread(VIEWER, pairs) == pytest.approx(spread(VIEWER, sorted(pairs, key=str)))


@given(networks())
def test_the_ways_to_a_peer_carry_together_what_reaches_it(network):
    chart = make_chart(network[0])
    for peer, amount in spread_over(chart, VIEWER).items():
        ways = trace_over(chart, VIEWER, peer)
        assert sum(way.amount for way in ways) == pytest.approx(amount)
        assert all(way.peers[0] == VIEWER and way.peers[-1] == peer and 3 <= len(way.peers) <= 4 for way in ways)
        assert [way.amount for way in ways] == sorted((way.amount for way in ways), reverse=True)
