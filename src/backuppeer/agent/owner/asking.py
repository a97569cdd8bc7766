"""How many requests to remove packs this agent made of its hosts, told from those of somebody else (ADR 31).

Knows: requests of all jobs of this agent, ended and under way. Must not know: what is asked, what is done about others.

A host numbers the requests that it kept. Between two looks at that number it may grow by what this agent asked: by no
less than what is known to be kept, by no more than what may be. Jobs run side by side (a prune beside a backup), so
the requests of all of them count.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import msgspec

from backuppeer.agent.peers.partners import Partner
from backuppeer.errors import DamagedStateError
from backuppeer.ids import AgreementId
from backuppeer.wire.messages import HeadIs

REMOVALS_UNKNOWN: Final = -1
"""In place of `HeadIs.removals` when a host could not say it: then nothing is known to compare with."""


class Request:
    """One request; `is_kept` is set when its answer tells. None: the host may have kept it."""

    is_kept: bool | None = None


class Mark(msgspec.Struct, frozen=True):
    """How far it was at a moment: requests that are kept, those that may be, those under way, for each agreement."""

    kept: Counter[AgreementId]
    maybe: Counter[AgreementId]
    under_way: Counter[AgreementId]


class OwnRequests:
    """The requests of one agent; used in its loop."""

    def __init__(self) -> None:
        self._kept: Counter[AgreementId] = Counter()
        self._maybe: Counter[AgreementId] = Counter()
        self._under_way: Counter[AgreementId] = Counter()

    @contextmanager
    def one(self, agreement: AgreementId) -> Iterator[Request]:
        """Count a request, sent and answered in the block; one that fails or is refused may be kept all the same.

        A host keeps a request before it does what it says: its disk may be full in between.
        """
        request = Request()
        self._under_way[agreement] += 1
        try:
            yield request
        finally:
            self._under_way[agreement] -= 1
            self._kept[agreement] += request.is_kept is True
            self._maybe[agreement] += request.is_kept is None

    def mark(self) -> Mark:
        """Return how far it is."""
        return Mark(self._kept.copy(), self._maybe.copy(), self._under_way.copy())

    def growth(self, agreement: AgreementId, before: Mark, after: Mark) -> range:
        """Return by what a host's number may have grown since it was looked at, between `before` and `after`."""
        kept, maybe = self._kept[agreement], self._maybe[agreement]
        # What was under way when the number was looked at may be in it already.
        least = kept - after.kept[agreement] - after.under_way[agreement]
        most = kept - before.kept[agreement] + maybe - before.maybe[agreement] + self._under_way[agreement]
        return range(max(0, least), most + 1)


class RemovalWatch:
    """Whether, in one job, others than this agent have hosts remove packs."""

    def __init__(self, asked: OwnRequests) -> None:
        self._asked = asked
        self._removals: dict[AgreementId, int] = {}
        self._looked = (asked.mark(), asked.mark())

    def note(self, held: Mapping[AgreementId, HeadIs], *, since: Mark) -> None:
        """Remember how many requests each host had kept before it told what it holds; `since`: from before that."""
        self._looked = since, self._asked.mark()
        known = ((agreement, head.removals) for agreement, head in held.items())
        self._removals = {agreement: removals for agreement, removals in known if removals != REMOVALS_UNKNOWN}

    def check(self, partner: Partner, removals: int) -> None:
        """Check that nobody else had packs removed since the host told what it holds: the head may name one of them.

        Raises:
            DamagedStateError: somebody did.

        """
        held = self._removals.get(partner.agreement)
        if held is not None and removals - held not in self._asked.growth(partner.agreement, *self._looked):
            # Nobody's fault at the host: the requests are signed with our key (ADR 31).
            raise DamagedStateError(
                f"another machine with your keys had {partner.name} remove packs while this was going on",
                hint="run it again: what is missing there is sent anew; and see which machine has a copy of this home",
            )
