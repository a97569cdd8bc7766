"""Whose bytes go next: shares, budgets, what is dropped, with a clock that the test turns."""

import asyncio
from collections import Counter

import pytest

from backuppeer import limits
from backuppeer.clock import SystemClock
from backuppeer.signaling.server.relay.turns import ByteBudget, Turns
from signaling.kit import TurnedClock, run, until

KIB = 1024
FRAME = bytes(16 * KIB)
NETWORK = "one"


class Line:
    """What was sent, in order; each frame takes a turn of the loop."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, bytes]] = []

    async def send(self, key, _frame):
        self.sent.append(key)
        await asyncio.sleep(0)


async def flood(turns, key, frames, network=NETWORK):
    for _ in range(frames):
        await turns.put(key, FRAME, network)


def flow(number):
    return bytes([number]) * 32, bytes([number + 100]) * 32


def test_a_pair_with_little_to_send_gets_its_share_beside_pairs_that_flood():
    async def scene():
        line = Line()
        turns = Turns(line.send, SystemClock())
        running = asyncio.ensure_future(turns.run())
        floods = [asyncio.ensure_future(flood(turns, flow(number), 400)) for number in range(7)]
        await until(lambda: len(line.sent) >= 200)
        before = len(line.sent)
        await flood(turns, flow(9), 4)
        await until(lambda: flow(9) in line.sent)
        # One turn of everybody else, and what was being sent.
        assert len(line.sent) - before <= 2 * 8 * limits.RELAY_TURN_BYTES // len(FRAME)
        await asyncio.gather(*floods)
        counts = Counter(line.sent[100:2000])
        shares = [counts[flow(number)] for number in range(7)]
        assert max(shares) <= 1.2 * min(shares)
        running.cancel()

    run(scene())


def test_many_keys_and_receivers_of_one_network_take_no_more_turns_than_one_pair_of_another():
    async def scene():
        line = Line()
        turns = Turns(line.send, SystemClock())
        running = asyncio.ensure_future(turns.run())
        crowd = [(bytes([sender]) * 32, bytes([to]) * 32) for sender in range(20) for to in range(30, 40)]
        floods = [asyncio.ensure_future(flood(turns, key, 10_000)) for key in crowd]
        await until(lambda: len(line.sent) >= 200)
        honest = asyncio.ensure_future(flood(turns, flow(99), 10_000, "another"))
        del line.sent[:]
        await until(lambda: len(line.sent) >= 1000)
        assert line.sent.count(flow(99)) >= 450
        for each in [running, honest, *floods]:
            each.cancel()

    run(scene())


def test_a_key_that_writes_to_many_takes_no_more_turns_than_one_of_its_network_that_writes_to_one():
    async def scene():
        line = Line()
        turns = Turns(line.send, SystemClock())
        running = asyncio.ensure_future(turns.run())
        floods = [asyncio.ensure_future(flood(turns, (bytes(32), bytes([to]) * 32), 10_000)) for to in range(30, 60)]
        await until(lambda: len(line.sent) >= 200)
        honest = asyncio.ensure_future(flood(turns, flow(99), 10_000))
        del line.sent[:]
        await until(lambda: len(line.sent) >= 1000)
        assert line.sent.count(flow(99)) >= 450
        for each in [running, honest, *floods]:
            each.cancel()

    run(scene())


def test_what_waits_is_bounded_for_a_sender_a_network_and_in_all(monkeypatch):
    monkeypatch.setattr(limits, "RELAY_WAITING_BYTES", 4 * limits.RELAY_QUEUE_BYTES)

    async def scene():
        line = Line()
        turns = Turns(line.send, TurnedClock())
        own = [asyncio.ensure_future(flood(turns, (bytes(32), bytes([to]) * 32), 100)) for to in range(30, 60)]
        for _ in range(200):
            await asyncio.sleep(0)
        assert turns._senders[bytes(32)][1].size_bytes <= 2 * limits.RELAY_QUEUE_BYTES + len(FRAME)
        crowd = [asyncio.ensure_future(flood(turns, flow(number), 100)) for number in range(1, 40)]
        await until(lambda: all(each.done() for each in crowd[20:]))  # dropped, as their network has its part
        assert turns._networks[NETWORK].size_bytes <= 2 * limits.RELAY_QUEUE_BYTES + len(FRAME)
        for name in "abcdefgh":
            assert await turns.put(flow(40 + ord(name)), FRAME, name)  # each further network finds room
        assert turns._all.size_bytes <= limits.RELAY_WAITING_BYTES
        for each in [*own, *crowd]:
            each.cancel()

    run(scene())


def test_a_turn_of_small_frames_is_as_short_as_one_of_large_ones():
    async def scene():
        line = Line()
        turns = Turns(line.send, SystemClock())
        for _ in range(1000):
            await turns.put(flow(1), b"x", NETWORK)
        await turns._go_round()
        assert len(line.sent) == limits.RELAY_TURN_BYTES // KIB

    run(scene())


def test_a_sender_that_left_is_counted_no_more():
    async def scene():
        turns = Turns(Line().send, TurnedClock())
        await turns.put(flow(1), FRAME, NETWORK)
        turns.forget(flow(1)[0])
        assert (turns._all.size_bytes, turns._networks, turns._senders) == (0, {}, {})
        await turns.put(flow(1), FRAME, "another")
        assert list(turns._networks) == ["another"]

    run(scene())


def test_a_pair_within_its_budget_is_held_up_and_loses_nothing():
    async def scene():
        line = Line()
        turns = Turns(line.send, SystemClock(), queue_bytes=2 * len(FRAME))
        running = asyncio.ensure_future(turns.run())
        await flood(turns, flow(1), 100)
        await until(lambda: len(line.sent) >= 100)
        running.cancel()

    run(scene())


def test_a_pair_that_used_its_budget_up_goes_on_slowly_and_loses_what_is_more():
    async def scene():
        line, clock = Line(), TurnedClock()
        turns = Turns(line.send, clock, budget_bytes=len(FRAME), budget_per_s=len(FRAME), queue_bytes=len(FRAME))
        assert await turns.put(flow(1), FRAME, NETWORK)
        assert await turns._go_round() == 0
        assert await turns.put(flow(1), FRAME, NETWORK)
        assert await turns._go_round() == 0
        assert await turns.put(flow(1), FRAME, NETWORK)
        assert not await turns.put(flow(1), FRAME, NETWORK)
        assert await turns._go_round() == pytest.approx(1.0)
        assert len(line.sent) == 2
        clock.turn(2)
        assert await turns._go_round() == 0
        assert len(line.sent) == 3

    run(scene())


def test_who_comes_back_finds_its_budget_as_it_left_it():
    async def scene():
        line, clock = Line(), TurnedClock()
        turns = Turns(line.send, clock, budget_bytes=0, budget_per_s=len(FRAME), queue_bytes=len(FRAME))
        await turns.put(flow(1), FRAME, NETWORK)
        await turns._go_round()
        turns.forget(flow(1)[0])
        await turns.put(flow(1), FRAME, NETWORK)
        assert await turns._go_round() == pytest.approx(1.0)

    run(scene())


def test_budgets_of_pairs_that_sent_nothing_for_longest_are_forgotten_first(monkeypatch):
    monkeypatch.setattr(limits, "RELAY_BUDGETS", 2)

    async def scene():
        turns = Turns(Line().send, TurnedClock())
        for number in range(4):
            await turns.put(flow(number), FRAME, NETWORK)
        assert list(turns._budgets) == [flow(2), flow(3)]

    run(scene())


def test_what_waits_for_one_that_left_is_thrown_away_and_its_sender_goes_on():
    async def scene():
        line = Line()
        turns = Turns(line.send, SystemClock(), queue_bytes=len(FRAME))
        await turns.put(flow(1), FRAME, NETWORK)
        waiting = asyncio.ensure_future(turns.put(flow(1), FRAME, NETWORK))
        await asyncio.sleep(0)
        assert not waiting.done()
        turns.forget(flow(1)[1])
        assert await waiting is False
        await turns._go_round()
        assert line.sent == []

    run(scene())


def test_who_leaves_is_forgotten_without_a_look_at_the_pairs_of_all_others():
    class Pairs(dict):
        """To walk through all takes 100 ms where there are as many as there may be."""

        def __iter__(self):
            raise AssertionError("all pairs were looked at")

    async def scene():
        turns = Turns(Line().send, TurnedClock())
        one, two, three = flow(1)[0], flow(2)[0], flow(3)[0]
        for key in ((one, two), (two, one), (one, three), (three, two)):
            await turns.put(key, FRAME, NETWORK)
        turns._flows = Pairs(turns._flows)
        turns.forget(one)
        turns.forget(one)
        assert list(turns._flows.keys()) == [(three, two)]
        turns.forget(two)
        turns.forget(three)
        assert (len(turns._flows), turns._ends, turns._all.size_bytes) == (0, {}, 0)

    run(scene())


def test_all_pairs_together_keep_to_what_the_operator_allows():
    async def scene():
        line, clock = Line(), SystemClock()
        turns = Turns(line.send, clock, total_per_s=1600 * KIB, queue_bytes=1 << 30)
        running = asyncio.ensure_future(turns.run())
        began_s = clock.monotonic_s()
        await flood(turns, flow(1), 20)
        await until(lambda: len(line.sent) >= 20)
        # 320 KiB, of which 160 KiB and the turn that overdraws them come at once.
        assert clock.monotonic_s() - began_s >= (320 - 160 - 64) / 1600
        running.cancel()

    run(scene())


def test_a_budget_is_paid_back_with_time_and_never_more_than_full():
    clock = TurnedClock()
    budget = ByteBudget(100, 10, clock=clock)
    budget.take(150)
    assert budget.wait_s() == pytest.approx(5)
    clock.turn(1000)
    budget.take(100)
    assert budget.wait_s() == 0
    budget.take(10)
    assert budget.wait_s() == pytest.approx(1)
