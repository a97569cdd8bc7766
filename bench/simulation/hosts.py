"""Scenarios of one host that misbehaves, or only seems to: on-off, whitewash, long con, laptop, lazy.

Knows: scripts, and what is measured of the courses. Must not know: which values are good enough.
"""

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import median
from typing import Final

from backuppeer.limits import AUDIT_CYCLE_DAYS, GIB, PACK_TARGET_BYTES
from backuppeer.shares.sampling import count_uniform
from backuppeer.trust.score import Fault
from simulation.courses import OURS, Course, Guise, Script, run_courses
from simulation.peers import WINDOWS
from simulation.relation import Day, Relation
from simulation.schemes import SCHEMES
from simulation.world import World

Metrics = dict[str, float]
GOOD_DAYS: Final = 60
BAD_DAYS: Final = 5
CYCLE: Final = GOOD_DAYS + BAD_DAYS
NAMES: Final = (OURS, *SCHEMES)
WATCHED_DAYS: Final = 30
REPAIR_DAYS: Final = 7
"""From the first failed probe until its owner has put another copy elsewhere."""


def label(metric: str, scheme: str) -> str:
    """Return the metric's name in the results; ours has no prefix."""
    return metric if scheme == OURS else f"{scheme}: {metric}"


def refuse(number: int, day: Day, _: Relation) -> Day:
    """Be good for 60 days, refuse whatever is asked for 5, and so on."""
    if number % CYCLE < GOOD_DAYS or not day.answered:
        return day
    return replace(day, audited=False, fault=Fault.REFUSED_ONLINE)


def lose(number: int, day: Day, _: Relation) -> Day:
    """Be good for 60 days, show wrong bytes for 5, then take back all that was lost, and so on."""
    turn = number % CYCLE
    if not day.answered:
        return day
    if turn < GOOD_DAYS:
        return replace(day, is_mended=number > CYCLE and turn < BAD_DAYS)
    return replace(day, audited=False, fault=Fault.PROVEN_LOSS, lost=0.05)


def run_on_off(world: World, script: Script) -> Metrics:
    """Measure what a host gets that is good most of the time, from owners who met it in its bad days.

    Who was away all through a spell did not see one: the third cycle is that after the second one that was seen.
    """
    courses = run_courses(world, Guise(), script)
    starts = {course.owner: start for course in courses if (start := _third_cycle(course)) is not None}
    found: Metrics = {"owners who met it in fewer than two spells": float(len(courses) - len(starts))}
    for scheme in NAMES:
        after = [course.scores[scheme][GOOD_DAYS + BAD_DAYS - 1] for course in courses if _was_bad(course)]
        later = [max(course.scores[scheme][starts[course.owner] :]) for course in courses if course.owner in starts]
        found[label("after the first bad spell", scheme)] = max(after, default=0.0)
        found[label("most from the third cycle on", scheme)] = max(later, default=0.0)
    return found


def _third_cycle(course: Course) -> int | None:
    """Return the first day after the second spell in which its owner met the host; None: there was none."""
    spells = sorted({number // CYCLE for number, day in enumerate(course.days) if day.fault})
    start = (spells[1] + 1) * CYCLE if len(spells) > 1 else len(course.days)
    return start if start < len(course.days) else None


def _was_bad(course: Course) -> bool:
    """Whether an owner met the host in its first spell at all."""
    return any(day.fault for day in course.days[:CYCLE])


def run_whitewash(world: World) -> Metrics:
    """Measure what a host gains by a new name, on each day after it lost what it had been given."""
    old = run_courses(world, Guise(), lose_at(GOOD_DAYS))
    new = run_courses(world, Guise(), lambda _number, day, _relation: day)
    found: Metrics = {"exposure of the new name, GiB": max(course.stored[0] for course in new)}
    for scheme in NAMES:
        fresh = _newcomer(scheme)
        found[label("most gained by a new name", scheme)] = max(
            fresh - course.scores[scheme][day] for course in old for day in range(GOOD_DAYS, len(course.days))
        )
    found["days until a new name is worth more"] = float(min(_days_until_ahead(o, n) for o, n in _pairs(old, new)))
    return found


def _pairs(old: Iterable[Course], new: Iterable[Course]) -> Iterable[tuple[Course, Course]]:
    return zip(old, new, strict=True)


def _newcomer(scheme: str) -> float:
    """Return the score of who was never met."""
    nothing = Day(0, 0, audited=False)
    return Relation(promised=0.95, wants=1).trust(0) if scheme == OURS else SCHEMES[scheme]([nothing])[0]


def _days_until_ahead(old: Course, new: Course) -> int:
    """Return after how many honest days a new name passes the old one, which is honest again, too; 365 = never."""
    start = GOOD_DAYS + 1
    rest = old.scores[OURS][start:]
    return next((day for day, value in enumerate(rest) if new.scores[OURS][day] > value), 365)


def lose_at(start: int) -> Script:
    """Lose a tenth on one day, take it back a week later, and be good ever after."""

    def script(number: int, day: Day, relation: Relation) -> Day:
        if number < start or not day.answered:
            return day
        if not relation.conduct.failed_ms and not relation.tally.beta:
            return replace(day, audited=False, fault=Fault.PROVEN_LOSS, lost=0.1)
        return replace(day, is_mended=number >= start + REPAIR_DAYS)

    return script


def run_long_con(world: World) -> Metrics:
    """Measure what a host takes with it that is good until it destroys all, and how long it is believed then."""
    found: Metrics = {"over the cap, GiB": 0.0, "destroyed at most, GiB": 0.0, "owners who lost data kept twice": 0.0}
    at_first, in_three = {scheme: [0.0] for scheme in NAMES}, {scheme: [0.0] for scheme in NAMES}
    for start in (5, 60, 180):
        if start >= world.size.days - 10:
            continue
        guise = Guise(wants=100.0, last_day=start + WATCHED_DAYS)
        for course in run_courses(world, guise, destroy_from(start)):
            first = next((number for number, day in enumerate(course.days) if day.fault), None)
            found["over the cap, GiB"] = max(found["over the cap, GiB"], course.over)
            found["destroyed at most, GiB"] = max(found["destroyed at most, GiB"], course.stored[start - 1])
            if first is None:
                continue
            last = min(first + 3, len(course.days) - 1)
            for scheme in NAMES:
                at_first[scheme].append(course.scores[scheme][first])
                in_three[scheme].append(course.scores[scheme][last])
            found["owners who lost data kept twice"] += _loses_both(world, course.owner, start, first + REPAIR_DAYS)
    for scheme in NAMES:
        found[label("at the first failed probe", scheme)] = max(at_first[scheme])
        found[label("three days later", scheme)] = max(in_three[scheme])
    return found


def destroy_from(start: int) -> Script:
    """Keep all until a day, then show nothing right: each audit finds as many packs gone as it asks for."""

    def script(number: int, day: Day, relation: Relation) -> Day:
        if number < start or not day.answered:
            return day
        packs = max(1.0, relation.stored * GIB / PACK_TARGET_BYTES)
        return replace(
            day, audited=False, fault=Fault.PROVEN_LOSS, lost=min(1.0, draws_of_day(relation.stored) / packs)
        )

    return script


def _loses_both(world: World, owner: int, start: int, end: int) -> bool:
    """Whether the disk of the host that keeps the other copy died, too, before there was a third."""
    other = world.hosts_of(owner)[0].host
    return any(start <= day <= end for day in world.peers[other].crashes)


def run_laptop(world: World) -> Metrics:
    """Measure a host that is up 40 % of the time, as it promised, and keeps everything."""
    courses = run_laptop_courses(world)
    found: Metrics = {}
    for scheme in NAMES:
        reached = [_first(course.scores[scheme], 0.6) for course in courses]
        found[label("day at which .6 is reached, median owner", scheme)] = float(median(reached))
    return found


def run_laptop_courses(world: World) -> list[Course]:
    """Return what 20 owners see of it."""
    chance = random.Random(f"laptop {world.viewers}")
    up = tuple(sum(1 << n for n in range(WINDOWS) if chance.random() < 0.4) for _ in range(world.size.days))
    return run_courses(world, Guise(promised=0.4, up=up, owners=20), lambda _number, day, _relation: day)


def _first(scores: Sequence[float], mark: float) -> int:
    """Return the first day at a mark; 365 = never."""
    return next((number for number, value in enumerate(scores) if value >= mark), 365)


def draws_of_day(gib: float) -> float:
    """Return how many leaves the real plan asks for on a mean day: of each pack one a cycle, and uniform ones."""
    packs = gib * GIB / PACK_TARGET_BYTES
    return (packs + count_uniform(int(gib * GIB))) / AUDIT_CYCLE_DAYS


def chance_found(gib: float, dropped: float, days: int) -> float:
    """Return how likely audits find within some days that a share of all leaves is gone, each lost by itself.

    That is the hardest case: who drops whole packs is found as soon as one of them has its turn.
    """
    if dropped >= 1:
        return 1.0
    return 1 - math.exp(math.log1p(-dropped) * draws_of_day(gib) * days)


LAZY: Final = ((0.01, 30), (0.05, 3), (0.20, 1), (1.0, 1))
"""Shares dropped, and days within which that must be found."""


def run_lazy() -> Metrics:
    """Measure how likely a host that drops a part of what it keeps is found in time."""
    return {
        f"{dropped:.0%} of {gib} GiB found in {days} d": chance_found(gib, dropped, days)
        for gib in (1, 10, 100)
        for dropped, days in LAZY
    }
