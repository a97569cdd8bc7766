"""Turns: whose bytes go next through the relay, so that nobody takes the place of others (ADR 77).

Knows: flows (one direction of a pair each), their senders, names of networks, queues, byte budgets. Must not know:
frames, addresses, sockets.

Theory of operation. Each flow has a short queue. One task goes round all networks that have something waiting and sends
RELAY_TURN_BYTES for each: of its next sender, and of that one's next flow. So a network, and in it a sender, gets its
share however many bytes, keys or receivers others bring. A flow holds at most as much as its sender has room left, of
twice RELAY_QUEUE_BYTES: who writes to many has a shorter queue for each, and there is room for one more. A full queue
holds its sender up (its socket is read no further) while its budget lasts: then the next turn is milliseconds away.
Once the budget is used up, what finds the queue full is dropped: datagrams may be, and their sender slows down. The
budget outlives the connection, so coming back gains nothing. By the same rule a network holds at most as much as there
is room left in all, of RELAY_WAITING_BYTES; what is more is dropped.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from backuppeer import limits
from backuppeer.clock import Clock

FlowKey = tuple[bytes, bytes]
"""(sender, receiver)."""
Send = Callable[[FlowKey, bytes], Awaitable[None]]
_SOONEST_S: Final = 0.001
_NEVER_S: Final = float("inf")
_LEAST_BYTES: Final = 1024
"""What a frame counts at least in a turn: a small one takes as long."""


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


class _Group:
    """What takes turns inside another, as long as something waits in it: senders in networks, networks in all."""

    __slots__ = ("due", "is_due", "members", "parent", "room", "size_bytes")

    def __init__(self, parent: "_Group | None") -> None:
        self.parent = parent
        self.due: deque[_Group | _Flow] = deque()
        self.is_due = False
        self.size_bytes = self.members = 0
        self.room = asyncio.Event()
        """Something of it was sent, or thrown away."""


class _Flow:
    __slots__ = ("budget", "is_due", "key", "parent", "size_bytes", "waiting")

    def __init__(self, key: FlowKey, budget: ByteBudget, sender: _Group) -> None:
        self.key, self.budget, self.parent = key, budget, sender
        self.waiting: deque[bytes] = deque()
        self.size_bytes = 0
        self.is_due = False


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
        self._budget_bytes, self._budget_per_s, self._sender_bytes = budget_bytes, budget_per_s, 2 * queue_bytes
        self._total = ByteBudget(total_per_s / 10, total_per_s, clock=clock)
        self._budgets: OrderedDict[FlowKey, ByteBudget] = OrderedDict()
        self._flows: dict[FlowKey, _Flow] = {}
        self._ends: dict[bytes, set[FlowKey]] = {}
        """The flows from and for each client."""
        self._all = _Group(None)
        self._networks: dict[str, _Group] = {}
        self._senders: dict[bytes, tuple[str, _Group]] = {}
        self._work = asyncio.Event()

    async def put(self, key: FlowKey, frame: bytes, network: str) -> bool:
        """Queue a frame, waiting for room while the flow's budget lasts; False: it was dropped.

        network: where the sender is connected from; it counts until `forget`.
        """
        flow = self._flows.get(key) or self._begin(key, network)
        sender = flow.parent
        while flow.size_bytes >= self._sender_bytes - sender.size_bytes:
            if flow.budget.wait_s() > 0:
                return False
            sender.room.clear()
            await sender.room.wait()
            if self._flows.get(key) is not flow:
                return False
        if sender.parent is not None and sender.parent.size_bytes >= limits.RELAY_WAITING_BYTES - self._all.size_bytes:
            return False
        flow.waiting.append(frame)
        _count(flow, len(frame))
        self._make_due(flow)
        return True

    def forget(self, client: bytes) -> None:
        """Throw away what waits from or for a client that has gone; its budgets stay."""
        for key in list(self._ends.get(client, ())):
            flow = self._drop(key)
            flow.waiting.clear()
            _count(flow, -flow.size_bytes)
            flow.parent.room.set()
        network, _ = self._senders.pop(client, ("", None))
        if network in self._networks:
            self._networks[network].members -= 1
            if not self._networks[network].members:
                del self._networks[network]

    async def run(self) -> None:
        """Send, in turns, until cancelled."""
        while True:
            self._work.clear()
            soonest_s = await self._go_round()
            if pause_s := self._total.wait_s():
                await asyncio.sleep(max(pause_s, _SOONEST_S))
            elif not soonest_s:
                await asyncio.sleep(0)  # lets the readers of all sockets run, which bring what the next round sends
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(soonest_s, _SOONEST_S) if self._all.due else None):
                        await self._work.wait()

    async def _go_round(self) -> float:
        """Give each network its turn; return 0, or in how many seconds the first flow has budget again."""
        waits_s = [await self._go_on(self._all) for _ in range(len(self._all.due))]
        return min(waits_s, default=_NEVER_S)

    async def _go_on(self, group: _Group) -> float:
        """Give the next one in a group its turn."""
        child = group.due.popleft()
        wait_s = await (self._take_turn(child) if isinstance(child, _Flow) else self._look_for_one(child))
        child.is_due = bool(child.waiting if isinstance(child, _Flow) else child.due)
        if child.is_due:
            group.due.append(child)
        return wait_s

    async def _look_for_one(self, group: _Group) -> float:
        """Let the first in a group that has budget send; return 0, or in how many seconds one will."""
        soonest_s = _NEVER_S
        for _ in range(len(group.due)):
            soonest_s = min(soonest_s, await self._go_on(group))
            if not soonest_s:
                break
        return soonest_s

    async def _take_turn(self, flow: _Flow) -> float:
        if not flow.waiting:
            return _NEVER_S  # it was forgotten
        if wait_s := flow.budget.wait_s():
            return wait_s
        left = limits.RELAY_TURN_BYTES
        while flow.waiting and left > 0:
            frame = flow.waiting.popleft()
            _count(flow, -len(frame))
            left -= max(len(frame), _LEAST_BYTES)
            flow.budget.take(len(frame))
            self._total.take(len(frame))
            await self._send(flow.key, frame)
        flow.parent.room.set()
        return 0.0

    def _make_due(self, flow: _Flow) -> None:
        node: _Flow | _Group = flow
        while not node.is_due and node.parent is not None:
            node.is_due = True
            node.parent.due.append(node)
            node = node.parent
        self._work.set()

    def _begin(self, key: FlowKey, network: str) -> _Flow:
        budget = self._budgets.pop(key, None) or ByteBudget(self._budget_bytes, self._budget_per_s, clock=self._clock)
        self._budgets[key] = budget
        while len(self._budgets) > limits.RELAY_BUDGETS:
            self._budgets.popitem(last=False)
        flow = self._flows[key] = _Flow(key, budget, self._group_of(key[0], network))
        for end in key:
            self._ends.setdefault(end, set()).add(key)
        return flow

    def _drop(self, key: FlowKey) -> _Flow:
        for end in set(key):
            self._ends[end].discard(key)
            if not self._ends[end]:
                del self._ends[end]
        return self._flows.pop(key)

    def _group_of(self, sender: bytes, network: str) -> _Group:
        """Return a sender's group, in that of the network from which it came first."""
        if sender not in self._senders:
            inside = self._networks.setdefault(network, _Group(self._all))
            inside.members += 1
            self._senders[sender] = network, _Group(inside)
        return self._senders[sender][1]


def _count(flow: _Flow, size_bytes: int) -> None:
    node: _Flow | _Group | None = flow
    while node is not None:
        node.size_bytes += size_bytes
        node = node.parent
