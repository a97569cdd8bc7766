"""Pace: how fast an inbox is heard, whatever its server sends.

Knows: time. Must not know: messages. A server that keeps to the protocol hands on INBOX_DEPOSITS at once and
INBOX_DEPOSITS_PER_S after. One that sends what it likes would have its reader open sealed messages all day: 3,000 a
second take a whole core.
"""

from backuppeer.limits import INBOX_HEARD, INBOX_HEARD_PER_S


class Pace:
    """INBOX_HEARD messages at once, then INBOX_HEARD_PER_S."""

    def __init__(self) -> None:
        self._left, self._then_s = float(INBOX_HEARD), float("-inf")

    def take(self, now_s: float) -> float:
        """Count a message that was heard; return how many seconds to wait before the next. now_s: monotonic."""
        grown = self._left + (now_s - self._then_s) * INBOX_HEARD_PER_S
        self._left, self._then_s = min(float(INBOX_HEARD), grown) - 1, now_s
        return max(0.0, -self._left / INBOX_HEARD_PER_S)
