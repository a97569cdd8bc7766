"""One host with a script, and a year of what owners of the world see of it.

Knows: a world, scripts that turn an honest day into what the attacker makes of it. Must not know: targets.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from simulation.peers import WINDOWS
from simulation.relation import Day, Relation
from simulation.schemes import SCHEMES
from simulation.world import World, meet

ALWAYS: Final = (1 << WINDOWS) - 1
OURS: Final = "ours"
Script = Callable[[int, Day, Relation], Day]


@dataclass(slots=True)
class Course:
    """A year with one host. scores: by scheme, after each day; stored: GiB after each day.

    over: the most by which it was, when something was sent, over what the cap lets lie there, in GiB.
    """

    owner: int
    days: list[Day] = field(default_factory=list)
    scores: dict[str, list[float]] = field(default_factory=dict)
    stored: list[float] = field(default_factory=list)
    over: float = 0.0


@dataclass(frozen=True, slots=True)
class Guise:
    """How a host looks. up: its windows by the day; empty = always on. owners: how many store with it.

    last_day: when watching ends, if the world does not end before.
    """

    promised: float = 0.95
    wants: float = 10.0
    up: tuple[int, ...] = ()
    owners: int = 6
    last_day: int = 10_000


def run_courses(world: World, guise: Guise, script: Script) -> list[Course]:
    """Return what each of the first viewers of the world sees of a host with this script."""
    owners = world.viewers[: guise.owners]
    return [_run(world, owner, guise, script) for owner in owners]


def _run(world: World, owner: int, guise: Guise, script: Script) -> Course:
    relation = Relation(promised=guise.promised, wants=guise.wants, rules=world.rules)
    course, ours = Course(owner), []
    for number, owner_up in enumerate(world.peers[owner].up):
        day = script(number, meet(owner_up, guise.up[number] if guise.up else ALWAYS), relation)
        if number > guise.last_day:
            break
        before = relation.stored
        relation.live(number, day)
        course.days.append(day)
        if relation.stored > before and not day.is_mended:
            course.over = max(course.over, relation.stored - relation.lawful_cap())
        course.stored.append(relation.stored)
        ours.append(relation.trust(number))
    course.scores = {OURS: ours, **{name: scheme(course.days) for name, scheme in SCHEMES.items()}}
    return course
