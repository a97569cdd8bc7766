import asyncio

import pytest

from agent.loops import SetClock, VirtualClock, play
from backuppeer.agent.peers import retry as retry_module
from backuppeer.agent.peers.retry import Herald, retry
from backuppeer.errors import IncompatibleVersion, IntegrityFault, PeerUnreachable, RefusedError
from backuppeer.limits import HERALD_FIRST_S, HERALD_S, RETRY_BUDGET_S, RETRY_FIRST_S, RETRY_MOST_S


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


class Listener:
    """A herald with a clock set by hand, and what it said."""

    def __init__(self):
        self.clock, self.said = SetClock(), []
        self.herald = Herald(lambda state, text: self.said.append((state, text)), self.clock)

    def away(self, name, reason="no answer"):
        self.herald.waiting_for(name)(PeerUnreachable(reason), 1.0)

    def back(self, name):
        self.herald.waiting_for(name)(None, 0.0)


def test_many_steps_that_wait_for_one_peer_are_told_once_in_a_while_and_its_return_once():
    listener = Listener()
    for _ in range(4):
        listener.away("alice")
    listener.clock.ms += int(HERALD_S * 1000)
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
            [("waiting", "waiting for alice: no answer yet"), ("connected", "connected to alice again")],
        ),
    ],
)
def test_a_meeting_that_takes_longer_than_a_moment_is_told(lasts_s, told):
    async def meet():
        await asyncio.sleep(lasts_s)
        return "there"

    async def scenario():
        said = []
        herald = Herald(lambda state, text: said.append((state, text)), VirtualClock())
        assert await herald.meet("alice", meet()) == "there"
        await asyncio.sleep(HERALD_FIRST_S)
        assert said == told

    play(scenario())


def test_a_meeting_says_nothing_of_a_peer_that_is_waited_for_already():
    async def scenario():
        said = []
        herald = Herald(lambda state, text: said.append((state, text)), VirtualClock())
        herald.waiting_for("alice")(PeerUnreachable("away"), 1.0)
        await herald.meet("alice", asyncio.sleep(HERALD_FIRST_S + 1))
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
