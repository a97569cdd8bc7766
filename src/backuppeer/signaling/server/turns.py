"""Turns: whose bytes go next through the relay, so that no pair takes the place of others (ADR 77).

Knows: flows (one direction of a pair each), their queues, byte budgets. Must not know: frames, keys, sockets.

Theory of operation. Each flow has a short queue. One task goes round all flows that have something waiting and sends
RELAY_TURN_BYTES of each, so that a flow gets its share however many bytes others bring. A full queue holds its sender
up (its socket is read no further) while its budget lasts: then the next turn is milliseconds away. Once the budget is
used up, what finds the queue full is dropped: datagrams may be, and their sender slows down. The budget outlives the
connection, so coming back gains nothing.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Final

from backuppeer import limits
from backuppeer.clock import Clock

FlowKey = tuple[bytes, bytes]
"""(sender, receiver)."""
Send = Callable[[FlowKey, bytes], Awaitable[None]]
_SOONEST_S: Final = 0.001


class ByteBudget:
    """`most` bytes at once, then `per_s` a second; may be overdrawn by the last thing taken."""

    __slots__ = ("_clock", "_left", "_most", "_per_s", "_then_s")

    def __init__(self, most: float, per_s: float, *, clock: Clock) -> None:
        self._most, self._per_s, self._clock = most, per_s, clock
        self._left, self._then_s = most, clock.monotonic_s()

    def take(self, size_bytes: int) -> None:
        """Take bytes, on credit if need be."""
        self._fill()
        self._left -= size_bytes

    def wait_s(self) -> float:
        """Return in how many seconds the credit is paid back; 0: now."""
        self._fill()
        return max(0.0, -self._left / self._per_s)

    def _fill(self) -> None:
        now_s = self._clock.monotonic_s()
        self._left = min(self._most, self._left + (now_s - self._then_s) * self._per_s)
        self._then_s = now_s


class _Flow:
    __slots__ = ("budget", "is_due", "key", "room", "size_bytes", "waiting")

    def __init__(self, key: FlowKey, budget: ByteBudget) -> None:
        self.key, self.budget = key, budget
        self.waiting: deque[bytes] = deque()
        self.size_bytes = 0
        self.is_due = False
        self.room = asyncio.Event()


class Turns:
    """All flows of one relay. `run` must be running for anything to be sent."""

    def __init__(
        self,
        send: Send,
        clock: Clock,
        *,
        budget_bytes: float = limits.RELAY_BUDGET_BYTES,
        budget_per_s: float = limits.RELAY_BUDGET_BYTES_PER_S,
        total_per_s: float = limits.RELAY_BYTES_PER_S,
        queue_bytes: int = limits.RELAY_QUEUE_BYTES,
    ) -> None:
        self._send, self._clock = send, clock
        self._budget_bytes, self._budget_per_s, self._queue_bytes = budget_bytes, budget_per_s, queue_bytes
        self._total = ByteBudget(total_per_s / 10, total_per_s, clock=clock)
        self._budgets: OrderedDict[FlowKey, ByteBudget] = OrderedDict()
        self._flows: dict[FlowKey, _Flow] = {}
        self._round: deque[_Flow] = deque()
        self._work = asyncio.Event()

    async def put(self, key: FlowKey, frame: bytes) -> bool:
        """Queue a frame, waiting for room while the flow's budget lasts; False: it was dropped."""
        flow = self._flows.get(key) or self._begin(key)
        while flow.size_bytes >= self._queue_bytes:
            if flow.budget.wait_s() > 0:
                return False
            flow.room.clear()
            await flow.room.wait()
            if self._flows.get(key) is not flow:
                return False
        flow.waiting.append(frame)
        flow.size_bytes += len(frame)
        if not flow.is_due:
            flow.is_due = True
            self._round.append(flow)
            self._work.set()
        return True

    def forget(self, client: bytes) -> None:
        """Throw away what waits from or for a client that has gone; its budgets stay."""
        for key in [key for key in self._flows if client in key]:
            flow = self._flows.pop(key)
            flow.waiting.clear()
            flow.room.set()

    async def run(self) -> None:
        """Send, in turns, until cancelled."""
        while True:
            if not self._round:
                self._work.clear()
                await self._work.wait()
            soonest_s = await self._go_round()
            pause_s = max(self._total.wait_s(), soonest_s)
            # 0 lets the readers of all sockets run, which bring what the next round sends.
            await asyncio.sleep(max(pause_s, _SOONEST_S) if pause_s else 0)

    async def _go_round(self) -> float:
        """Give each waiting flow its turn; return 0, or in how many seconds the first of them has budget again."""
        soonest_s = float("inf")
        for _ in range(len(self._round)):
            flow = self._round.popleft()
            wait_s = flow.budget.wait_s()
            if wait_s <= 0:
                await self._take_turn(flow)
            soonest_s = min(soonest_s, wait_s)
            flow.is_due = bool(flow.waiting)
            if flow.is_due:
                self._round.append(flow)
        return soonest_s

    async def _take_turn(self, flow: _Flow) -> None:
        left = limits.RELAY_TURN_BYTES
        while flow.waiting and left > 0:
            frame = flow.waiting.popleft()
            flow.size_bytes -= len(frame)
            left -= len(frame)
            flow.budget.take(len(frame))
            self._total.take(len(frame))
            await self._send(flow.key, frame)
        flow.room.set()

    def _begin(self, key: FlowKey) -> _Flow:
        budget = self._budgets.pop(key, None) or ByteBudget(self._budget_bytes, self._budget_per_s, clock=self._clock)
        self._budgets[key] = budget
        while len(self._budgets) > limits.RELAY_BUDGETS:
            self._budgets.popitem(last=False)
        flow = self._flows[key] = _Flow(key, budget)
        return flow
