import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from agent.loops import SetClock, VirtualClock, play
from backuppeer.agent.peers import retry as retry_module
from backuppeer.agent.peers.retry import Herald, retry
from backuppeer.errors import IncompatibleVersion, IntegrityFault, PeerUnreachable, RefusedError, StoreUnavailable
from backuppeer.limits import HERALD_FIRST_S, RETRY_BUDGET_S, RETRY_FIRST_S, RETRY_MOST_S


class Step:
    def __init__(self, *outcomes):
        self.outcomes, self.tries = list(outcomes), 0

    async def __call__(self):
        self.tries += 1
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def test_weather_is_retried_until_it_clears_and_the_person_is_told_each_time():
    async def scenario():
        told = []
        step = Step(PeerUnreachable("one"), PeerUnreachable("two"), "there")
        answer = await retry(step, VirtualClock(), waiting=lambda error, pause_s: told.append((str(error), pause_s)))
        assert answer == "there"
        assert [words for words, _ in told] == ["one", "two", "None"], "the last word is that it is over"
        assert asyncio.get_running_loop().time() == pytest.approx(sum(pause for _, pause in told))

    play(scenario())


def test_a_peer_of_a_version_that_can_not_be_talked_to_is_not_asked_again():
    async def scenario():
        step = Step(IncompatibleVersion("older"), "there")
        with pytest.raises(IncompatibleVersion):
            await retry(step, VirtualClock())
        assert step.tries == 1

    play(scenario())


def test_a_step_that_succeeds_at_once_is_never_spoken_of():
    async def scenario():
        told = []
        assert await retry(Step("there"), VirtualClock(), waiting=lambda *words: told.append(words)) == "there"
        assert told == []

    play(scenario())


@dataclass
class Peer:
    """Who is waited for. since_ms: when it was last seen, as for those who are away."""

    name: str
    since_ms: int = 0

    def absent_since_ms(self):
        return self.since_ms


class Listener:
    """A herald with a clock set by hand, and what it said."""

    def __init__(self):
        self.clock, self.said, self.pauses = SetClock(), [], []
        self.herald = Herald(self.hear, self.clock)

    def hear(self, state, text, retry_s):
        self.said.append((state, text))
        self.pauses.append(retry_s)

    def away(self, name, reason="no answer", *, pause_s=1.0, since_ms=0, error=PeerUnreachable):
        self.herald.waiting_for(Peer(name, since_ms))(error(reason), pause_s)

    def back(self, name):
        self.herald.waiting_for(Peer(name))(None, 0.0)


@pytest.mark.parametrize(
    ("ago_s", "told"),
    [(0, "alice is offline since 12:00"), (2 * 86400, "alice is offline since 2026-01-08 12:00")],
)
def test_who_is_away_is_said_to_be_offline_since_it_was_last_seen_and_when_it_is_tried_again(ago_s, told, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    listener = Listener()
    listener.clock.ms = int(datetime(2026, 1, 10, 12, 5, tzinfo=UTC).timestamp() * 1000)
    seen_ms = listener.clock.ms - 300_000 - ago_s * 1000
    listener.away("alice", "not where it was", pause_s=7.5, since_ms=seen_ms)
    assert listener.said == [("waiting", told)]
    assert listener.pauses == [7.5]


def test_who_is_here_or_says_why_not_is_quoted_and_not_said_to_be_offline():
    listener = Listener()
    listener.away("alice", "its disk is away", since_ms=1, error=StoreUnavailable)
    listener.away("bob", "reset the stream")
    assert [text for _, text in listener.said] == [
        "waiting for alice: its disk is away",
        "waiting for bob: reset the stream",
    ]


def test_the_next_try_is_told_of_once_the_one_before_was_and_not_sooner():
    listener = Listener()
    listener.away("alice", pause_s=10.0)
    listener.clock.ms += 9_000
    listener.away("alice", pause_s=4.0)
    listener.clock.ms += 1_000
    listener.away("alice", pause_s=5.0)
    assert listener.pauses == [10.0, 5.0]


def test_all_that_were_waited_for_can_be_given_up_at_once():
    listener = Listener()
    listener.herald.give_up()
    assert listener.said == []
    listener.away("alice")
    listener.away("bob")
    listener.herald.give_up()
    assert listener.said[2:] == [("waiting", "waiting for bob"), ("working", "going on without bob")]


def test_many_steps_that_wait_for_one_peer_are_told_once_in_a_while_and_its_return_once():
    listener = Listener()
    for _ in range(4):
        listener.away("alice")
    listener.clock.ms += int(HERALD_FIRST_S * 1000)
    listener.away("alice", "closed")
    for _ in range(4):
        listener.back("alice")
    assert listener.said == [
        ("waiting", "waiting for alice: no answer"),
        ("waiting", "waiting for alice: closed"),
        ("connected", "connected to alice again"),
    ]
    listener.away("alice")
    assert listener.said[-1][0] == "waiting", "gone again is told at once"


def test_while_another_peer_is_still_away_the_state_is_waiting():
    listener = Listener()
    listener.away("alice")
    listener.away("bob")
    listener.back("alice")
    assert listener.said[-1] == ("waiting", "waiting for bob")
    listener.herald.over("bob", is_back=False)
    assert listener.said[-1] == ("working", "going on without bob")
    listener.herald.over("carol", is_back=False)
    assert len(listener.said) == 4, "nothing is said of a peer that nobody waited for"


@pytest.mark.parametrize(
    ("lasts_s", "told"),
    [
        (HERALD_FIRST_S - 1, []),
        (
            HERALD_FIRST_S + 1,
            [("waiting", "alice does not answer yet"), ("connected", "connected to alice again")],
        ),
    ],
)
def test_a_meeting_that_takes_longer_than_a_moment_is_told(lasts_s, told):
    async def meet():
        await asyncio.sleep(lasts_s)
        return "there"

    async def scenario():
        said = []
        herald = Herald(lambda state, text, _: said.append((state, text)), VirtualClock())
        assert await herald.meet(Peer("alice"), meet()) == "there"
        await asyncio.sleep(HERALD_FIRST_S)
        assert said == told

    play(scenario())


def test_a_meeting_says_nothing_of_a_peer_that_is_waited_for_already():
    async def scenario():
        said = []
        herald = Herald(lambda state, text, _: said.append((state, text)), VirtualClock())
        herald.waiting_for(Peer("alice"))(PeerUnreachable("away"), 1.0)
        await herald.meet(Peer("alice"), asyncio.sleep(HERALD_FIRST_S + 1))
        assert said == [("waiting", "waiting for alice: away")], "that it is back is for the step to say"

    play(scenario())


@pytest.mark.parametrize("error", [RefusedError("no"), IntegrityFault("lie")])
def test_a_no_or_a_lie_is_not_tried_again(error):
    async def scenario():
        step = Step(error)
        with pytest.raises(type(error)):
            await retry(step, VirtualClock())
        assert step.tries == 1

    play(scenario())


@pytest.mark.parametrize("budget_s", [0.0, 1.0, 90.0])
def test_the_budget_is_never_overdrawn_and_the_last_error_comes_out(budget_s):
    async def scenario():
        pauses = []
        step = Step(PeerUnreachable("still gone"))
        with pytest.raises(PeerUnreachable, match="still gone"):
            await retry(step, VirtualClock(), waiting=lambda _, pause_s: pauses.append(pause_s), budget_s=budget_s)
        assert asyncio.get_running_loop().time() <= budget_s
        assert step.tries == len(pauses) + 1
        assert all(0 <= pause <= RETRY_MOST_S for pause in pauses)
        if budget_s == 90.0:
            assert step.tries >= 6, "the budget allows many tries"

    play(scenario())


def test_pauses_double_from_the_first_to_the_longest_within_the_budget(monkeypatch):
    monkeypatch.setattr(retry_module.random, "uniform", lambda _least, most: most)

    async def scenario():
        pauses = []
        step = Step(PeerUnreachable("gone"))
        with pytest.raises(PeerUnreachable):
            await retry(step, VirtualClock(), waiting=lambda _, pause_s: pauses.append(pause_s))
        doubling = [RETRY_FIRST_S * 2**n for n in range(5)]
        assert pauses[:6] == [*doubling, RETRY_MOST_S]
        assert RETRY_BUDGET_S - RETRY_MOST_S < sum(pauses) <= RETRY_BUDGET_S

    play(scenario())
