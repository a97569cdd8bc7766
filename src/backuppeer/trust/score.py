"""How much a peer is believed as a host: T in 0..1, from evidence alone (DESIGN 8). Pure.

Knows: the formulas. Must not know: where evidence comes from, clocks, databases. One unit of evidence per peer and day:

    w     = 0.25 * clamp(log2(1 + GiB) / log2 11, 0.5, 1)
    alpha = sum w * spans * ok * 2^(-age / 90 d)    beta = sum w * kappa * bad * 2^(-age / 365 d)
    m     = (1 + a) / (3 + a + b)                   sd = sqrt(m (1 - m) / (4 + a + b))       (a = alpha, b = beta)
    S     = m - sd                                  T  = S * sqrt(observed / promised availability), then caps

m and sd are mean and deviation of a Beta(1 + a, 2 + b): without evidence S = 0.098, the honest prior "unproven". Taking
a deviation off means that little evidence counts for little. Faults fade four times slower than good days.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

DAY_WEIGHT: Final = 0.25
GOOD_HALF_LIFE_DAYS: Final = 90.0
BAD_HALF_LIFE_DAYS: Final = 365.0
SPANS_MOST: Final = 7
"""An audit shows today what was kept since the last one. So a machine that is off at weekends earns what one earns that
is always on; that it is off is told by its availability alone (ADR 58)."""
FRIEND_ALPHA: Final = 6.0
LOSS_SHARE: Final = 0.01
"""Verified loss up to this share of what a host keeps is what disks do (DESIGN 8)."""
_FULL_WEIGHT_BITS: Final = math.log2(11)
"""10 GiB in a day weigh in full."""


class Fault(Enum):
    """What a peer did wrong on a day; the value is kappa, its weight."""

    PROVEN_LOSS = 8.0
    REFUSED_ONLINE = 4.0
    REPORTED_LOSS = 2.0
    LATE = 1.0


class Level(Enum):
    """What people are shown instead of a number; "friend" is a mark beside it."""

    UNPROVEN = "unproven"
    NEW = "new"
    FAIR = "fair"
    TRUSTED = "trusted"


@dataclass(frozen=True, slots=True)
class DayEvidence:
    """One day with one peer. `age_days` ≥ 0; `gib`: verified bytes of the day in GiB; good when it has no fault.

    `spans` ≥ 1: the days that a good one speaks for, itself included; a fault speaks for its own alone.
    `kept_gib`, for people: what lay there, less than `gib` where the same was stored and audited. 0 = as `gib`.
    """

    age_days: float
    gib: float
    fault: Fault | None = None
    spans: int = 1
    kept_gib: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Availability:
    """Shares of time in 0..1: seen by us, and promised in the agreement. Promised 0 = nothing was promised."""

    observed: float = 1.0
    promised: float = 0.0


@dataclass(frozen=True, slots=True)
class Standing:
    """What caps the score whatever the evidence (DESIGN 8). `misbehaviour`: proven within the last 180 days.

    `reported_loss_share`: of what it keeps lost, where it said so itself; it caps as `verified_loss_share` does, but is
    no bar (ADR 94). `relapsed`: it failed in two spells within a year (`relapse`).
    """

    unresolved_loss: bool = False
    verified_loss_share: float = 0.0
    reported_loss_share: float = 0.0
    silent_beyond_grace: bool = False
    misbehaviour: bool = False
    blocked: bool = False
    relapsed: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a score is made of. `alpha`, `beta` ≥ 0: see `sum_days`."""

    alpha: float = 0.0
    beta: float = 0.0
    is_friend: bool = False
    availability: Availability = Availability()
    standing: Standing = Standing()


def weigh_day(gib: float) -> float:
    """Return w, the weight of a day on which `gib` GiB were verified: 0.125 to 0.25."""
    return DAY_WEIGHT * min(1.0, max(0.5, math.log2(1 + max(0.0, gib)) / _FULL_WEIGHT_BITS))


def sum_days(days: Iterable[DayEvidence]) -> tuple[float, float]:
    """Return (alpha, beta) of the days."""
    alpha, beta = 0.0, 0.0
    for day in days:
        weight, age = weigh_day(day.gib), max(0.0, day.age_days)
        if day.fault is None:
            alpha += weight * day.spans * 2 ** (-age / GOOD_HALF_LIFE_DAYS)
        else:
            beta += weight * day.fault.value * 2 ** (-age / BAD_HALF_LIFE_DAYS)
    return alpha, beta


def judge(alpha: float, beta: float, *, is_friend: bool = False) -> tuple[float, float]:
    """Return (m, sd) in 0..1; a friend whose safety words were compared gets alpha + 6."""
    good = max(0.0, alpha) + (FRIEND_ALPHA if is_friend else 0.0)
    bad = max(0.0, beta)
    mean = (1 + good) / (3 + good + bad)
    return mean, math.sqrt(mean * (1 - mean) / (4 + good + bad))


def score(alpha: float, beta: float, *, is_friend: bool = False) -> float:
    """Return S in 0..1: as `judge`, mean less deviation."""
    mean, deviation = judge(alpha, beta, is_friend=is_friend)
    return min(1.0, max(0.0, mean - deviation))


def score_host(evidence: Evidence) -> float:
    """Return T in 0..1: the score, lowered by missed availability, then capped."""
    trust = score(evidence.alpha, evidence.beta, is_friend=evidence.is_friend)
    trust *= math.sqrt(_kept_share(evidence.availability))
    return min([trust, *find_caps(evidence.standing)])


def find_caps(standing: Standing) -> list[float]:
    """Return the caps that apply, in the order of DESIGN 8; none is fine."""
    rules = (
        (standing.unresolved_loss, 0.50),
        (standing.relapsed, 0.45),
        (standing.verified_loss_share > LOSS_SHARE, 0.30),
        (standing.reported_loss_share > LOSS_SHARE, 0.30),
        (standing.silent_beyond_grace, 0.30),
        (standing.misbehaviour, 0.30),
        (standing.blocked, 0.0),
    )
    return [cap for applies, cap in rules if applies]


def round_down(trust: float) -> float:
    """Return a T with three digits, never above what it is: what is below a limit never reaches it."""
    # A cap of .30 stays that, however a float holds it.
    return math.floor(trust * 1000 + 1e-6) / 1000


def write_below(trust: float, limit: float) -> str:
    """Return a T with two digits; with three if it is below `limit` and two would say that it reaches it."""
    shown = f"{trust:.2f}"
    return f"{round_down(trust):.3f}" if trust < limit <= float(shown) else shown


def level(trust: float) -> Level:
    """Return the level of a T: unproven < .2 ≤ new < .5 ≤ fair < .8 ≤ trusted."""
    if trust < 0.2:
        return Level.UNPROVEN
    if trust < 0.5:
        return Level.NEW
    return Level.FAIR if trust < 0.8 else Level.TRUSTED


def _kept_share(availability: Availability) -> float:
    """Return observed/promised in 0..1: more than promised earns nothing."""
    if availability.promised <= 0:
        return 1.0
    return min(1.0, max(0.0, availability.observed) / availability.promised)
