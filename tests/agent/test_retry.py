import asyncio

import pytest

from agent.loops import VirtualClock, play
from backuppeer.agent import retry as retry_module
from backuppeer.agent.retry import retry
from backuppeer.errors import IntegrityFault, PeerUnreachable, RefusedError
from backuppeer.limits import RETRY_BUDGET_S, RETRY_FIRST_S, RETRY_MOST_S


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
        answer = await retry(step, VirtualClock(), waiting=lambda error, pause_s: told.append((error.message, pause_s)))
        assert answer == "there"
        assert [words for words, _ in told] == ["one", "two"]
        assert asyncio.get_running_loop().time() == pytest.approx(sum(pause for _, pause in told))

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
