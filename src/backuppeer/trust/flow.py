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


class Inflow(Generic[P]):
    """What reaches peers from one viewer over a chart, kept up with it."""

    def __init__(self, chart: Chart[P], viewer: P, *, closed: Collection[P] = ()) -> None:
        """Find it. chart: read again in `update`; closed: to whom nothing flows, beside the viewer.

        Costs what the pairs cost that something flows through, however many there are beside them.
        """
        self._chart, self._closed = chart, frozenset((viewer, *closed))
        self._steps = tuple(_Step[P]() for _ in range(HOPS))
        self._supply = {viewer: SUPPLY}
        self.reached: dict[P, float] = {}
        """How much reaches each peer by way of others; who gets none is left out. To be read alone."""
        self.update((viewer,))

    def update(self, owners: Iterable[P]) -> set[P]:
        """Take in that the pairs of some owners changed in the chart; return whom more or less reaches than before."""
        anew, changed = set(owners), set[P]()
        supply, came = self._supply, set[P]()
        for hop, step in enumerate(self._steps):
            moved = [owner for owner in anew | came if step.pour(owner, self._share_out(owner, hop, supply))]
            # What is left of its pairs for the next step is another amount, too.
            anew.update(moved)
            came = step.add_up()
            changed |= came if hop else set()
            supply = step.arrived
        return {peer for peer in changed if self._gather(peer)}

    def trace(self, viewer: P, target: P) -> list["Path[P]"]:
        """Return the ways by which evidence reaches `target`, the widest first: together what `reached` says.

        What leaves a peer is made of all that came to it, in the same parts.
        """
        ways, found = {viewer: [Path((viewer,), SUPPLY)]}, list["Path[P]"]()
        for hop, step in enumerate(self._steps):
            further: dict[P, list[Path[P]]] = {}
            # Of the last step only what reaches the target is followed: all the others are as many as there are pairs.
            into = (target,) if hop == HOPS - 1 else step.arrived
            for host in into:
                for owner, flow in step.into.get(host, {}).items():
                    came = math.fsum(way.amount for way in ways[owner])
                    steps = (Path((*way.peers, host), flow * way.amount / came) for way in ways[owner])
                    further.setdefault(host, []).extend(steps)
            ways = further
            found += ways.get(target, []) if hop else []
        return sorted(found, key=lambda way: -way.amount)

    def _share_out(self, owner: P, hop: int, supply: Mapping[P, float]) -> dict[P, float]:
        """Return what flows to each host of an owner at a step: by what its pairs can still carry."""
        amount = supply.get(owner, 0.0) * (PASSED_ON if hop else 1.0)
        if not amount:
            return {}
        left = {host: much for host, much in self._chart.get(owner, {}).items() if host not in self._closed}
        for step in self._steps[:hop]:
            for host, flow in step.out.get(owner, {}).items():
                left[host] -= flow
        total = math.fsum(left.values())
        share = min(1.0, amount / total) if total > 0 else 0.0
        return {host: flow for host, much in left.items() if (flow := much * share) > 0}

    def _gather(self, peer: P) -> bool:
        amount = math.fsum(step.arrived.get(peer, 0.0) for step in self._steps[1:])
        if amount == self.reached.get(peer, 0.0):
            return False
        if amount:
            self.reached[peer] = amount
        else:
            del self.reached[peer]
        return True


class _Step(Generic[P]):
    """What flows at one step: out of each owner, into each host, and what arrived there in all; nothing is left out."""

    def __init__(self) -> None:
        self.out: dict[P, dict[P, float]] = {}
        self.into: dict[P, dict[P, float]] = {}
        self.arrived: dict[P, float] = {}
        self._stirred: set[P] = set()

    def pour(self, owner: P, flows: dict[P, float]) -> bool:
        """Let this flow out of an owner instead of what did; return whether that is another amount anywhere."""
        before = self.out.get(owner, {})
        if flows == before:
            return False
        for host in before.keys() - flows.keys():
            del self.into[host][owner]
            self._stirred.add(host)
        for host, flow in flows.items():
            if flow != before.get(host):
                self.into.setdefault(host, {})[owner] = flow
                self._stirred.add(host)
        if flows:
            self.out[owner] = flows
        else:
            del self.out[owner]
        return True

    def add_up(self) -> set[P]:
        """Bring `arrived` up to date; return of whom it changed."""
        stirred, self._stirred = self._stirred, set()
        changed = set[P]()
        for host in stirred:
            flows = self.into[host]
            amount = math.fsum(flows.values())
            if amount != self.arrived.get(host, 0.0):
                changed.add(host)
            if flows:
                self.arrived[host] = amount
            else:
                del self.into[host]
                self.arrived.pop(host, None)
        return changed


@dataclass(frozen=True, slots=True)
class Path(Generic[P]):
    """A way that evidence takes: the peers from the viewer to the one it reaches, and how much comes that way."""

    peers: tuple[P, ...]
    amount: float


def spread(viewer: P, pairs: Iterable[Pair[P]]) -> dict[P, float]:
    """Return how much evidence reaches each peer by way of others; who gets none is left out.

    What the viewer gives its own hosts is not in it: of them it has evidence of its own. Of several pairs of the same
    two, the greatest counts, as one. Nothing flows to the viewer, or from a peer to itself.
    """
    return Inflow(make_chart(pairs), viewer).reached
