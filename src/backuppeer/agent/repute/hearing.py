"""What others say of hosts, as this home hears it: receipts and vouches of the shelf, by way of its own pairs.

Knows: which words there are, and what of them reaches whom (`trust.hearsay`). Must not know: sessions, signatures. Its
own pairs come from its own ledger, never from a receipt. Who goes on as another is one with it (ADR 69), but for the
vouches of others: the words that they compared are of two ids. Read is what those say whom evidence reaches, when it is
first asked for, and once a day; between, what is new, and what follows from it. Each host costs a look into a table.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from backuppeer.agent.repute.shelf import Pair, Shelf
from backuppeer.clock import DAY_S, Clock
from backuppeer.ids import PeerId
from backuppeer.trust.flow import HOPS
from backuppeer.trust.hearsay import Heard, Place, Reception, Word, chart_words
from backuppeer.trust.lines import Lines
from backuppeer.trust.receipts import word_of, words_of

Words = Callable[[], Iterable[Word[PeerId]]]
"""What this home says of its own hosts and friends, now."""
_OWN_AGAIN_MS: Final = 60_000
"""A friend that was marked just now counts soon; own pairs are a sum over the ledger, so not each time."""
_ALL_AGAIN_MS: Final = DAY_S * 1000


class PathKind(StrEnum):
    """What the last of the peers on a path says of the host."""

    RECEIPT = "receipt"
    VOUCH = "vouch"
    ONE_SIDED = "one-sided"
    CLAIM = "claim"


@dataclass(frozen=True, slots=True)
class Path:
    """A way by which word of a host reaches this home.

    peers: from this home to the host, both included; 3 or 4. amount: of alpha, or of beta where `kind` is a claim.
    """

    peers: tuple[PeerId, ...]
    kind: PathKind
    amount: float


Charted = dict[Place[PeerId], dict[Place[PeerId], float]]


@dataclass(slots=True)
class _Sum:
    """What is known. chart: of all whose words were `read`; reception: what follows from it, but for the `stale`.

    made_ms: when it was begun; own_ms: when own words were read; successions: how many were followed then. stale: in
    whose row of the chart something is, or may be, another than in the reception.
    """

    made_ms: int
    successions: int
    chart: Charted
    reception: Reception[PeerId]
    read: set[PeerId] = field(default_factory=set)
    stale: set[PeerId] = field(default_factory=set)
    own: list[Word[PeerId]] = field(default_factory=list)
    own_ms: int | None = None


class Hearing:
    """What reaches the home of `viewer`. Thread-safe."""

    def __init__(self, shelf: Shelf, clock: Clock, viewer: PeerId) -> None:
        self._shelf, self._clock, self._viewer = shelf, clock, viewer
        self._lock = threading.Lock()
        self._sum: _Sum | None = None
        self.own_words: Words = tuple
        """Set by who has the ledger, and knows friends."""
        self.lines = Lines()
        """Who goes on as whom. Set by who has the log of evidence."""

    def heard(self, host: PeerId) -> Heard:
        """Return the evidence by way of others on a host."""
        with self._lock:
            return self._now().reception.heard.get(host, Heard())

    def paths(self, host: PeerId) -> list[Path]:
        """Return the ways by which that evidence comes, the widest first."""
        with self._lock:
            known = self._now()
            praise, claims = known.reception.trace(host)
            found = [Path(way.peers, self._kind_of(known, way.peers[-2], host), way.amount) for way in praise]
        found += [Path(way.peers, PathKind.CLAIM, way.amount) for way in claims]
        return sorted(found, key=lambda path: -path.amount)

    def sole_voucher(self, host: PeerId) -> PeerId | None:
        """Return the one peer by whose word alone a host is known; None: there are several, or none."""
        last = {path.peers[-2] for path in self.paths(host) if path.kind is not PathKind.CLAIM}
        return last.pop() if len(last) == 1 else None

    def touch(self) -> None:
        """Ask for own words anew when asked next: own pairs or friends are others than before."""
        with self._lock:
            if self._sum is not None:
                self._sum.own_ms = None

    def _now(self) -> _Sum:
        now_ms = self._clock.now_ms()
        known = self._sum
        is_old = known is not None and abs(now_ms - known.made_ms) > _ALL_AGAIN_MS
        if known is None or is_old or known.successions != len(self.lines):
            self._shelf.drain_changed()
            chart: Charted = {}
            reception = Reception(self._viewer, chart)
            self._sum = known = _Sum(now_ms, len(self.lines), chart, reception)
        newest = self.lines.newest
        changed = {(newest(owner), newest(host)) for owner, host in self._shelf.drain_changed()}
        for pair in changed:
            if pair[0] in known.read:
                known.stale.add(pair[0])
                self._read_pair(known, pair, now_ms)
        if known.own_ms is None or abs(now_ms - known.own_ms) > _OWN_AGAIN_MS:
            known.own = [self._rename(word) for word in self.own_words() if word.owner == self._viewer]
            known.stale.add(self._viewer)
            known.chart[self._viewer] = dict(chart_words(known.own).get(self._viewer, {}))
            known.own_ms = now_ms
        if known.stale:
            self._reach(known, now_ms)
            known.reception.update(known.stale)
            known.stale.clear()
        return known

    def _reach(self, known: _Sum, now_ms: int) -> None:
        """Read what those say whom evidence reaches soon enough to be passed on; what others say carries nothing."""
        level: set[PeerId] = {self._viewer}
        for _ in range(HOPS - 1):
            level = {PeerId(host) for owner in level for host in known.chart.get(owner, ()) if isinstance(host, bytes)}
            for owner in level - known.read - {self._viewer}:
                known.stale.add(owner)
                known.chart[owner] = dict(chart_words(self._words(owner, None, now_ms)).get(owner, {}))
                known.read.add(owner)

    def _read_pair(self, known: _Sum, pair: Pair, now_ms: int) -> None:
        owner, hosts = pair[0], known.chart.setdefault(pair[0], {})
        whatever = Word(*pair, days=1.0, gib=1.0)
        for place in chart_words([whatever, replace(whatever, is_claim=True)])[owner]:
            hosts.pop(place, None)
        hosts.update(chart_words(self._words(*pair, now_ms)).get(owner, {}))

    def _words(self, owner: PeerId, host: PeerId | None, now_ms: int) -> Iterator[Word[PeerId]]:
        # Of this home's own pairs nobody is asked but its ledger: it may have been lied to when it signed.
        for who in self.lines.of(owner) if owner != self._viewer else ():
            for whom in (None,) if host is None else self.lines.of(host):
                yield from map(self._rename, words_of(self._shelf.months(of=who, on=whom), now_ms))
            vouched = (word_of(vouch, now_ms) for vouch, _ in self._shelf.vouches(of=who, on=host))
            yield from (self._rename(word) for word in vouched if word is not None)

    def _rename(self, word: Word[PeerId]) -> Word[PeerId]:
        owner = self.lines.newest(word.owner)
        host = word.host if word.is_vouch else self.lines.newest(word.host)
        is_same = (owner, host) == (word.owner, word.host)
        return word if is_same else replace(word, owner=owner, host=host)

    def _kind_of(self, known: _Sum, owner: PeerId, host: PeerId) -> PathKind:
        words = known.own if owner == self._viewer else self._words(owner, host, known.made_ms)
        said = [word for word in words if word.host == host and not word.is_claim]
        if any(word.is_cosigned and not word.is_vouch for word in said):
            return PathKind.RECEIPT
        return PathKind.VOUCH if any(word.is_vouch for word in said) else PathKind.ONE_SIDED
