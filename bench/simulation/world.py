"""A year of honest peers who store with each other: what each owner saw of its hosts, and the words that spread.

Knows: peers and relations. Must not know: attacks, which live beside a world and look into it.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from backuppeer.trust.hearsay import Word, chain_days
from backuppeer.trust.score import Evidence, Fault, score_host
from simulation.peers import Peer, make_peer
from simulation.relation import RULES, Day, Relation, Rules

RECEIPT_DAYS: Final = 30
WEEK: Final = 7
MENDED_AFTER_DAYS: Final = (1, 7)
"""From when a host says that its disk died until its owner's person has sent all again."""
ROTTEN_SHARE: Final = 0.005
MARKS: Final = (0.5, 0.6, 0.8)


@dataclass(frozen=True, slots=True)
class Size:
    """How large a world is. viewers: of how many peers scores are looked at."""

    peers: int = 300
    days: int = 365
    viewers: int = 20


@dataclass(slots=True)
class Bond:
    """An owner's year with a host. reached: the first day of each mark; words: chain days and GiB after each month.

    weeks: what the owner saw itself, at each week's end; days: what viewers met with, day by day.
    """

    owner: int
    host: int
    relation: Relation
    reached: dict[float, int] = field(default_factory=dict)
    words: list[tuple[int, float]] = field(default_factory=list)
    trusts: list[float] = field(default_factory=list)
    weeks: list[Evidence] = field(default_factory=list)
    days: list[Day] = field(default_factory=list)


class World:
    """Honest peers for some days, lived through at once. Peers are numbers from 0."""

    def __init__(self, seed: int, size: Size, rules: Rules = RULES) -> None:
        self.size, self.rules = size, rules
        self.chance = random.Random(f"world {seed}")
        self.peers = [make_peer(self.chance, size.days) for _ in range(size.peers)]
        self.viewers = self.chance.sample(range(size.peers), min(size.viewers, size.peers))
        self.bonds = [bond for owner in range(size.peers) for bond in self._choose(owner)]
        self.of: dict[tuple[int, int], Bond] = {(bond.owner, bond.host): bond for bond in self.bonds}
        for bond in self.bonds:
            self._live(bond)

    def words(self, day: int) -> Iterable[Word[int | str]]:
        """Yield the co-signed chains as they stand on a day: whole months, up to the last that has ended."""
        month = day // RECEIPT_DAYS - 1
        for bond in self.bonds:
            if 0 <= month < len(bond.words):
                days, gib = bond.words[month]
                if days:
                    yield Word(bond.owner, bond.host, days, gib)

    def hosts_of(self, owner: int) -> list[Bond]:
        """Return the bonds of an owner."""
        return [bond for bond in self.bonds if bond.owner == owner]

    def _choose(self, owner: int) -> list[Bond]:
        """Return bonds with 2 or 3 strangers: on the first day all hosts look alike."""
        others = [host for host in range(self.size.peers) if host != owner]
        hosts = self.chance.sample(others, min(len(others), self.chance.choice((2, 3))))
        wants = self.peers[owner].wants
        return [Bond(owner, host, make_relation(self.peers[host], wants, self.rules)) for host in hosts]

    def _live(self, bond: Bond) -> None:
        owner, host = self.peers[bond.owner], self.peers[bond.host]
        disk = Disk(host, self.chance)
        relation, chain = bond.relation, []
        for number in range(self.size.days):
            day = disk.spoil(number, meet(owner.up[number], host.up[number]))
            relation.live(number, day)
            evidence = relation.evidence(number)
            trust = score_host(evidence)
            bond.trusts.append(trust)
            if number % WEEK == WEEK - 1:
                bond.weeks.append(evidence)
            if bond.owner in self.viewers:
                bond.days.append(day)
            for mark in MARKS:
                if trust >= mark and mark not in bond.reached:
                    bond.reached[mark] = number
            if number % RECEIPT_DAYS == RECEIPT_DAYS - 1:
                # A loss that was owned up to and made good is what a co-signed note explains.
                chain.append(number - relation.heard_day < RECEIPT_DAYS)
                bond.words.append((chain_days(chain), relation.stored))


class Disk:
    """What happens to an honest host's disk, as one of its owners comes to know: it says so when they next meet."""

    def __init__(self, host: Peer, chance: random.Random) -> None:
        self._host, self._chance = host, chance
        self._is_dead = self._is_rotten = False
        self._mend_day: int | None = None

    def spoil(self, number: int, day: Day) -> Day:
        """Return the honest day with what the disk did to it."""
        self._is_dead |= number in self._host.crashes
        self._is_rotten |= number in self._host.rots
        if not day.answered:
            return day
        if self._is_dead:
            self._is_dead, self._mend_day = False, number + self._chance.randint(*MENDED_AFTER_DAYS)
            return replace(day, audited=False, fault=Fault.REPORTED_LOSS, lost=1.0)
        if self._mend_day is not None and number >= self._mend_day:
            self._mend_day = None
            return replace(day, is_mended=True)
        if self._is_rotten:
            self._is_rotten = False
            return replace(day, audited=False, fault=Fault.REPORTED_LOSS, lost=ROTTEN_SHARE, is_mended=True)
        return day


def make_relation(host: Peer, wants: float, rules: Rules = RULES) -> Relation:
    """Return a relation that begins, with what the host promises."""
    return Relation(promised=host.promised, wants=wants, rules=rules)


def meet(owner_up: int, host_up: int) -> Day:
    """Return an honest day: the owner tries once in each window that it is up in, and audits when the host answers."""
    answered = (owner_up & host_up).bit_count()
    return Day(owner_up.bit_count(), answered, answered > 0)
