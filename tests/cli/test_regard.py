"""What the screens say of the other one before a yes: as `browse` says it, in one wording."""

import re

import msgspec
import pytest

from backuppeer.cli.requests import describe_request
from backuppeer.cli.screen import Screen
from cli.rows import CONNECTED, PENDING, PLAN, run
from cli.terminal import FakePipe
from control.dummy import given, telling

LIED = "it broke its signed word (proven on 2026-11-02), and gets no new data"
SILENT = "it has not answered for more than 7 days"


def planned(**changes):
    plan = msgspec.structs.replace(PLAN, **changes)
    return {"connect/plan": given(plan), "connect": telling([], CONNECTED)}


def words(text):
    return " ".join(re.sub("\x1b\\[[0-9;]*m", "", text).split())


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"reason": "nothing known"}, "trust 0.10 unproven: nothing known"),
        (
            {"trust": 0.83, "trust_level": "trusted", "reason": "friend, kept 12.9 GB for 90 days"},
            "trust 0.83 trusted: friend, kept 12.9 GB for 90 days",
        ),
        ({"reason": LIED, "capped": [LIED]}, f"trust 0.10 failed: {LIED}"),
    ],
)
def test_the_plan_of_connect_says_the_score_its_word_and_why(capsys, agent, terminal, changes, line):
    agent(planned(**changes))
    shown = terminal("n\n")
    run(capsys, "connect", "alice", "--storage", "10GB")
    said = words(shown.getvalue())
    assert line in said
    assert said.count(LIED) <= 1, "once is enough"


def test_every_further_thing_against_a_host_has_a_line_of_its_own(capsys, agent, terminal):
    agent(planned(reason=LIED, capped=[LIED, SILENT]))
    shown = terminal("n\n")
    run(capsys, "connect", "alice", "--storage", "10GB")
    assert f"capped {SILENT}" in words(shown.getvalue())


def test_who_asks_for_space_is_shown_with_score_reason_and_what_is_against_it(capsys, agent):
    asked = msgspec.structs.replace(PENDING, trust=0.3, trust_level="new", trust_reason=LIED, capped=[LIED, SILENT])
    pipe = FakePipe()
    said = words(" ".join(describe_request(Screen((pipe, pipe, pipe), json=False, yes=False), asked)))
    assert f"trust 0.30 new as a host: {LIED}" in said
    assert f"capped {SILENT}" in said
    agent({"requests": given([asked])})
    out = words(run(capsys, "requests")[1])
    assert f"trust 0.30 new as a host: {LIED}" in out


def test_a_reason_may_not_paint_the_terminal(capsys, agent, terminal):
    agent(planned(reason="\x1b[2Jfine", capped=["\x1b[2Jfine", "\x1b[31mgood"]))
    shown = terminal("n\n")
    run(capsys, "connect", "alice", "--storage", "10GB")
    assert "\x1b[2J" not in shown.getvalue()
    assert "\x1b[31m" not in shown.getvalue()
