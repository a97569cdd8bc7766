"""What one owner sees of one host, day by day, and what it thinks of it: the real trust code over simulated days.

Knows: `backuppeer.trust`, the audits' real rates. Must not know: why a host behaves as it does. Bytes are
arithmetic: what share of the packs was shown within 30 days follows in closed form from how many leaves the real plan
draws.
"""

from collections import deque
from dataclasses import dataclass, replace
from typing import Final

from backuppeer.limits import AUDIT_CYCLE_DAYS, GIB, PACK_TARGET_BYTES
from backuppeer.shares.sampling import count_uniform
from backuppeer.trust.conduct import Act, Conduct, Seen, add_told, find_bar, stand, sum_up
from backuppeer.trust.exposure import cap_bytes
from backuppeer.trust.hearsay import Heard, add_hearsay
from backuppeer.trust.relapse import has_relapsed
from backuppeer.trust.score import SPANS_MOST, Availability, DayEvidence, Evidence, Fault, Standing, score_host
from backuppeer.trust.tally import Tally, is_silent

_DAY_MS: Final = 86_400_000
_MONTH: Final = 30
_NOTHING: Final = Standing()


@dataclass(frozen=True, slots=True)
class Day:
    """What an owner met with on a day. tried, answered: contacts; audited: the host showed what it was asked for.

    fault: the worst; lost: the share of what it keeps found lost today, 0..1; is_mended: it was sent that again.
    """

    tried: int
    answered: int
    audited: bool
    fault: Fault | None = None
    lost: float = 0.0
    is_mended: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules that can be switched off, to show what each is for."""

    is_capped: bool = True
    weighs_covered: bool = True
    """A day weighs by the packs that audits drew from; else by the bytes read, as literally taken."""
    spans_most: int = SPANS_MOST
    """An audit speaks for so many days since the last one at most."""
    sees_relapses: bool = True
    follows_heirs: bool = True


RULES: Final = Rules()


class Relation:
    """An owner and a host. promised: share of time; wants: GiB that the owner would keep there."""

    __slots__ = (
        "_acts",
        "_answered",
        "_audit_day",
        "_contacts",
        "_faults",
        "_tried",
        "conduct",
        "heard_day",
        "lost_gib",
        "promised",
        "rules",
        "start",
        "stored",
        "tally",
        "verified",
        "wants",
    )

    def __init__(self, *, promised: float, wants: float, start: int = 0, rules: Rules = RULES) -> None:
        self.promised, self.wants, self.start, self.rules = promised, wants, start, rules
        self.stored = self.verified = self.lost_gib = 0.0
        self.tally, self.conduct = Tally(day=start), Conduct()
        self.heard_day = start
        self._audit_day = start - 1
        self._faults: list[tuple[int, Fault]] = []
        self._acts: list[Seen] = []
        self._contacts: deque[tuple[int, int]] = deque()
        self._tried = self._answered = 0

    def cap(self) -> float:
        """Return how many GiB may lie there today."""
        return self.lawful_cap() if self.rules.is_capped else self.wants

    def lawful_cap(self) -> float:
        """Return how many GiB the rule would let lie there, whether or not it is in force."""
        most = cap_bytes(int(self.verified * GIB))
        return self.wants if most is None else most / GIB

    def live(self, number: int, day: Day) -> None:
        """Let a day pass: contacts, audit, faults, then a backup that sends what may be sent."""
        self._count(day)
        if day.answered:
            self.heard_day = number
        self._audit(number, day)
        if day.answered and find_bar(self.standing(number)) is None:
            self.stored = max(self.stored, min(self.wants, self.cap()))

    def standing(self, number: int) -> Standing:
        """Return what caps the score."""
        silent = is_silent(number - self.heard_day)
        if not self._faults:
            return Standing(silent_beyond_grace=True) if silent else _NOTHING
        relapsed = self.rules.sees_relapses and has_relapsed(self._faults, today=number)
        known = stand(self.conduct, held_bytes=int(self.stored * GIB))
        return replace(known, silent_beyond_grace=silent, relapsed=relapsed)

    def evidence(self, number: int) -> Evidence:
        """Return all that the owner saw itself."""
        tally = self.tally.at(number)
        observed = self._answered / self._tried if self._tried else 1.0
        availability = Availability(observed=observed, promised=self.promised)
        return Evidence(tally.alpha, tally.beta, availability=availability, standing=self.standing(number))

    def trust(self, number: int, heard: Heard | None = None) -> float:
        """Return T as its owner computes it."""
        evidence = self.evidence(number)
        return score_host(add_hearsay(evidence, heard) if heard else evidence)

    def _count(self, day: Day) -> None:
        self._contacts.append((day.tried, day.answered))
        self._tried += day.tried
        self._answered += day.answered
        if len(self._contacts) > _MONTH:
            tried, answered = self._contacts.popleft()
            self._tried -= tried
            self._answered -= answered

    def _audit(self, number: int, day: Day) -> None:
        if day.fault is not None:
            self._audit_day = number
            self._faults.append((number, day.fault))
            self._weigh(number, day.fault)
            self._lose(number, day)
        elif day.audited and self.stored:
            self.verified += (self.stored - self.verified) * covered_share(self.stored)
            spans = min(self.rules.spans_most, number - self._audit_day)
            self._audit_day = number
            self._weigh(number, None, spans)
            if self.conduct.is_healed:
                self._note(Act.CLEARED, number)
        else:
            self.verified *= 1 - 1 / _MONTH
        if day.is_mended and self.conduct.failed_ms:
            # Who is not barred got some of it again by backups meanwhile.
            self.stored = max(self.stored, min(self.wants, self.stored + self.lost_gib))
            self.lost_gib = 0.0
            self._note(Act.HEALED, number)

    def _weigh(self, number: int, fault: Fault | None, spans: int = 1) -> None:
        gib = self.verified if self.rules.weighs_covered else 30 * 16 / 2**20
        self.tally = self.tally.add(DayEvidence(0, gib, fault, spans), day=number)

    def _lose(self, number: int, day: Day) -> None:
        lost = day.lost * self.stored
        self.stored -= lost
        self.verified *= 1 - day.lost
        self.lost_gib += lost
        if lost and day.fault is Fault.REPORTED_LOSS:
            self._note(Act.TOLD, number, add_told(self.conduct, int(lost * GIB)))
        elif lost:
            self._note(Act.LOST, number, int(self.lost_gib * GIB))

    def _note(self, act: Act, number: int, size_bytes: int = 0) -> None:
        self._acts.append(Seen(act, number * _DAY_MS, size_bytes))
        self.conduct = sum_up(self._acts, now_ms=number * _DAY_MS)


def covered_share(gib: float) -> float:
    """Return the share of packs not shown for a month that a day's audit of so many GiB covers: drawn and uniform."""
    packs = max(1.0, gib * GIB / PACK_TARGET_BYTES)
    uniform = count_uniform(int(gib * GIB)) / AUDIT_CYCLE_DAYS
    return float(1 - (1 - 1 / AUDIT_CYCLE_DAYS) * (1 - 1 / packs) ** uniform)
