"""Which of several hosts has a pack here soonest, told from what each delivered lately (issue "3 of 6", item 6).

Knows: bytes under way and delivered, for each agreement; time. Must not know: packs, why a host failed.

A host's rate is what came from it, in all its answers together, over the time in which something was under way there;
older answers count less. What it takes for one more pack is what waits there already and that pack, at this rate: so
two equal hosts share the work, and a slow one gets little. One that was never or long not asked comes first: nobody
knows otherwise whether it has become fast.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from backuppeer.clock import Clock
from backuppeer.errors import PeerUnreachable
from backuppeer.ids import AgreementId
from backuppeer.limits import PACE_AGAIN_S, PACE_KEEP, PACE_LEAST_S


class SlowError(PeerUnreachable):
    """A host takes much longer than another would: no fault of its own, and nothing to write down."""


class SilentError(PeerUnreachable):
    """A host says nothing while another that has the same answers: left for that one, and nothing to write down."""


@dataclass(slots=True)
class _Record:
    under_way: int = 0
    under_way_bytes: int = 0
    since_s: float = 0.0
    """Since when something was under way, or the last answer came."""
    asked_s: float | None = None
    """When it was asked last; None: never, or it failed since."""
    got_bytes: float = 0.0
    took_s: float = 0.0
    delivered_bytes: int = 0
    """All of them, for good."""


class Pacer:
    """Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: dict[AgreementId, _Record] = {}
        self._lock = threading.Lock()

    def wait_s(self, agreement: AgreementId, size_bytes: int) -> float:
        """Return how long `size_bytes` more from a host would take; 0 for one of which nothing is known."""
        with self._lock:
            record = self._records.get(agreement)
            if record is None or record.asked_s is None or not record.took_s:
                # While the first answer is under way nothing is known either; but others may be asked meanwhile.
                return float(record.under_way) if record else 0.0
            if not record.under_way and self._clock.monotonic_s() - record.asked_s > PACE_AGAIN_S:
                return 0.0
            return (record.under_way_bytes + size_bytes) * record.took_s / max(1.0, record.got_bytes)

    def delivered_bytes(self, agreement: AgreementId) -> int:
        """Return what a host delivered so far."""
        with self._lock:
            record = self._records.get(agreement)
            return record.delivered_bytes if record else 0

    @contextmanager
    def request(self, agreement: AgreementId, size_bytes: int) -> Iterator[None]:
        """Count a request that is made in the block, and how long it takes; one that raises says nothing good."""
        self._begin(agreement, size_bytes)
        with ExitStack() as failed:
            failed.callback(self._fail, agreement, size_bytes)
            try:
                yield
            except SlowError:
                failed.pop_all()
                # Asked again only when nobody else is as fast, or after a while.
                self._end(agreement, size_bytes, got_bytes=0)
                raise
            failed.pop_all()
        self._end(agreement, size_bytes, got_bytes=size_bytes)

    def _begin(self, agreement: AgreementId, size_bytes: int) -> None:
        with self._lock:
            record, now_s = self._records.setdefault(agreement, _Record()), self._clock.monotonic_s()
            if not record.under_way:
                record.since_s = now_s
            record.under_way += 1
            record.under_way_bytes += size_bytes
            record.asked_s = now_s

    def _end(self, agreement: AgreementId, size_bytes: int, *, got_bytes: int) -> None:
        with self._lock:
            record, now_s = self._let_go(agreement, size_bytes), self._clock.monotonic_s()
            record.delivered_bytes += got_bytes
            record.got_bytes = record.got_bytes * PACE_KEEP + got_bytes
            record.took_s = record.took_s * PACE_KEEP + max(PACE_LEAST_S, now_s - record.since_s)
            record.since_s = now_s

    def _fail(self, agreement: AgreementId, size_bytes: int) -> None:
        with self._lock:
            record = self._let_go(agreement, size_bytes)
            record.got_bytes = record.took_s = 0.0
            record.asked_s = None

    def _let_go(self, agreement: AgreementId, size_bytes: int) -> _Record:
        record = self._records[agreement]
        record.under_way -= 1
        record.under_way_bytes -= size_bytes
        return record
