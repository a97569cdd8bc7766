"""Which hosts may be one machine, or fall together: at most one copy goes to each cluster (DESIGN 8). Pure.

Knows: networks, regions, who vouched, when hosts were up. Must not know: where that was seen. Being told apart costs an
attacker little; being up and down at the same hours for months, by chance, does not happen to honest hosts.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import combinations
from typing import Final

WINDOWS_LEAST: Final = 120
"""Windows of six hours that two hosts must have been looked at in: a month."""
DOWN_LEAST: Final = 4
"""Windows that each must have been down in: hosts that never fail tell nothing."""
CORRELATED: Final = 0.9


@dataclass(frozen=True, slots=True)
class Trace:
    """What tells whether two hosts are one. Empty texts say nothing.

    networks: the /24 and /48 of its addresses; region: its label, of a place, not a continent; voucher: who alone
    vouches for it. up, seen: bit masks of 6-hour windows: in which it answered, and in which it was asked.
    """

    networks: frozenset[str] = frozenset()
    region: str = ""
    voucher: str = ""
    up: int = 0
    seen: int = 0


class Tie(Enum):
    """By what two hosts hang together."""

    NETWORK = "network"
    REGION = "region"
    VOUCHER = "voucher"
    HOURS = "hours"


def find_tie(first: Trace, second: Trace) -> Tie | None:
    """Return by what two hosts may be one machine, or hang on one; None: nothing tells so."""
    if first.networks & second.networks:
        return Tie.NETWORK
    if first.region and first.region == second.region:
        return Tie.REGION
    if first.voucher and first.voucher == second.voucher:
        return Tie.VOUCHER
    return Tie.HOURS if correlate(first, second) >= CORRELATED else None


def is_one(first: Trace, second: Trace) -> bool:
    """Return whether two hosts may be one machine, or hang on one."""
    return find_tie(first, second) is not None


def correlate(first: Trace, second: Trace) -> float:
    """Return how alike two hosts are up and down in windows in which both were asked: -1..1, 0 = can't be told."""
    both = first.seen & second.seen
    windows = both.bit_count()
    up = (first.up & both).bit_count(), (second.up & both).bit_count()
    if windows < WINDOWS_LEAST or any(windows - count < DOWN_LEAST or not count for count in up):
        return 0.0
    together = (first.up & second.up & both).bit_count()
    spread = math.prod(count * (windows - count) for count in up)
    return (windows * together - up[0] * up[1]) / math.sqrt(spread)


def find_clusters(traces: Sequence[Trace]) -> list[int]:
    """Return for each host its own place if its copy counts, else that of one whose copy does and that it is tied to.

    No two that count are tied. The most such hosts are hard to find, so those with the fewest ties are taken first:
    who ties itself to many, with addresses that are not its own, falls out, and not they.
    """
    tied: list[set[int]] = [set() for _ in traces]
    for a, b in combinations(range(len(traces)), 2):
        if is_one(traces[a], traces[b]):
            tied[a].add(b)
            tied[b].add(a)
    counted = set[int]()
    for host in sorted(range(len(traces)), key=lambda host: len(tied[host])):
        if not tied[host] & counted:
            counted.add(host)
    return [host if host in counted else min(tied[host] & counted) for host in range(len(traces))]


def pick_apart(ranked: Iterable[int], clusters: Sequence[int], count: int) -> list[int]:
    """Return the first `count` of the hosts, best first, of which no two are in one cluster; fewer if there are not."""
    picked: list[int] = []
    used: set[int] = set()
    for host in ranked:
        if clusters[host] not in used and len(picked) < count:
            used.add(clusters[host])
            picked.append(host)
    return picked
