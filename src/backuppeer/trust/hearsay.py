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
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

from backuppeer.trust.flow import VOUCH_MOST, Chart, Inflow, Pair, Path, make_chart, pair_capacity
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


class Heard(NamedTuple):
    """Evidence by way of others: alpha, beta ≥ 0, together at most what `flow` lets through.

    A tuple: thousands are made and compared whenever one receipt is new.
    """

    alpha: float = 0.0
    beta: float = 0.0


class _Against(NamedTuple, Generic[P]):
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
    return Reception(viewer, chart).heard


class Reception(Generic[P]):
    """What reaches a viewer over a chart, kept up with it: what `hear_over` finds, to the last bit."""

    def __init__(self, viewer: P, chart: Chart[Place[P]]) -> None:
        """Find it; chart: read again in `update`."""
        self._viewer = viewer
        self._inflow: Inflow[Place[P]] = Inflow(chart, viewer, closed=(_Against(viewer),))
        self.heard: dict[P, Heard] = {}
        """The evidence that reaches each host; who gets none is left out. To be read alone."""
        self._take(self._inflow.reached)

    def update(self, owners: Iterable[P]) -> set[P]:
        """Take in that what some owners say changed in the chart; return of which hosts something else is heard."""
        return self._take(self._inflow.update(owners))

    def trace(self, host: P) -> tuple[list[Path[P]], list[Path[P]]]:
        """Return the ways by which praise reaches a host, and those by which claims do; the widest first."""
        praise, claims = (self._inflow.trace(self._viewer, place) for place in (host, _Against(host)))
        return _in_names(praise), _in_names(claims)

    def _take(self, places: Iterable[Place[P]]) -> set[P]:
        reached = self._inflow.reached
        hosts = {place.host if isinstance(place, _Against) else place for place in places}
        for host in hosts:
            heard = Heard(reached.get(host, 0.0), reached.get(_Against(host), 0.0))
            if any(heard):
                self.heard[host] = heard
            else:
                self.heard.pop(host, None)
        return hosts


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
