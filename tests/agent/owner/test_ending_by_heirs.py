"""Notices from before a home went on as another identity: the heir takes them back, tells them, and is held by none."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from agent.hosted import hosted
from agent.houses import FixedReach
from agent.loops import SetClock
from agent.parties import Party
from backuppeer.agent.home.handover import Opener, begin_succession
from backuppeer.agent.home.heir import FormerSelf, finish_succession, settle_succession, take_place
from backuppeer.agent.home.keyring import load_keys
from backuppeer.agent.owner.ending import Ending, describe_endings
from backuppeer.agent.owner.revising import Revising
from backuppeer.agent.owner.telling import tell_host
from backuppeer.clock import SystemClock
from backuppeer.errors import PeerUnreachable
from backuppeer.proof.notices import Notice, sign_notice
from backuppeer.proof.revisions import SECOND_MS
from backuppeer.proof.statements import peek_statement

MASTER = b"o" * 32
"""What the words of the fixture `owner` stand for."""
OWNERS_S = 120


class Line:
    """An owner before and after its succession, and one host."""

    def __init__(self, house, owner, link) -> None:
        self.house, self.owner, self.link = house, owner, link
        ((self.agreement, _, _),) = owner.state.agreements()
        self.before = self.ending(owner.keys, link.session)
        self.keys, self.session = owner.keys, link.session

    def ending(self, keys, session) -> Ending:
        reach = FixedReach(session or PeerUnreachable("away"))
        return Ending(self.owner.state, keys, self.owner.clock, reach=reach)

    @property
    def away(self) -> Ending:
        """Whoever the home is now, with no way to its host."""
        return self.ending(self.keys, None)

    @property
    def now(self) -> Ending:
        return self.ending(self.keys, self.session)

    async def succeed(self) -> None:
        home, keys = self.owner.home, self.owner.keys
        begin_succession(home, MASTER, Opener(), repository=keys.repository, epoch=2, clock=SetClock())
        heir = load_keys(home).heir
        await tell_host(self.link.session, self.owner.state, heir.succession, heir.identity)
        take_place(home, heir, (FormerSelf(keys.identity, heir.succession),))
        settle_succession(home)
        finish_succession(home)
        self.keys = load_keys(home)
        self.party = Party(self.link.near.network, 3, identity=self.keys.identity, clock=SystemClock())
        self.session = await self.party.dial(self.link.far)

    async def meet(self) -> None:
        mine, reach = self.now, FixedReach(self.session)
        revising = Revising(
            self.owner.state, self.keys, self.owner.clock, reach=reach, blame=lambda *seen: pytest.fail(str(seen))
        )
        revising.hear = mine.hear
        await revising.settle(self.session)
        await mine.tell(self.session)

    def left_here(self) -> int | None:
        found = self.owner.state.deeds.ending(self.agreement)
        return None if found is None else (found.until_ms - self.owner.clock.now_ms()) // SECOND_MS

    def left_there(self) -> int | None:
        return self.house.premises.open().notices.left_s(self.agreement)


def play(house, owner, scenario):
    owner.agree_with(house)

    async def run():
        async with hosted(house, owner) as link:
            line = Line(house, owner, link)
            await scenario(line)
            await line.party.sessions.close_all()
            await line.party.transport.close()

    asyncio.run(run())


def lose_answer(line, *, taken):
    """Return an `Ending` of before whose connection breaks; its host has heard, or not."""

    @asynccontextmanager
    async def request(message):
        if taken:
            line.house.ending.take(line.owner.peer, message.agreement, message.signed, message.device_sig)
        yield SimpleNamespace(receive=gone)

    async def gone(*_):
        raise PeerUnreachable("cut off")

    return line.ending(line.owner.keys, SimpleNamespace(peer=line.house.peer, request=request))


@pytest.mark.parametrize("has_lost_revisions", [False, True])
def test_a_notice_that_a_thief_gave_before_is_taken_back_for_good(house, owner, has_lost_revisions):
    async def scenario(line):
        given = sign_notice(line.agreement, owner.keys.identity, last=0, time_ms=5)
        house.ending.take(owner.peer, line.agreement, given, b"")
        await line.succeed()
        if has_lost_revisions:  # as a home that was recovered
            owner.state.deeds._run("DELETE FROM revisions WHERE revision=1")
        await line.meet()
        assert line.left_here() == line.left_there() == OWNERS_S
        assert "you ended the agreement" in describe_endings(owner.state)[0]
        assert await line.now.take_back(house.peer) == (0, True)
        line.now.hear(house.peer, line.agreement, given, 5)  # a host that was set back
        await line.meet()
        assert line.left_here() is line.left_there() is None
        assert not line.now.is_ended_by_us(house.peer)
        owner.clock.ms += 2 * OWNERS_S * SECOND_MS
        assert line.now.settle() == []
        assert describe_endings(owner.state) == []

    play(house, owner, scenario)


@pytest.mark.parametrize("way", ["unsent", "unheard", "heard"])
def test_a_notice_of_which_no_answer_came_before_is_told_by_the_heir_and_counts_once(house, owner, way):
    async def scenario(line):
        if way == "unsent":
            await line.away.end(house.peer)
        else:
            await lose_answer(line, taken=way == "heard").end(house.peer)
        await line.succeed()
        assert line.away.is_ended_by_us(house.peer)
        await line.meet()
        assert line.left_here() == line.left_there() == OWNERS_S
        (heard,) = owner.state.deeds.notices(line.agreement)
        assert (heard.told, heard.notice.number) == (True, 1)
        assert heard.notice.party == (owner.peer if way == "heard" else line.keys.peer)
        await line.meet()
        assert await line.now.take_back(house.peer) == (0, True)
        assert line.left_here() is line.left_there() is None

    play(house, owner, scenario)


def test_a_notice_that_was_never_sent_before_is_taken_back_by_the_heir_as_if_it_had_not_been(house, owner):
    async def scenario(line):
        await line.away.end(house.peer)
        await line.succeed()
        assert await line.away.take_back(house.peer) == (0, True)
        await line.meet()
        assert (line.left_here(), line.left_there(), owner.state.deeds.notices(line.agreement)) == (None, None, [])
        assert (await line.now.end(house.peer)).told

    play(house, owner, scenario)


def test_the_heir_ends_an_agreement_whose_host_has_not_heard_of_it_once_and_tells_it_then(house, owner):
    async def scenario(line):
        rows = owner.state.agreements()
        await line.succeed()
        followed = owner.state.agreements()
        for row in rows:
            owner.state.put_agreement(*row)
        owner.state.deeds._run("DELETE FROM revisions WHERE revision=2")  # as before it had heard
        assert (await line.away.end(house.peer)).told is False
        assert line.away.is_ended_by_us(house.peer)
        assert peek_statement(Notice, owner.state.deeds.notices(line.agreement)[0].signed).party == line.keys.peer
        for row in followed:
            owner.state.put_agreement(*row)
        await line.meet()
        assert line.left_here() == line.left_there() == OWNERS_S

    play(house, owner, scenario)
