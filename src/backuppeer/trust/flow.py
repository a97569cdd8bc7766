"""Hearsay with a bound: how much evidence reaches hosts by what others stored with them (DESIGN 8). Pure.

Knows: who stored with whom, how much and for how long. Must not know: receipts, clocks, databases.

Evidence flows from the viewer along the pairs owner → host, and is conserved:

    capacity of a pair = 1.5 (1 - e^(-days / 60)) min(1, log2(1 + GiB) / 5),  of a vouch without storage at most 0.5
    the viewer gives SUPPLY in all; a peer passes on half of what it got, shared among its hosts by what their pairs
    can still carry; after HOPS steps nothing is passed on

Why a crowd gains nothing by its size: let g pairs lead into it from outside, the viewer's own among them. A pair
carries its capacity once, whatever the step, so no more than 1.5 g enters. What was passed on within the crowd is half
of what came a step before: 1.5 g (1 + 1/2 + 1/4 + …) < 3 g for all of them together, be they three or ten thousand.
"""

import math
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

PAIR_MOST: Final = 1.5
VOUCH_MOST: Final = 0.5
SUPPLY: Final = 6.0
HOPS: Final = 3
PASSED_ON: Final = 0.5
_DAYS: Final = 60.0
_FULL_BITS: Final = 5.0
"""A pair that holds 31 GiB carries all that its days allow."""

P = TypeVar("P", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Pair(Generic[P]):
    """An owner's word for a host, as far as it carries. capacity: see `pair_capacity`; > 0."""

    owner: P
    host: P
    capacity: float


def pair_capacity(days: float, gib: float) -> float:
    """Return what a pair can carry whose host has kept `gib` GiB for its owner for so many days: 0 to 1.5."""
    lasting = 1 - math.exp(-max(0.0, days) / _DAYS)
    return PAIR_MOST * lasting * min(1.0, math.log2(1 + max(0.0, gib)) / _FULL_BITS)


Chart = Mapping[P, Mapping[P, float]]
"""What is known of all pairs: owner → host → capacity. Made once, and good for every viewer."""


def make_chart(pairs: Iterable[Pair[P]]) -> dict[P, dict[P, float]]:
    """Return the chart of some pairs. Of several pairs of the same two, the greatest counts, as one."""
    chart: dict[P, dict[P, float]] = {}
    for pair in pairs:
        if pair.capacity > 0 and pair.host != pair.owner:
            hosts = chart.setdefault(pair.owner, {})
            hosts[pair.host] = max(hosts.get(pair.host, 0.0), min(PAIR_MOST, pair.capacity))
    return chart


def spread(viewer: P, pairs: Iterable[Pair[P]]) -> dict[P, float]:
    """Return how much evidence reaches each peer by way of others; who gets none is left out.

    What the viewer gives its own hosts is not in it: of them it has evidence of its own. Of several pairs of the same
    two, the greatest counts, as one. Nothing flows to the viewer, or from a peer to itself.
    """
    return spread_over(make_chart(pairs), viewer)


def spread_over(chart: Chart[P], viewer: P, *, closed: Collection[P] = ()) -> dict[P, float]:
    """Return the same over a chart. closed: to whom nothing flows, beside the viewer.

    Costs what the pairs cost that something flows through, however many there are beside them.
    """
    left = _Left(chart, {viewer, *closed})
    reached: dict[P, float] = {}
    flows = _pass_on({viewer: SUPPLY}, left)
    for _ in range(HOPS - 1):
        flows = _pass_on({peer: flow * PASSED_ON for peer, flow in flows.items()}, left)
        for peer, flow in flows.items():
            reached[peer] = reached.get(peer, 0.0) + flow
    return reached


@dataclass(frozen=True, slots=True)
class Path(Generic[P]):
    """A way that evidence takes: the peers from the viewer to the one it reaches, and how much comes that way."""

    peers: tuple[P, ...]
    amount: float


def trace_over(chart: Chart[P], viewer: P, target: P, *, closed: Collection[P] = ()) -> list[Path[P]]:
    """Return the ways by which evidence reaches `target`, the widest first: together what `spread_over` says.

    What leaves a peer is made of all that came to it, in the same parts.
    """
    left = _Left(chart, {viewer, *closed})
    ways, found = {viewer: [Path((viewer,), SUPPLY)]}, []
    for hop in range(HOPS):
        came = {peer: sum(way.amount for way in its) for peer, its in ways.items()}
        flows: dict[P, dict[P, float]] = {}
        _pass_on({peer: much * (PASSED_ON if hop else 1.0) for peer, much in came.items()}, left, flows)
        # Of the last step only what reaches the target is followed: all the others are as many as there are pairs.
        reached = flows if hop < HOPS - 1 else {peer: {target: to.get(target, 0.0)} for peer, to in flows.items()}
        ways = _go_on(ways, came, reached)
        found += ways.get(target, []) if hop else []
    return sorted(found, key=lambda way: -way.amount)


def _go_on(
    ways: Mapping[P, list[Path[P]]], came: Mapping[P, float], flows: Mapping[P, Mapping[P, float]]
) -> dict[P, list[Path[P]]]:
    further: dict[P, list[Path[P]]] = {}
    for peer, hosts in flows.items():
        for host, flow in hosts.items():
            if flow > 0:
                steps = (Path((*way.peers, host), flow * way.amount / came[peer]) for way in ways[peer])
                further.setdefault(host, []).extend(steps)
    return further


class _Left(Generic[P]):
    """What the pairs of a chart can still carry; those of an owner are copied when they are first asked for."""

    def __init__(self, chart: Chart[P], closed: Collection[P]) -> None:
        self._chart, self._closed = chart, closed
        self._left: dict[P, dict[P, float]] = {}

    def of(self, owner: P) -> dict[P, float]:
        """Return the hosts of an owner, to be changed in place."""
        if owner not in self._left:
            hosts = self._chart.get(owner, {})
            self._left[owner] = {host: much for host, much in hosts.items() if host not in self._closed}
        return self._left[owner]


def _pass_on(
    supplies: Mapping[P, float], left: _Left[P], flows: dict[P, dict[P, float]] | None = None
) -> dict[P, float]:
    """Return what comes out one step on, and take it from what the pairs can still carry; `flows`: filled by pair."""
    arrived: dict[P, float] = {}
    for peer, supply in supplies.items():
        hosts = left.of(peer)
        share = min(1.0, supply / total) if (total := sum(hosts.values())) > 0 else 0.0
        for host, capacity in hosts.items():
            flow = capacity * share
            arrived[host] = arrived.get(host, 0.0) + flow
            hosts[host] = capacity - flow
            if flows is not None:
                flows.setdefault(peer, {})[host] = flow
    return arrived
