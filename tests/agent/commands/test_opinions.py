"""`reputation --me`: every partner is asked at once, in real sessions; who does not answer is named."""

import asyncio
from types import SimpleNamespace

import pytest

from agent.loops import SetClock
from agent.parties import Party, running
from agent.viewers import Viewer
from backuppeer.agent.commands.opinions import OpinionCommands
from backuppeer.agent.home.state import State
from backuppeer.agent.peers.opinions import Opinions
from backuppeer.agent.repute.shelf import Shelf
from backuppeer.clock import format_time
from backuppeer.control.reputation import OpinionsRequest
from backuppeer.errors import NotFoundError, PeerUnreachable, UserError
from backuppeer.ids import AgreementId, PeerId, format_peer_id
from backuppeer.limits import GIB
from backuppeer.transport.memory import Network
from backuppeer.trust.evidence import Kind, Observation
from backuppeer.wire.receipts import AskOpinion

AWAY, SILENT = PeerId(b"a" * 32), PeerId(b"s" * 32)


class Judge(Viewer):
    """It says what it thinks, and why as `reputation explain` would."""

    def __init__(self, folder):
        super().__init__(folder)
        self.shelf = Shelf(folder / "receipts.db")
        self.opinions = Opinions(self.standing, self.shelf, self.clock)
        self.opinions.explain = lambda peer: [self.views.explaining.reason(peer)]

    async def serve(self, asker, channel):
        await channel.receive(AskOpinion)
        await self.opinions.answer(asker, channel)
        await channel.finish()
        await channel.wait_end()

    def close(self):
        super().close()
        self.shelf.close()


@pytest.fixture
def judge(tmp_path):
    made = Judge(tmp_path / "judge")
    yield made
    made.close()


@pytest.fixture
def state(tmp_path):
    opened = State(tmp_path / "state.db")
    yield opened
    opened.close()


def commands_of(state, find_session, owners=(), clock=None):
    parts = SimpleNamespace(state=state, clock=clock or SetClock(), reach=SimpleNamespace(session=find_session))
    host = SimpleNamespace(premises=SimpleNamespace(owners=lambda: set(owners)))
    return OpinionCommands(SimpleNamespace(parts=parts, host=host))


def test_partners_say_score_level_and_reason_and_those_that_do_not_are_named(judge, state, owner):
    async def scenario():
        network = Network()
        near, far = Party(network, 1), Party(network, 2, serve=judge.serve)
        judge.log.record(Observation(near.peer, Kind.AUDITED, judge.clock.now_ms(), 10 * GIB))
        state.put_agreement(AgreementId(b"1" * 16), far.peer, owner.propose(far.peer))

        async with running(near, far):

            async def find_session(peer):
                if peer == AWAY:
                    raise PeerUnreachable("it is away")
                if peer == SILENT:
                    await asyncio.Event().wait()
                return await near.dial(far)

            commands = commands_of(state, find_session, owners=[AWAY, SILENT, far.peer])
            return far.peer, await commands.ask_all(OpinionsRequest(wait_s=0.5), None)

    told, rows = asyncio.run(scenario())
    assert rows[0].peer_id == format_peer_id(told)
    assert (rows[0].error, rows[0].trust_level, rows[0].reasons) == ("", "unproven", ["kept 10.7 GB for 1 day"])
    assert 0.1 < rows[0].trust < 0.2
    errors = {row.peer_id: row.error for row in rows[1:]}
    assert errors == {format_peer_id(AWAY): "it is away", format_peer_id(SILENT): "no answer within 0.5 s"}


def test_who_asks_again_within_the_hour_is_shown_the_last_answer_with_its_time_also_by_the_next_agent(
    judge, state, owner
):
    async def scenario():
        network, clock = Network(), SetClock()
        near, far = Party(network, 1), Party(network, 2, serve=judge.serve)
        state.put_agreement(AgreementId(b"1" * 16), far.peer, owner.propose(far.peer))

        async with running(near, far):

            async def find_session(_):
                return await near.dial(far)

            told = []
            for passed_ms in (0, 60_000, 3_600_000):
                clock.ms += passed_ms
                judge.clock.ms = clock.ms
                commands = commands_of(state, find_session, clock=clock)
                told += await commands.ask_all(OpinionsRequest(wait_s=5), None)
            return told, clock.ms - 3_660_000

    (first, again, later), begun_ms = asyncio.run(scenario())
    assert (first.error, again.error, later.error) == ("", "", "")
    assert (first.told, again.told, later.told) == ("", format_time(begun_ms), "")
    assert (again.trust, again.trust_level, again.reasons) == (first.trust, first.trust_level, first.reasons)


def test_without_partners_there_is_no_opinion_and_a_wait_is_bounded(state):
    commands = commands_of(state, None)
    with pytest.raises(NotFoundError, match="nobody has an opinion"):
        asyncio.run(commands.ask_all(OpinionsRequest(), None))
    for wait_s in (0, -1, 10_000, float("nan")):
        with pytest.raises(UserError, match="--wait"):
            asyncio.run(commands.ask_all(OpinionsRequest(wait_s=wait_s), None))


def test_a_peer_that_is_blocked_is_not_told_that_it_blocked_anybody(judge):
    blocked = PeerId(b"b" * 32)
    judge.state.meet(blocked, judge.clock.now_ms())
    judge.state.blocks.put(blocked, "rude", judge.clock.now_ms())
    assert judge.opinions._form(blocked).reasons == ("it is blocked here",)
