"""The honest baseline: how soon hosts that do nothing wrong are believed, and how often they are wronged.

Knows: a world that has been lived through. Must not know: attacks, which values are good enough.
"""

from collections.abc import Iterable, Sequence
from statistics import fmean, median
from typing import Final

from backuppeer.trust.hearsay import chart_words, hear_over
from simulation.world import MARKS, WEEK, Bond, World

Metrics = dict[str, float]
NEVER: Final = 365
GRACE_DAYS: Final = 30


def run_honest(world: World) -> Metrics:
    """Measure own evidence of all owners, and what viewers hear beside it. A host reaches what half its owners give."""
    found: Metrics = {}
    for gib in (1.0, 10.0, 100.0):
        bonds = [bond for bond in world.bonds if world.peers[bond.owner].wants == gib]
        for mark in MARKS:
            days = [bond.reached.get(mark, NEVER) for bond in bonds]
            found[f"day at which {mark:g} is reached, {gib:g} GiB"] = float(median(days)) if days else float(NEVER)
    by_host = _group(world.bonds)
    found["hosts at .5 by day 45"] = fmean(_host_day(bonds, 0.5) <= 45 for bonds in by_host)
    large = _group(bond for bond in world.bonds if world.peers[bond.owner].wants >= 10)
    found["day at which the median host of ≥ 10 GiB is at .8"] = float(median(_host_day(bonds, 0.8) for bonds in large))
    after = [trust for bond in world.bonds for trust in bond.trusts[GRACE_DAYS:]]
    found["days wrongly below .2 after day 30"] = fmean(trust < 0.2 for trust in after) if after else 0.0
    found |= _listen(world)
    return found


def _group(bonds: Iterable[Bond]) -> list[list[Bond]]:
    by_host: dict[int, list[Bond]] = {}
    for bond in bonds:
        by_host.setdefault(bond.host, []).append(bond)
    return list(by_host.values())


def _host_day(bonds: Sequence[Bond], mark: float) -> float:
    return median(bond.reached.get(mark, NEVER) for bond in bonds)


def _listen(world: World) -> Metrics:
    """Return what sampled viewers hear, weekly: of how many hosts, and how much evidence in all at most."""
    known, most = [0.0], 0.0
    for day in range(GRACE_DAYS, world.size.days, WEEK):
        chart = chart_words(world.words(day))
        for viewer in world.viewers:
            heard = hear_over(viewer, chart)
            known.append(float(len(heard)))
            most = max(most, sum(one.alpha + one.beta for one in heard.values()))
    return {"hosts heard of, last month": fmean(known[-len(world.viewers) * 4 :]), "most evidence heard": most}
