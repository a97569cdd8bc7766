"""Postage: the work that a message into an inbox costs while a flood lasts; nothing when idle (ADR 83).

Knows: names of inboxes, how often messages come, monotonic time. Must not know: what messages say, whether an inbox is
there: the price must tell nobody. Only what was taken counts, so that nobody raises the price for nothing.
"""

import os
from collections import OrderedDict
from dataclasses import dataclass

from backuppeer import limits
from backuppeer.clock import Clock
from backuppeer.crypto.stamp import NO_WORK, message_context, solves
from backuppeer.errors import AuthenticationFault, Unavailable
from backuppeer.signaling.messages import CHALLENGE_BYTES, Deposit
from backuppeer.signaling.server.caps import Caps
from backuppeer.signaling.server.load import Tide


@dataclass(frozen=True, slots=True)
class Due:
    """What one socket was asked for, good for one message into one inbox."""

    inbox: bytes
    bits: int
    challenge: bytes


class Postage:
    """What messages cost at this process."""

    def __init__(self, caps: Caps, *, clock: Clock) -> None:
        self._caps, self._clock = caps, clock
        self._all = Tide(clock.monotonic_s())
        self._inboxes: OrderedDict[bytes, Tide] = OrderedDict()
        """The one written to longest ago first."""

    def collect(self, due: Due | None, request: Deposit, origin: str) -> Due | None:
        """Count a message that is free or paid for, and return None; else return what it owes.

        due: what the socket was asked for last. origin: as the client dialled us.

        Raises:
            AuthenticationFault: its work does not hold.
            Unavailable: it owes work, and comes from a program of before, which can't do any.

        """
        if due is not None and request.work not in {b"", NO_WORK}:
            context = message_context(due.challenge, request.inbox, origin)
            if request.inbox != due.inbox or not solves(request.work, context, due.bits):
                raise AuthenticationFault("the work for a message does not hold")
        elif bits := self._price(request.inbox):
            if not request.work:
                raise Unavailable("the program is too old to work for a message")
            return Due(request.inbox, bits, os.urandom(CHALLENGE_BYTES))
        self._note(request.inbox)
        return None

    def bits(self) -> int:
        """Return what a message into an inbox that had some lately costs at least."""
        per_s = self._caps.load_messages_per_s
        return self._all.bits(self._clock.monotonic_s(), per_s=per_s, base=0, most=limits.KNOCK_BITS_MOST)

    def _price(self, inbox: bytes) -> int:
        now_s, known = self._clock.monotonic_s(), self._inboxes.get(inbox)
        if known is None or known.last_s + limits.MESSAGE_FREE_S <= now_s:
            return 0
        per_s = self._caps.load_inbox_per_s
        return max(self.bits(), known.bits(now_s, per_s=per_s, base=0, most=limits.KNOCK_BITS_MOST))

    def _note(self, inbox: bytes) -> None:
        now_s = self._clock.monotonic_s()
        self._all.note(now_s)
        known = self._inboxes.pop(inbox, None) or Tide(now_s)
        known.note(now_s)
        self._inboxes[inbox] = known
        if len(self._inboxes) > limits.LOAD_INBOXES:
            self._inboxes.popitem(last=False)
