"""What a host's number of kept requests may be: a model knows which were kept, and when the host was looked at."""

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.agent.owner.asking import OwnRequests
from backuppeer.errors import PeerUnreachable, RefusedError
from backuppeer.ids import AgreementId

HERE, THERE = AgreementId(b"h" * 16), AgreementId(b"t" * 16)


def ask(own, is_kept, agreement=HERE):
    with own.one(agreement) as asked:
        asked.is_kept = is_kept


def test_without_anything_beside_it_growth_is_known_exactly():
    own = OwnRequests()
    ask(own, is_kept=True)
    mark = own.mark()
    assert own.growth(HERE, mark, mark) == range(1)
    ask(own, is_kept=True)
    ask(own, is_kept=False)
    ask(own, is_kept=True, agreement=THERE)
    assert own.growth(HERE, mark, mark) == range(1, 2)
    assert own.growth(THERE, mark, mark) == range(1, 2)


def test_an_answer_that_never_came_may_mean_either():
    own = OwnRequests()
    mark = own.mark()
    with pytest.raises(PeerUnreachable), own.one(HERE):
        raise PeerUnreachable("gone")
    assert own.growth(HERE, mark, mark) == range(2)
    with pytest.raises(RefusedError), own.one(HERE):
        raise RefusedError("its disk was full when it had kept the request")
    assert own.growth(HERE, mark, mark) == range(3)
    later = own.mark()
    assert own.growth(HERE, later, later) == range(1), "whoever looks after it knows what came of it"


@given(
    st.lists(st.sampled_from(["send", "arrive kept", "arrive not", "answer", "lose", "refuse"]), max_size=30), st.data()
)
def test_whatever_runs_beside_the_look_what_the_host_really_counted_is_within(steps, data):
    own, number = OwnRequests(), 0
    sent, arrived = [], []
    first, look, second = sorted(data.draw(st.integers(0, len(steps))) for _ in range(3))
    marks, seen = {}, 0
    for at in range(len(steps) + 1):
        for name, when in (("before", first), ("after", second)):
            if at == when:
                marks[name] = own.mark()
        seen = number if at == look else seen
        if at == len(steps):
            break
        step = steps[at]
        if step == "send":
            stack = ExitStack()
            sent.append((stack, stack.enter_context(own.one(HERE))))
        elif step.startswith("arrive") and sent:
            number += step == "arrive kept"
            arrived.append((*sent.pop(), step == "arrive kept"))
        elif step in {"answer", "lose"} and arrived:
            stack, request, is_kept = arrived.pop(0)
            request.is_kept = is_kept if step == "answer" else None
            stack.close()
        elif step == "refuse" and sent:
            stack, request = sent.pop()
            request.is_kept = False
            stack.close()
    assert number - seen in own.growth(HERE, marks["before"], marks["after"])
    for stack, *_ in (*sent, *arrived):
        stack.close()
