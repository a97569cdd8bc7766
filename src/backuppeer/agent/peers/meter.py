"""How fast a session is just now, and how many packets it loses: the last minute, looked at now and then.

Knows: counters that only grow, and when each was looked at. Must not know: sessions, who asks. A look costs nothing, so
the heartbeat looks, and whoever shows sessions does.
"""

from collections import deque
from typing import Final, NamedTuple

from backuppeer.transport.base import PathInfo

_NOW_S: Final = 1.0
"""What happens "now" took at least this long: a rate of less jumps about."""
_WINDOW_S: Final = 60.0
_RECENT_S: Final = 12.0
"""The heartbeat looks every five seconds: what was looked at longer ago says nothing of now."""
_LEAST_PACKETS: Final = 500
"""Of fewer, those lost on purpose, which look for the largest packet that fits, make a bad line of a good one."""


class _Look(NamedTuple):
    time_s: float
    moved_bytes: int
    sent_packets: int
    lost_packets: int
    address: str


class Meter:
    """The looks at one session."""

    def __init__(self) -> None:
        self._looks: deque[_Look] = deque()

    def look(self, now_s: float, moved_bytes: int, path: PathInfo) -> None:
        """Note the counters; counts of another path begin anew, so those of the one before are dropped."""
        looks = self._looks
        if looks and looks[-1].address != path.address:
            rest = [look._replace(address=path.address, sent_packets=0, lost_packets=0) for look in looks]
            looks.clear()
            looks.extend(rest)
        looks.append(_Look(now_s, moved_bytes, path.sent_packets, path.lost_packets, path.address))
        while looks[0].time_s < now_s - _WINDOW_S:
            looks.popleft()

    @property
    def rate(self) -> int:
        """The bytes per second that travelled between the last look and the one before it that is a second older."""
        if not self._looks:
            return 0
        last = self._looks[-1]
        for look in reversed(self._looks):
            took_s = last.time_s - look.time_s
            if took_s >= _NOW_S:
                return int((last.moved_bytes - look.moved_bytes) / took_s) if took_s <= _RECENT_S else 0
        return 0

    @property
    def loss(self) -> float | None:
        """The share of packets sent within the window that were lost; None where too few were sent to say."""
        if not self._looks:
            return None
        first, last = self._looks[0], self._looks[-1]
        sent, lost = last.sent_packets - first.sent_packets, last.lost_packets - first.lost_packets
        return min(1.0, max(0, lost) / sent) if sent >= _LEAST_PACKETS else None
