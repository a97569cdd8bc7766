"""Health of servers, as this home saw it: when each was reached last, and what was wrong with what it handed out.

Knows: counts, and how long something has been wrong. Must not know: sockets, listings' contents. Whose fault is which
(ADR 79): a row that its host did not sign is the server's; two listings of one number are their signer's, whoever hands
them out; an older listing than one that was seen may be a server that lags, keeps the newer back, or is shown the older
one by somebody: for a while that happens to an honest server, too.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from backuppeer import limits
from backuppeer.errors import DamagedStateError
from backuppeer.ids import PeerId


@dataclass(slots=True)
class Tally:
    """What one server handed out in one browse."""

    rows: int = 0
    forged: int = 0
    """Rows that the host they name did not sign."""
    unreadable: int = 0
    """Rows that are no listing, or of another time than ours."""
    outdated: set[PeerId] = field(default_factory=set)
    """Hosts of which a newer listing is known."""
    newest: set[PeerId] = field(default_factory=set)
    """Hosts of which it handed out the newest one that is known."""
    forked: set[PeerId] = field(default_factory=set)
    """Hosts that signed two listings of one number."""


class ServerHealth(msgspec.Struct, kw_only=True):
    """How one server does. Counts of rows are those of the last browse that it answered; times in ms, 0 = never."""

    url: str
    reached_ms: int = 0
    failures: int = 0
    """Times in a row that it could not be reached, or broke the protocol."""
    failed_ms: int = 0
    """When the first of these was."""
    error: str = ""
    """Of the last one."""
    rows: int = 0
    forged: int = 0
    unreadable: int = 0
    outdated: int = 0
    forked: int = 0
    lagging: dict[bytes, int] = {}
    """Hosts of which it hands out an older listing, and since when."""

    def is_lagging(self, now_ms: int) -> bool:
        """Tell whether it handed out an older listing for longer than an honest server may."""
        return any(now_ms - since_ms > limits.OUTDATED_GRACE_S * 1000 for since_ms in self.lagging.values())


_KEPT: Final = msgspec.msgpack.Decoder(list[ServerHealth])


class HealthBook:
    """The servers heard of, by address; those unused for longest are forgotten above `capacity`."""

    def __init__(self, kept: Iterable[ServerHealth] = (), *, capacity: int = limits.HEALTH_SERVERS) -> None:
        self._found = OrderedDict((health.url, health) for health in kept)
        self._capacity = capacity

    def get(self, url: str) -> ServerHealth:
        """Return how a server does; nothing is known of one that was never tried."""
        return self._found.get(url) or ServerHealth(url=url)

    def note(self, url: str, *, reached: bool, error: str, now_ms: int, is_lost: bool = False) -> None:
        """Note that a server was reached, or why it was not. is_lost: it was there until now."""
        health = self._take(url)
        if is_lost:
            health.reached_ms = now_ms
        if reached:
            health.reached_ms, health.failures, health.failed_ms, health.error = now_ms, 0, 0, ""
            return
        health.failed_ms = health.failed_ms if health.failures else now_ms
        health.failures, health.error = health.failures + 1, error

    def take(self, url: str, tally: Tally, *, now_ms: int) -> None:
        """Note what a server handed out in a browse."""
        health = self._take(url)
        health.rows, health.forged, health.unreadable = tally.rows, tally.forged, tally.unreadable
        health.outdated, health.forked = len(tally.outdated), len(tally.forked)
        # Not all rows are read each time, so who is not heard of stays, until no listing of then could live any more.
        oldest_ms = now_ms - limits.LISTING_NUMBER_KEPT_S * 1000
        kept = {
            peer: ms for peer, ms in health.lagging.items() if oldest_ms < ms <= now_ms and peer not in tally.newest
        }
        for peer in sorted(tally.outdated - tally.newest):
            if peer in kept or len(kept) < limits.LAGGING_PEERS:
                kept.setdefault(peer, now_ms)
        health.lagging = kept

    def export_bytes(self) -> bytes:
        """Return all of it, for `import_bytes`."""
        return msgspec.msgpack.encode(list(self._found.values()))

    @classmethod
    def import_bytes(cls, data: bytes) -> "HealthBook":
        """Return the book that `export_bytes` wrote.

        Raises:
            DamagedStateError: not what it wrote.

        """
        try:
            return cls(_KEPT.decode(data))
        except (msgspec.DecodeError, ValueError) as exc:
            raise DamagedStateError("what is known of the signaling servers can't be read") from exc

    def _take(self, url: str) -> ServerHealth:
        health = self._found.setdefault(url, ServerHealth(url=url))
        self._found.move_to_end(url)
        if len(self._found) > self._capacity:
            self._found.popitem(last=False)
        return health


def describe_faults(health: ServerHealth, now_ms: int) -> list[str]:
    """Return what a person should know of a server's rows, as clauses about it; empty: all is well."""
    faults = []
    if health.forged:
        faults.append(f"it hands out {_count(health.forged)} that the hosts they name did not sign; none was used")
    if health.unreadable:
        why = "its clock or this machine's is wrong, or its word is" if health.unreadable < health.rows else _ALL_WRONG
        faults.append(f"it hands out {_count(health.unreadable)} that are broken or of another time: {why}")
    if health.is_lagging(now_ms):
        faults.append(
            "again and again it hands out older offers than were seen before: it lags, keeps newer ones back, or is "
            "shown old ones by somebody; the newest are used"
        )
    if health.forked:
        hosts = "1 host" if health.forked == 1 else f"{health.forked} hosts"
        faults.append(f"it lists {hosts} that signed two offers under one number: that is their doing, not its")
    return faults


_ALL_WRONG: Final = "is this machine's clock right?"


def _count(rows: int) -> str:
    return "1 offer" if rows == 1 else f"{rows:,} offers"
