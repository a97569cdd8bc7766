"""A score taken apart, so that a reader can add it up by hand: every term, every cap, what would raise it. Pure.

Knows: the evidence of one peer, day by day, and the functions of `score` and `tally`. Must not know: where evidence
comes from, names, terminals. What would be is computed by the same functions on changed evidence: there is no second
formula here that could say something else than the score does.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum
from statistics import median_low
from typing import Final

from backuppeer.limits import GIB
from backuppeer.sizes import format_size
from backuppeer.trust.hearsay import Heard
from backuppeer.trust.score import (
    FRIEND_ALPHA,
    Availability,
    DayEvidence,
    Evidence,
    Fault,
    Standing,
    find_caps,
    judge,
    score,
    score_host,
    sum_days,
    weigh_day,
)
from backuppeer.trust.tally import Tally

STRETCH_DAYS: Final = 30
"""Good days are added up in stretches of so many: a year is thirteen lines, and each can be checked."""
AHEAD_DAYS: Final = 400
"""What takes longer to be reached than this is no advice."""
STEPS: Final = (0.2, 0.5, 0.6, 0.8)
"""Where something changes: levels, and what counts as a safe copy."""
_LOSS: Final = ("unresolved_loss", "verified_loss_share", "reported_loss_share")
"""Caps that end by the same act."""
_LATELY: Final = 7
"""Days of which the middle one says how much is kept: on some of them more, or only a little, was moved."""
FELT: Final = 0.005
"""What changes a score by less is not shown: it would print the same number."""


@dataclass(frozen=True, slots=True)
class Ground:
    """All that the score of one peer is made of, and of what that was made.

    days: one unit each, in ascending order of time; `evidence`: their sums with what was heard added to them.
    """

    days: tuple[DayEvidence, ...]
    heard: Heard
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Stretch:
    """Good days of one stretch. weight x spans x fade x days = alpha, each a mean over the days (spans: a day's).

    newest_days, oldest_days: how long ago the last and the first of them were.
    """

    newest_days: float
    oldest_days: float
    days: int
    weight: float
    spans: float
    fade: float
    alpha: float


@dataclass(frozen=True, slots=True)
class Failure:
    """A bad day: weight x fault's kappa x fade = beta; age_days: how long ago it was."""

    age_days: float
    fault: Fault
    weight: float
    fade: float
    beta: float


@dataclass(frozen=True, slots=True)
class Limit:
    """A cap in force. name: the field of `score.Standing` that it comes from; cap: T at most, 0..1."""

    name: str
    cap: float


@dataclass(frozen=True, slots=True)
class Parts:
    """The sum: alpha = own + heard, + friend in mean and deviation; S = mean - deviation; T = min(S x factor, caps).

    factor: the root of observed over promised availability, 1 where nothing was promised.
    """

    stretches: tuple[Stretch, ...]
    failures: tuple[Failure, ...]
    own_alpha: float
    own_beta: float
    friend_alpha: float
    heard: Heard
    mean: float
    deviation: float
    score: float
    availability: Availability
    factor: float
    uncapped: float
    limits: tuple[Limit, ...]
    trust: float


class Way(Enum):
    """What would raise a score."""

    LIFT = "lift"
    """A cap ends; `name` says which."""
    COMPARE = "compare"
    """The safety words are compared."""
    KEEP = "keep"
    """`days` more days of audits that find all well."""
    ANSWER = "answer"
    """It is there as often as it promised."""


@dataclass(frozen=True, slots=True)
class Raise:
    """One way up, and the T that it leads to. name: of LIFT, the cap; days: of KEEP."""

    way: Way
    trust: float
    name: str = ""
    days: int = 0


def take_apart(ground: Ground) -> Parts:
    """Return every term of the score of a peer."""
    evidence = ground.evidence
    alpha, beta = sum_days(ground.days)
    mean, deviation = judge(evidence.alpha, evidence.beta, is_friend=evidence.is_friend)
    bare = score(evidence.alpha, evidence.beta, is_friend=evidence.is_friend)
    uncapped = score_host(replace(evidence, standing=Standing()))
    return Parts(
        stretches=tuple(_gather(ground.days)),
        failures=tuple(_list_failures(ground.days)),
        own_alpha=alpha,
        own_beta=beta,
        friend_alpha=FRIEND_ALPHA if evidence.is_friend else 0.0,
        heard=ground.heard,
        mean=mean,
        deviation=deviation,
        score=bare,
        availability=evidence.availability,
        factor=uncapped / bare if bare else 1.0,
        uncapped=uncapped,
        limits=tuple(name_limits(evidence.standing)),
        trust=score_host(evidence),
    )


def name_limits(standing: Standing) -> list[Limit]:
    """Return the caps in force with the name of what each comes from, the lowest first."""
    limits = [
        Limit(field.name, cap)
        for field in fields(Standing)
        for cap in find_caps(replace(Standing(), **{field.name: getattr(standing, field.name)}))
    ]
    return sorted(limits, key=lambda limit: limit.cap)


def find_raises(ground: Ground) -> list[Raise]:
    """Return what would raise the score, and to what; what would not be seen is left out.

    Caps are lifted in turn, the lowest first: each is shown with the T that holds once it and those before it ended.
    The other ways are weighed as the peer stands now.
    """
    evidence, now = ground.evidence, score_host(ground.evidence)
    found: list[Raise] = []
    standing = evidence.standing
    for limit in name_limits(standing):
        ended = _LOSS if limit.name in _LOSS else (limit.name,)
        if not getattr(standing, limit.name):
            continue
        standing = replace(standing, **{name: type(getattr(standing, name))() for name in ended})
        lifted = score_host(replace(evidence, standing=standing))
        found.append(Raise(Way.LIFT, lifted, name=limit.name))
    if not evidence.is_friend:
        found.append(Raise(Way.COMPARE, score_host(replace(evidence, is_friend=True))))
    if evidence.availability.observed < evidence.availability.promised:
        kept = replace(evidence.availability, observed=evidence.availability.promised)
        found.append(Raise(Way.ANSWER, score_host(replace(evidence, availability=kept))))
    found += _look_ahead(ground)
    return [each for each in found if each.way is Way.LIFT or each.trust >= now + FELT]


def _look_ahead(ground: Ground) -> list[Raise]:
    """Return after how many good days, one after the other, each step above is reached; nothing beyond AHEAD_DAYS."""
    now = score_host(ground.evidence)
    own, gib = Tally(*sum_days(ground.days)), _last_gib(ground.days)
    steps = [step for step in STEPS if step > now]
    found: list[Raise] = []
    for day in range(1, AHEAD_DAYS + 1):
        own = own.add(DayEvidence(0.0, gib), day=day)
        # What others say is renewed as they go on storing there: as of today.
        ahead = replace(ground.evidence, alpha=own.alpha + ground.heard.alpha, beta=own.beta + ground.heard.beta)
        trust = score_host(ahead)
        reached = [step for step in steps if trust >= step]
        if reached:
            found.append(Raise(Way.KEEP, trust, days=day))
            steps = [step for step in steps if step not in reached]
        if not steps:
            break
    return found


def _last_gib(days: Sequence[DayEvidence]) -> float:
    return next((day.gib for day in reversed(days) if day.fault is None), 0.0)


def _gather(days: Iterable[DayEvidence]) -> list[Stretch]:
    """Return the good days in stretches, the newest first."""
    stretches: dict[int, list[DayEvidence]] = {}
    for day in days:
        if day.fault is None:
            stretches.setdefault(int(day.age_days // STRETCH_DAYS), []).append(day)
    return [_sum_stretch(stretches[number]) for number in sorted(stretches)]


def _sum_stretch(days: Sequence[DayEvidence]) -> Stretch:
    weight = sum(weigh_day(day.gib) for day in days)
    spanned = sum(weigh_day(day.gib) * day.spans for day in days)
    alpha, _ = sum_days(days)
    return Stretch(
        newest_days=min(day.age_days for day in days),
        oldest_days=max(day.age_days for day in days),
        days=len(days),
        weight=weight / len(days),
        spans=spanned / weight,
        fade=alpha / spanned,
        alpha=alpha,
    )


def _list_failures(days: Iterable[DayEvidence]) -> list[Failure]:
    """Return the bad days, the newest first."""
    found = []
    for day in days:
        if day.fault is not None:
            _, beta = sum_days([day])
            weight = weigh_day(day.gib)
            found.append(Failure(day.age_days, day.fault, weight, beta / (weight * day.fault.value), beta))
    return sorted(found, key=lambda failure: failure.age_days)


def say_reason(ground: Ground, *, caps: Sequence[str] = (), backers: int = 0) -> str:
    """Return the strongest reason of a score as a clause about the peer.

    caps: why it is capped (`conduct.describe_caps`), the heaviest first. backers: own peers that keep data there.
    """
    if caps:
        return caps[0]
    kept, friend = _say_kept(ground.days), "friend" if ground.evidence.is_friend else ""
    if kept or friend:
        return ", ".join(filter(None, (friend, kept)))
    if ground.heard.alpha > 0 and backers:
        return "one of your peers stores there" if backers == 1 else f"{backers} of your peers store there"
    if ground.heard.alpha > 0:
        return "known to you by what others say alone"
    return "nothing known" if not ground.heard.beta else "others say that it failed them"


def _say_kept(days: Sequence[DayEvidence]) -> str:
    good = [day for day in days if day.fault is None]
    failed = [day.age_days for day in days if day.fault is not None]
    said = []
    if good:
        span = round(good[0].age_days - good[-1].age_days) + 1
        gib = median_low(day.kept_gib or day.gib for day in good[-_LATELY:])
        said.append(f"kept {format_size(round(gib * GIB))} for {span} day{'' if span == 1 else 's'}")
    if failed:
        ago = round(min(failed))
        said.append("failed today" if not ago else f"failed {ago} day{'' if ago == 1 else 's'} ago")
    return ", ".join(said)


def find_end(holds: Callable[[int], bool], *, days: int = AHEAD_DAYS) -> int | None:
    """Return in how many days, from 1 on, what holds today holds no more if nothing happens; None: not by `days`.

    holds: asked for a number of days from now; what ended stays ended.
    """
    if holds(days):
        return None
    low, high = 0, days
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return high
