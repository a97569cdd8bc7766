"""What is due when: names in lists by the second, so that a sweep looks at nothing else.

Knows: names, seconds. Must not know: what becomes due. A name is never taken back: whoever pops it looks whether it
still is due, and what was put off stands in a later second as well. 8 bytes each, where a heap would take 100.
"""

import heapq
import math
from collections.abc import Iterator


class Timetable:
    """Names, by the second from which on they are due."""

    def __init__(self) -> None:
        self._names: dict[int, list[bytes]] = {}
        self._seconds: list[int] = []
        """A heap of the keys above."""

    def add(self, name: bytes, at_s: float) -> None:
        """Note a name; `math.inf` is never."""
        if at_s == math.inf:
            return
        second = math.ceil(at_s)
        if second not in self._names:
            self._names[second] = []
            heapq.heappush(self._seconds, second)
        self._names[second].append(name)

    def pop(self, now_s: float) -> Iterator[bytes]:
        """Yield what is due now, each as often as it was noted, and forget it."""
        while self._seconds and self._seconds[0] <= now_s:
            yield from self._names.pop(heapq.heappop(self._seconds))
