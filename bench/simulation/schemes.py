"""Other ways to score the same days, to be attacked beside ours: ablations. Pure.

Knows: days as an owner met with them. Must not know: the trust code. Each takes days in order and returns the score
after each; `pool` says what a newcomer thinks who asks everybody, as schemes without a bound on hearsay do.

    mean       the share of good days of all days with a rating
    storj      a beta distribution that forgets: a day's outcome is added, all before it is kept by 0.95; its mean
    earlier    0.3 connections + 0.2 latency + 0.3 challenges + 0.2 integrity, as the tool before this one weighed them
"""

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import Final

from simulation.relation import Day

FORGETTING: Final = 0.95
UNKNOWN: Final = 0.5


def score_mean(days: Iterable[Day]) -> list[float]:
    """Return the mean of ratings after each day."""
    good = rated = 0
    scores = []
    for day in days:
        rated += _is_rated(day)
        good += _is_rated(day) and day.fault is None
        scores.append(good / rated if rated else UNKNOWN)
    return scores


def score_storj(days: Iterable[Day]) -> list[float]:
    """Return alpha / (alpha + beta) after each day, from alpha = 1, beta = 0."""
    alpha, beta = 1.0, 0.0
    scores = []
    for day in days:
        if _is_rated(day):
            bad = float(day.fault is not None)
            alpha, beta = FORGETTING * alpha + 1 - bad, FORGETTING * beta + bad
        scores.append(alpha / (alpha + beta))
    return scores


def score_earlier(days: Iterable[Day]) -> list[float]:
    """Return the earlier tool's weighted sum after each day. Latency is taken for good: who answers is fast enough."""
    tried = answered = rated = good = 0
    kept = 1.0
    scores = []
    for day in days:
        tried, answered = tried + day.tried, answered + day.answered
        rated += _is_rated(day)
        good += _is_rated(day) and day.fault is None
        kept = 1.0 if day.is_mended else kept * (1 - day.lost)
        connection = answered / tried if tried else UNKNOWN
        scores.append(0.3 * connection + 0.2 + 0.3 * (good / rated if rated else UNKNOWN) + 0.2 * kept)
    return scores


SCHEMES: Final[dict[str, Callable[[Iterable[Day]], list[float]]]] = {
    "mean": score_mean,
    "storj": score_storj,
    "earlier": score_earlier,
}


def pool(scores: Sequence[float]) -> float:
    """Return what a newcomer thinks of a peer that so many others scored: their mean, whoever they are."""
    return fmean(scores) if scores else UNKNOWN


def _is_rated(day: Day) -> bool:
    return day.audited or day.fault is not None
