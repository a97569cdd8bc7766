"""How many requests to remove packs this agent made of its hosts, told from those of somebody else (ADR 31).

Knows: requests of all jobs of this agent, ended and under way. Must not know: what is asked, what is done about others.

A host numbers the requests that it kept. Between two looks at that number it may grow by what this agent asked: by no
less than what is known to be kept, by no more than what may be. Jobs run side by side (a prune beside a backup), so
the requests of all of them count.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from backuppeer.ids import AgreementId

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
