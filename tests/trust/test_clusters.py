"""Hosts that may be one."""

import random

from backuppeer.trust.clusters import Tie, Trace, correlate, find_clusters, find_tie, is_one, pick_apart

WINDOWS = 240
SEEN = (1 << WINDOWS) - 1


def mask(source: random.Random, share: float) -> int:
    return sum(1 << n for n in range(WINDOWS) if source.random() < share)


def test_the_same_network_place_or_sole_voucher_is_one_and_nothing_known_is_not():
    assert is_one(Trace(networks=frozenset({"192.0.2.0/24"})), Trace(networks=frozenset({"192.0.2.0/24"}), region="x"))
    assert is_one(Trace(region="basement"), Trace(region="basement"))
    assert is_one(Trace(voucher="v"), Trace(voucher="v"))
    assert not is_one(Trace(networks=frozenset({"192.0.2.0/24"})), Trace(networks=frozenset({"198.51.100.0/24"})))
    assert not is_one(Trace(), Trace())


def test_hosts_that_go_down_together_are_one_and_those_that_fall_by_chance_are_not():
    source = random.Random(1)
    up = mask(source, 0.9)
    assert correlate(Trace(up=up, seen=SEEN), Trace(up=up, seen=SEEN)) > 0.99
    others = [Trace(up=mask(source, 0.9), seen=SEEN) for _ in range(60)]
    assert max(correlate(Trace(up=up, seen=SEEN), other) for other in others) < 0.5


def test_too_little_seen_or_never_down_tells_nothing():
    short = (1 << 100) - 1
    assert correlate(Trace(up=short >> 10, seen=short), Trace(up=short >> 10, seen=short)) == 0
    assert correlate(Trace(up=SEEN, seen=SEEN), Trace(up=SEEN, seen=SEEN)) == 0


def test_of_hosts_that_are_tied_one_copy_counts():
    traces = [Trace(region=name) for name in ("r", "r", "r", "s")]
    clusters = find_clusters(traces)
    assert clusters == [0, 0, 0, 3]
    assert pick_apart([1, 0, 2, 3], clusters, 2) == [1, 3]
    assert pick_apart([1, 0, 2], clusters, 2) == [1]


def test_a_host_that_signs_addresses_of_others_networks_ties_itself_to_them_and_not_them_to_each_other():
    networks = ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"]
    honest = [Trace(networks=frozenset({network})) for network in networks]
    liar = Trace(networks=frozenset(networks))
    assert find_clusters([liar, *honest]) == [1, 1, 2, 3]
    assert find_clusters([*honest, liar]) == [0, 1, 2, 0]


def test_the_strongest_tie_is_named():
    near = Trace(networks=frozenset({"192.0.2.0/24", "2001:db8:1::/48"}), region="DE-BER", voucher="v")
    assert find_tie(near, Trace(networks=frozenset({"2001:db8:1::/48"}), region="DE-BER")) is Tie.NETWORK
    assert find_tie(near, Trace(region="DE-BER", voucher="v")) is Tie.REGION
    assert find_tie(near, Trace(voucher="v")) is Tie.VOUCHER
    assert find_tie(near, Trace()) is None
