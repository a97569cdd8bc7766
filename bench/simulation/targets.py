"""The scenarios, how one is run, and the targets of the issue "trust that cannot be faked".

Knows: names of metrics, limits, how seeds are put together. Must not know: terminals, files.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final

from simulation.crowds import CROWDS, EDGES, run_one_disk, run_ring, run_slander
from simulation.honest import run_honest
from simulation.hosts import LAZY, lose, refuse, run_laptop, run_lazy, run_long_con, run_on_off, run_whitewash
from simulation.succession import run_succession
from simulation.world import World

Metrics = dict[str, float]
Gather = Callable[[Sequence[float]], float]
WORLDS: Final = 20
"""The issue's targets are for so many seeds."""
_EXTREMES: Final[dict[str, Gather]] = {"lowest": min, "highest": max}
"""How the points of series are put together that are not a mean."""

SCENARIOS: Final[dict[str, Callable[[World], Metrics]]] = {
    "honest": run_honest,
    "lazy": lambda _: run_lazy(),
    "laptop": run_laptop,
    "long-con": run_long_con,
    "on-off": lambda world: run_on_off(world, lose),
    "on-off-refusing": lambda world: run_on_off(world, refuse),
    "whitewash": run_whitewash,
    "succession": run_succession,
    "sybil": run_ring,
    "slander": run_slander,
    "one-disk": run_one_disk,
}


@dataclass(frozen=True, slots=True)
class Target:
    """One line: a metric of a scenario, and where it must lie. gather: how the values of the seeds become one.

    worlds: of so many the value is meant. It may be missed in fewer, as worlds differ: that fails nothing. Where the
    worst of all worlds counts, one is enough.
    """

    scenario: str
    metric: str
    limit: float
    is_most: bool = True
    gather: Gather = max
    worlds: int = 1

    def is_met(self, value: float) -> bool:
        """Return whether a gathered value is good enough; rounding errors are."""
        return value <= self.limit + 1e-9 if self.is_most else value >= self.limit - 1e-9


def _ring() -> list[Target]:
    targets = []
    for crowd in CROWDS:
        for edges in EDGES:
            name = f"{crowd:,} ids, {edges} edges"
            targets.append(Target("sybil", f"evidence less 3 for each edge, {name}", 0))
            targets.append(Target("sybil", f"at .5 or more, less edges, {name}", 0))
        targets.append(Target("sybil", f"highest score, {crowd:,} ids, 0 edges", 0.10))
    return [*targets, Target("sybil", "what size changes", 0.01)]


TARGETS: Final = (
    Target("honest", "hosts at .5 by day 45", 0.95, is_most=False, gather=fmean, worlds=WORLDS),
    Target("honest", "day at which the median host of ≥ 10 GiB is at .8", 120, gather=median),
    Target("honest", "days wrongly below .2 after day 30", 0.01, gather=fmean),
    *(
        Target("lazy", f"{dropped:.0%} of {gib} GiB found in {days} d", 0.99, is_most=False, gather=min)
        for gib in (10, 100)
        for dropped, days in LAZY
    ),
    Target("laptop", "day at which .6 is reached, median owner", 60, gather=median, worlds=WORLDS),
    Target("long-con", "at the first failed probe", 0.50),
    Target("long-con", "three days later", 0.30),
    Target("long-con", "over the cap, GiB", 0),
    Target("long-con", "owners who lost data kept twice", 0, gather=sum),
    *(
        target
        for scenario in ("on-off", "on-off-refusing")
        for target in (
            Target(scenario, "after the first bad spell", 0.60),
            Target(scenario, "most from the third cycle on", 0.4999),
        )
    ),
    Target("whitewash", "most gained by a new name", 0),
    Target("whitewash", "exposure of the new name, GiB", 1),
    Target("succession", "most gained by announcing", 0),
    Target("succession", "most gained by not announcing", 0),
    Target("succession", "most an honest one loses by announcing", 0),
    Target("succession", "foreign words followed", 0),
    Target("succession", "exposure of a name without a past, GiB", 1),
    *_ring(),
    Target("slander", "most a score drops, by hearsay", 0.15),
    Target("slander", "most a score drops, first hand", 0.05),
    Target("slander", "forged proofs accepted", 0, gather=sum),
    Target("slander", "true proofs refused", 0, gather=sum),
    Target("one-disk", "owners with both copies on it", 0),
)


def gather_seeds(runs: Sequence[dict[str, Metrics]]) -> dict[str, Metrics]:
    """Return {scenario: {metric: value}} of all seeds: by the target's way, what has no target by its mean."""
    ways = {(target.scenario, target.metric): target.gather for target in TARGETS}
    found: dict[str, Metrics] = {}
    for scenario in runs[0] if runs else ():
        for metric in runs[0][scenario]:
            plain = metric.split(": ", 1)[-1]
            way = ways.get((scenario, plain), _EXTREMES.get(metric.split(" ")[0], fmean))
            found.setdefault(scenario, {})[metric] = float(way([run[scenario][metric] for run in runs]))
    return found


def find_missed(results: dict[str, Metrics], *, worlds: int = WORLDS) -> list[Target]:
    """Return the targets that were run and missed, of those that so many worlds can tell of."""
    told = [target for target in TARGETS if target.worlds <= worlds]
    return [target for target in told if (value := _value(results, target)) is not None and not target.is_met(value)]


def _value(results: dict[str, Metrics], target: Target) -> float | None:
    return results.get(target.scenario, {}).get(target.metric)
