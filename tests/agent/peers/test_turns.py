"""A peer that is dialled already is not dialled beside: all who wait hear how it ends."""

import asyncio
from types import SimpleNamespace

import pytest

from backuppeer.agent.peers.partners import Reach, Whereabouts, meet_at
from backuppeer.errors import PeerUnreachable
from backuppeer.ids import PeerId

ALICE, BOB = PeerId(b"a" * 32), PeerId(b"b" * 32)


class Line:
    """Sessions whose dials end when, and how, a test says."""

    def __init__(self):
        self.dialled, self.may_end, self.answer = [], asyncio.Event(), PeerUnreachable("it is off")
        self.begun = asyncio.Event()

    def get(self, peer):
        return None

    async def dial(self, peer, transport, addresses):
        self.dialled.append(peer)
        self.begun.set()
        await self.may_end.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def play(house):
    def run(story):
        async def whole():
            line, missed = Line(), []
            reach = Reach(house.state, line, loopback=True)
            reach.on_missed = lambda peer, _, __: missed.append(peer)
            for peer in (ALICE, BOB):
                meet_at(house.state, peer, Whereabouts(b"t" * 32, ("127.0.0.1:1",), 1).encode(), 1)
            await story(reach, line, missed)

        asyncio.run(whole())

    return run


async def settle(line, reach, *peers):
    """Have all of them ask at once, and the dials end once every one waits."""
    asking = [asyncio.ensure_future(reach.session(peer)) for peer in peers]
    await line.begun.wait()
    await asyncio.sleep(0)
    line.may_end.set()
    return await asyncio.gather(*asking, return_exceptions=True)


def test_three_who_want_a_host_that_is_off_wait_for_one_dial(play):
    async def story(reach, line, missed):
        heard = await settle(line, reach, ALICE, ALICE, ALICE, BOB)
        assert sorted(line.dialled) == [ALICE, BOB]
        assert [str(error.message) for error in heard] == ["it is off"] * 4
        assert sorted(missed) == [ALICE, BOB]
        await settle(line, reach, ALICE)
        assert line.dialled.count(ALICE) == 2, "later it is dialled anew"

    play(story)


def test_a_session_that_came_about_is_that_of_all(play):
    async def story(reach, line, _):
        line.answer = SimpleNamespace(peer=ALICE)
        assert await settle(line, reach, ALICE, ALICE) == [line.answer] * 2
        assert line.dialled == [ALICE]

    play(story)


def test_who_gives_up_while_it_dials_leaves_the_dial_to_the_next(play):
    async def story(reach, line, _):
        first = asyncio.ensure_future(reach.session(ALICE))
        await line.begun.wait()
        second = asyncio.ensure_future(reach.session(ALICE))
        await asyncio.sleep(0)
        first.cancel()
        line.answer = SimpleNamespace(peer=ALICE)
        line.may_end.set()
        assert await second is line.answer
        assert first.cancelled()
        assert line.dialled == [ALICE, ALICE]

    play(story)
