"""Scenarios of many identities in one hand: a Sybil ring, slander, one disk under many names.

Knows: a world, words that a crowd makes up. Must not know: which values are good enough. A crowd says whatever
serves it: chains of ten years over a million GiB, co-signed, since both ends are its own.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from statistics import fmean
from typing import Final

from backuppeer.trust.clusters import Trace, find_clusters, pick_apart
from backuppeer.trust.flow import Chart
from backuppeer.trust.hearsay import Heard, Place, Word, add_hearsay, chart_words, hear_over
from backuppeer.trust.score import DayEvidence, Evidence, Fault, score_host, sum_days
from simulation.courses import OURS
from simulation.forgeries import count_accepted
from simulation.hosts import label
from simulation.peers import WINDOWS, Kind, make_presence
from simulation.relation import Day
from simulation.schemes import SCHEMES, pool
from simulation.world import World, meet

Metrics = dict[str, float]
Name = int | str
EDGES: Final = (0, 1, 5, 20)
CROWDS: Final = (100, 10_000)
FIRST_LOOK: Final = 35
"""The first receipts are there."""
YEAR: Final = 365
LONG_DAYS: Final = 3650.0
MUCH_GIB: Final = 1e6
FORGERIES: Final = 500
"""In each world: 10,000 in twenty."""
SLANDERERS: Final = 100
SLANDER_EDGES: Final = 20
LINKS: Final = 3
"""Of each Sybil to others: more only splits what comes in."""


_PRAISED: Final = Day(WINDOWS, WINDOWS, audited=True)
_SLANDERED: Final = Day(WINDOWS, 0, audited=False, fault=Fault.PROVEN_LOSS, lost=1.0)
"""A year of such days is what others' schemes are told: the best, and the worst, that can be said."""


def rate(scheme: str, day: Day) -> float:
    """Return the score after a year of such days, as one of others' schemes gives it."""
    return SCHEMES[scheme]([day] * YEAR)[-1]


def make_claims(target: Name) -> list[Word[Name]]:
    """Return a hundred claims that a host failed."""
    return [Word(f"s{n}", target, LONG_DAYS, MUCH_GIB, is_claim=True) for n in range(SLANDERERS)]


def make_edges(world: World, count: int, day: int) -> list[Word[Name]]:
    """Return what honest owners say of Sybils that they really store with: half of them viewers, who see them first."""
    chance = random.Random(f"edges {count} {world.viewers}")
    words: list[Word[Name]] = []
    for number in range(count):
        owner = chance.choice(world.viewers) if number % 2 == 0 else chance.randrange(world.size.peers)
        words.append(Word(owner, f"s{number}", float(day), 10.0))
    return words


def make_crowd(crowd: int, entries: int) -> Iterator[Word[Name]]:
    """Yield what the crowd says of itself: whom honest peers store with pass on to many, all the rest to some."""
    chance = random.Random(f"crowd {crowd}")
    for number in range(crowd):
        for _ in range(LINKS * (20 if number < entries else 1)):
            yield Word(f"s{number}", f"s{chance.randrange(crowd)}", LONG_DAYS, MUCH_GIB)


def run_ring(world: World) -> Metrics:
    """Measure what a crowd gains, by how many honest peers store with it, in the worst week for the worst viewer."""
    found: Metrics = {}
    totals: dict[tuple[int, int], float] = {}
    for crowd in CROWDS:
        for edges in EDGES:
            name = f"{crowd:,} ids, {edges} edges"
            seen = {day: _attack(world, crowd, edges, day) for day in _days(world, crowd)}
            total, above, best = (max(values) for values in zip(*seen.values(), strict=True))
            totals[crowd, edges] = max(seen[day][0] for day in _days(world, max(CROWDS)))
            found[f"evidence less 3 for each edge, {name}"] = total - 3 * edges
            found[f"at .5 or more, less edges, {name}"] = above - edges
            if not edges:
                found[f"highest score, {name}"] = best
    small, large = CROWDS
    apart = (abs(totals[small, e] - totals[large, e]) / max(totals[small, e], 1e-9) for e in EDGES if e)
    found["what size changes"] = max(apart)
    for crowd in CROWDS:
        for scheme in SCHEMES:
            rated = _rate_ring(crowd, scheme)
            found[f"{scheme}: highest score, {crowd:,} ids, 0 edges"] = max(rated)
            found[f"{scheme}: at .5 or more, less edges, {crowd:,} ids, 0 edges"] = float(sum(x >= 0.5 for x in rated))
    return found


def _rate_ring(crowd: int, scheme: str) -> list[float]:
    """Return what whoever asks everybody thinks of each of a crowd that the rest of it rates: words like any other."""
    ratings: dict[Name, list[float]] = {}
    praise = rate(scheme, _PRAISED)
    for word in make_crowd(crowd, 0):
        ratings.setdefault(word.host, []).append(praise)
    return [pool(each) for each in ratings.values()]


def _days(world: World, crowd: int) -> Iterable[int]:
    """Return the days on which viewers look: every fourth week, at a large crowd every third time."""
    return range(FIRST_LOOK, world.size.days, 28 if crowd <= min(CROWDS) else 84)


def _attack(world: World, crowd: int, edges: int, day: int) -> tuple[float, int, float]:
    """Return the most evidence the crowd gets from a viewer, how many it puts at .5 or more, the best score of them."""
    into = make_edges(world, edges, day)
    chart = chart_words(chain(world.words(day), into, make_crowd(crowd, edges)))
    own = Evidence(*sum_days(DayEvidence(age, 10.0) for age in range(day)))
    total, above, best = 0.0, 0, score_host(Evidence())
    for viewer in world.viewers:
        heard = {peer: found for peer, found in hear_over(viewer, chart).items() if isinstance(peer, str)}
        seen = {str(word.host): own for word in into if word.owner == viewer}
        scores = [
            score_host(add_hearsay(seen.get(peer, Evidence()), heard.get(peer, Heard()))) for peer in heard | seen
        ]
        total = max(total, sum(one.alpha for one in heard.values()))
        above = max(above, sum(value >= 0.5 for value in scores))
        best = max([best, *scores])
    return total, above, best


def run_slander(world: World) -> Metrics:
    """Measure how far claims of a hundred slanderers, twenty of them stored with, pull down honest hosts."""
    chance = random.Random(f"slander {world.viewers}")
    heard_drop = own_drop = 0.0
    praise, blame = ({scheme: rate(scheme, day) for scheme in SCHEMES} for day in (_PRAISED, _SLANDERED))
    others = dict.fromkeys(SCHEMES, 0.0)
    for day in range(63, world.size.days, 56):
        words: list[Word[Name]] = [*world.words(day), *make_edges(world, SLANDER_EDGES, day)]
        calm = chart_words(words)
        for bond in [bond for viewer in world.viewers for bond in world.hosts_of(viewer)][:: max(1, LINKS)]:
            target = bond.host
            claims = make_claims(target)
            raters = sum(other.host == target for other in world.bonds)
            for scheme in SCHEMES:
                calm_ratings, blames = [praise[scheme]] * raters, [blame[scheme]] * len(claims)
                others[scheme] = max(others[scheme], pool(calm_ratings) - pool(calm_ratings + blames))
            for viewer in {bond.owner, chance.choice(world.viewers)}:
                own = world.of.get((viewer, target))
                drop = _drop(world, (viewer, target), calm, chart_words([*words, *claims]))
                if own:
                    own_drop = max(own_drop, drop)
                else:
                    heard_drop = max(heard_drop, drop)
    accepted, refused = count_accepted(chance, FORGERIES)
    return {
        "forged proofs accepted": float(accepted),
        "true proofs refused": float(refused),
        "most a score drops, by hearsay": heard_drop,
        "most a score drops, first hand": own_drop,
        **{f"{scheme}: most a score drops, by hearsay": drop for scheme, drop in others.items()},
    }


def _drop(world: World, pair: tuple[int, int], before: Chart[Place[Name]], after: Chart[Place[Name]]) -> float:
    viewer, target = pair
    bond = world.of.get(pair)
    # Evidence of the last day stands in for that of any: what matters is that there is some.
    own = bond.relation.evidence(world.size.days - 1) if bond else Evidence()
    first, then = (hear_over(viewer, chart).get(target, Heard()) for chart in (before, after))
    return score_host(add_hearsay(own, first)) - score_host(add_hearsay(own, then))


COLLUDERS: Final = 10


def run_one_disk(world: World) -> Metrics:
    """Measure how many owners keep both copies on one disk that ten hosts share, after two months of looking.

    Hosts are chosen among the ten and twenty others; told apart by network and region, only by when they are down.
    """
    chance = random.Random(f"disk {world.viewers}")
    days = min(60, world.size.days)
    often = _choose_apart(world, chance, make_presence(chance, Kind.LAPTOP, days, share=0.8))
    hardly = _choose_apart(world, chance, make_presence(chance, Kind.BOX, days))
    return {
        **{label("owners with both copies on it", scheme): share for scheme, share in often.items()},
        **{
            label("owners with both copies on it, when it is hardly ever down", scheme): share
            for scheme, share in hardly.items()
        },
    }


def _choose_apart(world: World, chance: random.Random, disk: list[int]) -> dict[str, float]:
    """Return the share of viewers with two copies on the disk: chosen by clusters, and by scores of others alone."""
    others = [peer for peer in world.peers if peer.kind is not Kind.OFFICE][: 2 * COLLUDERS]
    ups = [disk] * COLLUDERS + [peer.up[: len(disk)] for peer in others]
    caught: dict[str, list[bool]] = {scheme: [] for scheme in (OURS, *SCHEMES)}
    for mask in [_see(chance, len(disk)) for _ in world.viewers]:
        clusters = find_clusters([Trace(up=_join(up) & mask, seen=mask) for up in ups])
        ranked = chance.sample(range(len(ups)), len(ups))
        caught[OURS].append(_is_doubled(pick_apart(ranked, clusters, 2)))
        seen = [[meet(_cut(mask, day), up[day]) for day in range(len(disk))] for up in ups]
        for scheme, score in SCHEMES.items():
            least = {host: -score(days)[-1] for host, days in enumerate(seen)}
            # Whom a scheme scores alike it takes by chance: the sort keeps the order of the draw.
            caught[scheme].append(_is_doubled(sorted(ranked, key=least.__getitem__)[:2]))
    return {scheme: fmean(found) for scheme, found in caught.items()}


def _is_doubled(hosts: Sequence[int]) -> bool:
    return sum(host < COLLUDERS for host in hosts) > 1


def _cut(mask: int, day: int) -> int:
    """Return the windows of one day."""
    return mask >> (day * WINDOWS) & ((1 << WINDOWS) - 1)


def _see(chance: random.Random, days: int) -> int:
    """Return in which windows an owner looks: nine of ten."""
    return sum(1 << n for n in range(days * WINDOWS) if chance.random() < 0.9)


def _join(up: list[int]) -> int:
    return sum(mask << (day * WINDOWS) for day, mask in enumerate(up))
