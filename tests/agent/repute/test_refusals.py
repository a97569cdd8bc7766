"""What each refusal of a host weighs: the table of docs/trust.md, row by row, through what makes errors of messages."""

import asyncio
import re
from pathlib import Path

import pytest

from agent.loops import SetClock
from backuppeer.agent.home.state import State
from backuppeer.agent.owner.testimony import receive_answer
from backuppeer.agent.peers.channel import Channel
from backuppeer.agent.repute.standing import Standing
from backuppeer.clock import DAY_S
from backuppeer.errors import BackupPeerError
from backuppeer.ids import PeerId
from backuppeer.trust.availability import Windows
from backuppeer.trust.evidence import EvidenceLog, Kind
from backuppeer.wire.codes import RefusalCode
from backuppeer.wire.messages import HeadIs, Range, Refused, Stored, Unsupported

HOST = PeerId(bytes(31) + b"\x01")
UNKNOWN = 999
TABLE = re.findall(
    r"^\| (\d+ [^|]+|any other[^|]*) \| (\w+) \| (\w+) \| (\w+) \| (\w+) \|$",
    (Path(__file__).parents[3] / "docs" / "trust.md").read_text(),
    re.MULTILINE,
)
CODES = [int(row[0].split()[0]) if row[0][0].isdigit() else UNKNOWN for row in TABLE]


class Answering(Channel):
    """A channel upon which one message comes."""

    def __init__(self, message):
        self._message = message

    async def receive_any(self, **_):
        return self._message


def ask_to_take(message):
    return Answering(message).receive(Stored)


def ask_back(message):
    return Answering(message).receive(Range, is_read=True)


def ask_to_show(message):
    return receive_answer(Answering(message), HeadIs)


def challenge(message):
    return receive_answer(Answering(message), HeadIs, is_challenge=True)


ASKED = (ask_to_take, ask_back, ask_to_show, challenge)


@pytest.fixture
def standing(tmp_path):
    state, log, clock = State(tmp_path / "state.db"), EvidenceLog(tmp_path / "evidence.db"), SetClock()
    made = Standing(state, log, clock)
    made.pass_days = lambda days: setattr(clock, "ms", clock.ms + days * DAY_S * 1000)
    yield made
    state.close()
    log.close()


def refuse(standing, ask, message):
    with pytest.raises(BackupPeerError) as caught:
        asyncio.run(ask(message))
    standing.blame(HOST, caught.value)


def test_the_table_has_every_code_and_one_of_a_later_version():
    assert [*(code.value for code in RefusalCode), UNKNOWN] == CODES


@pytest.mark.parametrize("asked", range(len(ASKED)), ids=[ask.__name__ for ask in ASKED])
@pytest.mark.parametrize(("code", "row"), list(zip(CODES, TABLE, strict=True)), ids=[str(code) for code in CODES])
def test_a_refusal_weighs_what_the_table_says_and_caps_only_who_withholds(standing, code, row, asked):
    for days in (0, 30, 1, 1):
        standing.pass_days(days)
        refuse(standing, ASKED[asked], Refused(code=code))
    weighs = row[1 + asked] == "refused"
    assert {seen.kind for seen in standing.latest(HOST)} == {Kind.REFUSED if weighs else Kind.DECLINED}
    assert standing.has_failed(HOST) is weighs
    assert any("failed twice" in cap for cap in standing.caps(HOST)) is weighs
    assert standing.windows(HOST) == Windows(), "no window is down for it"


@pytest.mark.parametrize("ask", ASKED)
def test_a_version_that_does_not_know_a_request_withholds_nothing(standing, ask):
    refuse(standing, ask, Unsupported(type=1))
    assert [seen.kind for seen in standing.latest(HOST)] == [Kind.DECLINED]
    assert not standing.has_failed(HOST)
