"""Scores over time, of 20 sampled viewers: every week in peace, every day under attack; ours and those of others.

Knows: worlds, courses, what a point is called among the metrics. Must not know: targets, how a plot looks. A point is
a metric as any other: "score on day 7", "mean: score of a new name on day 12"; of ours also the lowest and the highest.
"""

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Final, NamedTuple

from backuppeer.limits import GIB, PACK_TARGET_BYTES
from backuppeer.trust.flow import Chart
from backuppeer.trust.hearsay import Heard, Place, Word, add_hearsay, chart_words, hear_over
from backuppeer.trust.score import Evidence, Fault, score_host
from simulation.courses import OURS, Course, Guise, Script, run_courses
from simulation.crowds import SLANDER_EDGES, Name, make_claims, make_edges
from simulation.hosts import (
    GOOD_DAYS,
    NAMES,
    WATCHED_DAYS,
    chance_found,
    destroy_from,
    label,
    lose,
    lose_at,
    refuse,
    run_laptop_courses,
)
from simulation.relation import Day, Relation
from simulation.schemes import SCHEMES
from simulation.world import WEEK, World

Metrics = dict[str, float]
VIEWERS: Final = 20
CON_DAY: Final = 180
LAZY_DAY: Final = 60
MONTH: Final = 30
DROPPED: Final = 0.05
NEW_NAME: Final = "a new name"
ALONE: Final = "one left alone,"
SLANDERED: Final = "one slandered,"
_FIRST_DAY: Final = 6 * WEEK - 1
"""The first receipts are there."""
_LISTENERS: Final = 3
_POINT: Final = re.compile(r"(?:(\w+): )?(lowest |highest |)score(?: of (.+))? on day (\d+)")


class Point(NamedTuple):
    """One value of a series. stat: "", "lowest" or "highest"; who: of whom, where a scenario has several."""

    scheme: str
    stat: str
    who: str
    day: int


def read_point(metric: str) -> Point | None:
    """Return what a metric is a point of; None: it is none."""
    match = _POINT.fullmatch(metric)
    return Point(match[1] or OURS, match[2].strip(), match[3] or "", int(match[4])) if match else None


def _name(day: int, who: str, stat: str = "") -> str:
    return f"{stat}{' ' if stat else ''}score{' of ' if who else ''}{who} on day {day}"


def _draw(scores: Mapping[str, Sequence[Sequence[float]]], *, who: str = "", every: int = 1, start: int = 0) -> Metrics:
    """Return the points of some courses. scores: by scheme, of each viewer after each day from `start` on."""
    found: Metrics = {}
    last = min(len(days) for days in scores[OURS])
    for day in range(every - 1, last, every):
        for scheme, courses in scores.items():
            found[label(_name(start + day, who), scheme)] = fmean(course[day] for course in courses)
        ours = [course[day] for course in scores[OURS]]
        found[_name(start + day, who, "lowest")], found[_name(start + day, who, "highest")] = min(ours), max(ours)
    return found


def _draw_courses(courses: Iterable[Course], *, who: str = "", every: int = 1, start: int = 0) -> Metrics:
    seen = list(courses)
    return _draw({name: [course.scores[name] for course in seen] for name in NAMES}, who=who, every=every, start=start)


def trace_honest(world: World) -> Metrics:
    """Return what viewers think of their own hosts, all of them honest."""
    bonds = [bond for bond in world.bonds if bond.days]
    schemes = {name: [scheme(bond.days) for bond in bonds] for name, scheme in SCHEMES.items()}
    return _draw({OURS: [bond.trusts for bond in bonds], **schemes}, every=WEEK)


def _trace(script: Script, guise: Guise = Guise()) -> Callable[[World], Metrics]:  # noqa: B008 - frozen
    return lambda world: _draw_courses(run_courses(world, replace(guise, owners=VIEWERS), script))


def trace_lazy(world: World) -> Metrics:
    """Return what is thought of a host of 10 GiB that drops one leaf in twenty on day 60, each by itself."""
    chance = random.Random(f"lazy {world.viewers}")

    def script(number: int, day: Day, relation: Relation) -> Day:
        if number < LAZY_DAY or not day.answered or chance.random() > chance_found(relation.stored, DROPPED, 1):
            return day
        packs = max(1.0, relation.stored * GIB / PACK_TARGET_BYTES)
        return replace(day, audited=False, fault=Fault.PROVEN_LOSS, lost=1 / packs)

    found = _draw_courses(run_courses(world, Guise(owners=VIEWERS), script))
    last = min(LAZY_DAY + MONTH, world.size.days) - 1
    return found | {
        label(f"score a month after dropping {DROPPED:.0%}", name): found[label(_name(last, ""), name)]
        for name in NAMES
    }


def trace_long_con(world: World) -> Metrics:
    """Return what is thought of a host that is good for half a year, then shows nothing right."""
    guise = Guise(wants=100.0, last_day=CON_DAY + WATCHED_DAYS, owners=VIEWERS)
    return _draw_courses(run_courses(world, guise, destroy_from(CON_DAY)))


def trace_whitewash(world: World) -> Metrics:
    """Return what a host is worth that lost a tenth, and by a new name from the day after on."""
    guise = Guise(owners=VIEWERS)
    old = run_courses(world, guise, lose_at(GOOD_DAYS))
    new = run_courses(world, guise, lambda _number, day, _relation: day)
    left = max(0, world.size.days - GOOD_DAYS - 1)
    short = [replace(course, scores={name: values[:left] for name, values in course.scores.items()}) for course in new]
    return _draw_courses(old) | _draw_courses(short, who=NEW_NAME, start=GOOD_DAYS + 1)


def trace_laptop(world: World) -> Metrics:
    """Return what is thought of a laptop that keeps everything."""
    return _draw_courses(run_laptop_courses(world), every=WEEK)


def trace_slander(world: World) -> Metrics:
    """Return what is thought of the honest host with most owners, slandered by a hundred or left alone.

    By its owners, and by the strangers that hear most of it. Whoever asks everybody takes each rater for as good as any
    other: its owners say 1, the crowd says 0.
    """
    owners_of: dict[int, list[int]] = {}
    for bond in world.bonds:
        owners_of.setdefault(bond.host, []).append(bond.owner)
    target, owners = max(owners_of.items(), key=lambda item: len(item[1]))
    strangers = _find_listeners(world, target, owners)
    claims = make_claims(target)
    found: Metrics = {}
    for day in range(_FIRST_DAY, world.size.days, WEEK):
        words: list[Word[Name]] = [*world.words(day), *make_edges(world, SLANDER_EDGES, day)]
        for mood, said in ((ALONE, words), (SLANDERED, [*words, *claims])):
            chart = chart_words(said)
            for who, viewers in (("owners", owners), ("strangers", strangers)):
                found[_name(day, f"{mood} by {who}")] = _ask(world, chart, viewers, target, day)
                claimed = len(claims) if mood == SLANDERED else 0
                found[label(_name(day, f"{mood} by {who}"), "mean")] = len(owners) / (len(owners) + claimed)
    return found


def _find_listeners(world: World, target: int, owners: Sequence[int]) -> list[int]:
    """Return the viewers that hear most of a host without storing with it, at the end."""
    chart = chart_words(world.words(world.size.days - 1))
    heard = {viewer: hear_over(viewer, chart).get(target, Heard()).alpha for viewer in world.viewers}
    others = [viewer for viewer in world.viewers if viewer not in owners and viewer != target]
    return sorted(others, key=lambda viewer: -heard[viewer])[:_LISTENERS]


def _ask(world: World, chart: Chart[Place[Name]], viewers: Iterable[int], target: int, day: int) -> float:
    """Return the mean of what viewers think of a host at the end of a week, by what they saw and heard."""
    values = []
    for viewer in viewers:
        bond = world.of.get((viewer, target))
        own = bond.weeks[day // WEEK] if bond else Evidence()
        values.append(score_host(add_hearsay(own, hear_over(viewer, chart).get(target, Heard()))))
    return fmean(values) if values else 0.0


TRACES: Final[dict[str, Callable[[World], Metrics]]] = {
    "honest": trace_honest,
    "lazy": trace_lazy,
    "laptop": trace_laptop,
    "long-con": trace_long_con,
    "on-off": _trace(lose),
    "on-off-refusing": _trace(refuse),
    "whitewash": trace_whitewash,
    "slander": trace_slander,
}
