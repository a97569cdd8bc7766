"""What others say of hosts, made into evidence: praise that both signed, and claims that nobody proved. Pure.

Knows: words of owners on hosts, the flow that bounds them. Must not know: how receipts are signed, fetched or kept.

    a co-signed chain     carries alpha: all that its pair can carry by days and bytes (`flow.pair_capacity`)
    a one-sided receipt   carries a tenth of that: the other one never said so
    a vouch               carries 0.5: a person's word, without storage behind it
    a claim of a failure  carries beta, a tenth too: whoever claims shares what flows to it between praise and claims,
                          so nobody can claim more than it was told to be worth

A proof is no claim: it is checked by whoever gets it, and caps the score (`score.find_caps`).
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeAlias, TypeVar

from backuppeer.trust.flow import VOUCH_MOST, Chart, Pair, Path, make_chart, pair_capacity, spread_over, trace_over
from backuppeer.trust.score import Evidence

ONE_SIDED_SHARE: Final = 0.1
MONTH_DAYS: Final = 30

P = TypeVar("P", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Word(Generic[P]):
    """What an owner says of a host. days: that the chain of receipts spans; gib: kept at its end, in GiB.

    is_cosigned: the host signed it, too. is_claim: it says that the host failed; then it counts as one-sided.
    is_vouch: a person's word alone; days and gib say nothing.
    """

    owner: P
    host: P
    days: float
    gib: float
    is_cosigned: bool = True
    is_claim: bool = False
    is_vouch: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """Evidence by way of others: alpha, beta ≥ 0, together at most what `flow` lets through."""

    alpha: float = 0.0
    beta: float = 0.0


@dataclass(frozen=True, slots=True)
class _Against(Generic[P]):
    """Where claims about a host arrive: a dead end, so that a claim is passed on to nobody."""

    host: P


Place: TypeAlias = P | _Against[P]
"""A host, or the claims about it."""


def chart_words(words: Iterable[Word[P]]) -> Chart[Place[P]]:
    """Return what the words let through, for any viewer: see `hear_over`."""
    return make_chart(_weigh(word) for word in words if word.host != word.owner)


def hear(viewer: P, words: Iterable[Word[P]]) -> dict[P, Heard]:
    """Return the evidence that reaches each host; who gets none is left out."""
    return hear_over(viewer, chart_words(words))


def hear_over(viewer: P, chart: Chart[Place[P]]) -> dict[P, Heard]:
    """Return the same from a chart. Claims about the viewer take nothing from what is said of others."""
    found: dict[P, Heard] = {}
    for place, amount in spread_over(chart, viewer, closed=(_Against(viewer),)).items():
        if isinstance(place, _Against):
            before = found.get(place.host, Heard())
            found[place.host] = Heard(before.alpha, before.beta + amount)
        else:
            before = found.get(place, Heard())
            found[place] = Heard(before.alpha + amount, before.beta)
    return found


def trace(viewer: P, chart: Chart[Place[P]], host: P) -> tuple[list[Path[P]], list[Path[P]]]:
    """Return the ways by which praise reaches a host, and those by which claims do; the widest first."""
    closed = (_Against(viewer),)
    praise = trace_over(chart, viewer, host, closed=closed)
    claims = trace_over(chart, viewer, _Against(host), closed=closed)
    return _in_names(praise), _in_names(claims)


def _in_names(ways: Iterable[Path[Place[P]]]) -> list[Path[P]]:
    return [
        Path(tuple(place.host if isinstance(place, _Against) else place for place in way.peers), way.amount)
        for way in ways
    ]


def _weigh(word: Word[P]) -> Pair[Place[P]]:
    if word.is_vouch:
        return Pair(word.owner, word.host, VOUCH_MOST)
    capacity = pair_capacity(word.days, word.gib)
    if word.is_claim:
        return Pair(word.owner, _Against(word.host), capacity * ONE_SIDED_SHARE)
    return Pair(word.owner, word.host, capacity * (1.0 if word.is_cosigned else ONE_SIDED_SHARE))


def chain_days(months: Sequence[bool]) -> int:
    """Return how many days the unbroken end of a chain of monthly receipts spans.

    months: oldest first, True = there is a receipt, or a note that both signed explains why not. A gap breaks the
    chain: what was before it counts no more.
    """
    kept = 0
    for is_kept in months:
        kept = kept + 1 if is_kept else 0
    return kept * MONTH_DAYS


def add_hearsay(evidence: Evidence, heard: Heard) -> Evidence:
    """Return what was seen and what was heard together; caps come from what was seen or proven alone."""
    return replace(evidence, alpha=evidence.alpha + heard.alpha, beta=evidence.beta + heard.beta)
