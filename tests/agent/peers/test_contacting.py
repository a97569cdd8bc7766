"""Contacts are written down as they end: who dialled, over what, how much, and why it was over."""

import asyncio

import pytest

from agent.loops import START_MS, VirtualClock, play
from agent.parties import ask, two_parties
from backuppeer.agent.home.state import State
from backuppeer.agent.peers.contacting import Contacting, describe_running
from backuppeer.agent.peers.partners import Reach
from backuppeer.agent.peers.whereabouts import Whereabouts
from backuppeer.agent.repute.standing import Standing
from backuppeer.errors import PeerUnreachable
from backuppeer.limits import CONTACT_AGAIN_S, DEAD_AFTER_S
from backuppeer.transport.routes import has_route
from backuppeer.trust.availability import Windows
from backuppeer.trust.evidence import EvidenceLog
from backuppeer.wire.codes import CloseCode

NOWHERE = "255.255.255.255:1"
"""What no socket may be connected to without asking for it: there is no way from here, on any machine."""


class Home:
    """What one home writes down of others."""

    def __init__(self, folder) -> None:
        self.state, self.evidence, clock = (
            State(folder / "state.db"),
            EvidenceLog(folder / "evidence.db"),
            VirtualClock(),
        )
        self.standing = Standing(self.state, self.evidence, clock)
        self.contacting = Contacting(self.standing, clock)

    def contacts(self, peer):
        return self.evidence.contacts.latest(peer, limit=99)


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path)
    yield made
    made.state.close()
    made.evidence.close()


async def end(home, session):
    await session.ended.wait()
    home.contacting.ended(session)


def test_a_session_is_one_row_with_its_path_its_bytes_and_how_long_it_was_used(home):
    async def scenario():
        async with two_parties() as (one, two):
            near, far = await one.meet(two)
            await ask(near)
            await asyncio.sleep(60)
            await two.sessions.close(one.peer)
            await end(home, near)
            home.contacting.ended(far)
            (ours,), (theirs,) = home.contacts(two.peer), home.contacts(one.peer)
            assert (ours.is_made, ours.is_ours, ours.path, ours.time_ms) == (True, True, "direct", START_MS)
            assert 60_000 <= ours.length_ms < 61_000
            assert ours.busy_ms < 1000
            assert ours.sent_bytes == near.sent_bytes > 0
            assert ours.received_bytes == near.received_bytes > 0
            assert (ours.result, theirs.result) == ("the peer says: it was ended on request", "it was ended on request")
            assert not theirs.is_ours
            assert home.standing.windows(two.peer) == Windows(1, 1)

    play(scenario())


def test_a_session_that_is_not_over_is_told_as_under_way_with_its_path_and_what_it_moved(home):
    async def scenario():
        async with two_parties() as (one, two):
            near, _ = await one.meet(two)
            await ask(near)
            running = describe_running(near)
            assert (running.peer, running.is_made, running.path) == (two.peer, True, "direct")
            assert running.sent_bytes == near.sent_bytes > 0
            assert running.result == "under way"
            assert home.contacts(two.peer) == []

    play(scenario())


def test_a_request_that_is_answered_late_counts_as_use_and_what_ended_the_session_is_told(home):
    async def slow(_, channel):
        await asyncio.sleep(DEAD_AFTER_S)
        await channel.abort()

    async def scenario():
        async with two_parties(serve=slow) as (one, two):
            near, _ = await one.meet(two)
            with pytest.raises(PeerUnreachable):
                await ask(near)
            near.connection.lose()
            await end(home, near)
            (contact,) = home.contacts(two.peer)
            assert contact.busy_ms >= 1000 * (DEAD_AFTER_S - 1)
            assert contact.result.startswith("PeerUnreachable: ")

    play(scenario())


def test_a_dial_in_vain_is_a_row_with_the_reason_and_the_same_again_is_one_only_after_a_while(home):
    async def scenario():
        async with two_parties() as (one, two):
            reach = Reach(home.state, one.sessions, loopback=True)
            reach.on_missed = home.contacting.missed
            where = Whereabouts(two.transport.transport_id, ("127.0.0.1:4433",))
            two.answers = False
            for _ in range(3):
                with pytest.raises(PeerUnreachable):
                    await reach.dial(two.peer, where)
            (contact,) = home.contacts(two.peer)
            assert (contact.is_made, contact.is_ours, contact.path) == (False, True, "")
            assert contact.result.startswith("PeerUnreachable: ")
            await asyncio.sleep(CONTACT_AGAIN_S)
            with pytest.raises(PeerUnreachable):
                await reach.dial(two.peer, where)
            assert len(home.contacts(two.peer)) == 2

    play(scenario())


def test_a_dial_that_this_machine_could_not_even_send_is_told_but_says_nothing_of_the_peer(home):
    async def scenario():
        async with two_parties() as (_, two):
            assert not has_route([NOWHERE])
            assert has_route([NOWHERE, "127.0.0.1:9"])
            for _ in range(2):
                home.contacting.missed(two.peer, [NOWHERE], PeerUnreachable("no answer"))
            (contact,) = home.contacts(two.peer)
            assert contact.result == "no network here leads to it"
            assert home.standing.windows(two.peer) == Windows()
            home.contacting.missed(two.peer, ["127.0.0.1:9"], PeerUnreachable("no answer"))
            assert home.standing.windows(two.peer) == Windows(0, 1)

    play(scenario())


@pytest.mark.parametrize("code", [*CloseCode, 99])
def test_whatever_a_peer_says_as_it_leaves_is_told_in_words(code, home):
    async def scenario():
        async with two_parties() as (one, two):
            near, _ = await one.meet(two)
            near.course.end(code, by_peer=True)
            near.course.end(PeerUnreachable("what followed"))
            assert near.course.outcome.startswith("the peer says: ")

    play(scenario())
