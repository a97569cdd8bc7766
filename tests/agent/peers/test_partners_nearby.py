"""A partner whose address has changed is looked for in the same network, beside the dial of where it was."""

import asyncio

import pytest

from backuppeer.agent.peers import partners
from backuppeer.agent.peers.partners import Reach, meet_at
from backuppeer.agent.peers.whereabouts import Whereabouts
from backuppeer.errors import AuthenticationFault, PeerUnreachable
from backuppeer.ids import PeerId

PEER = PeerId(b"p" * 32)
WAS, IS = (Whereabouts(b"t" * 32, (f"192.168.7.{number}:4",), number) for number in (2, 50))


class Dials:
    """Sessions that answer by the address that is dialled: with a session, an error, or never."""

    def __init__(self, answers):
        self.answers, self.asked, self.given_up = answers, [], 0

    def get(self, _):
        return None

    async def dial(self, _peer, _transport, addresses, *, relay=""):
        assert not relay
        self.asked += addresses
        answer = self.answers[addresses[0]]
        try:
            if answer is None:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        if isinstance(answer, Exception):
            raise answer
        return answer


class Street:
    """Where the partner is in the network, for who may look."""

    def __init__(self, found, *, allowed=True, after=1):
        self.found, self.allowed, self.after, self.looks = found, allowed, after, 0

    def is_allowed(self):
        return self.allowed

    async def find_partner(self, peer):
        assert peer == PEER
        self.looks += 1
        return self.found if self.looks >= self.after else None


@pytest.fixture
def reach(house, monkeypatch):
    monkeypatch.setattr(partners, "DIRECT_FIRST_S", 0.01)

    def make(answers, street, *, where=WAS):
        if where is not None:
            meet_at(house.state, PEER, where.encode(), 1)
        made = Reach(house.state, Dials(answers), loopback=False)
        made.neighbours = street
        return made

    return make


def meet(reach):
    session = asyncio.run(reach.session(PEER))
    return session, reach._sessions.asked


@pytest.mark.parametrize("before", [None, PeerUnreachable("nobody"), AuthenticationFault("another key")])
def test_a_partner_that_moved_is_found_and_the_old_address_given_up(reach, before):
    made = reach({WAS.addresses[0]: before, IS.addresses[0]: "session"}, Street(IS))
    assert meet(made) == ("session", [*WAS.addresses, *IS.addresses])
    assert made._sessions.given_up == (before is None)


def test_a_partner_that_is_about_to_open_its_door_is_looked_for_once_more(reach):
    street = Street(IS, after=2)
    made = reach({WAS.addresses[0]: PeerUnreachable("nobody"), IS.addresses[0]: "session"}, street)
    assert meet(made) == ("session", [*WAS.addresses, *IS.addresses])
    assert street.looks == 2


def test_one_that_answers_where_it_was_is_not_looked_for(reach):
    street = Street(IS)
    assert meet(reach({WAS.addresses[0]: "session"}, street)) == ("session", list(WAS.addresses))
    assert street.looks == 0


def test_nobody_is_looked_for_where_that_is_not_allowed(reach):
    street = Street(IS, allowed=False)
    with pytest.raises(PeerUnreachable, match="nobody"):
        meet(reach({WAS.addresses[0]: PeerUnreachable("nobody")}, street))
    assert street.looks == 0


def test_a_partner_that_is_nowhere_is_told_of_as_before(reach):
    with pytest.raises(PeerUnreachable, match="nobody answers"):
        meet(reach({WAS.addresses[0]: PeerUnreachable("nobody answers")}, Street(None)))


def test_a_partner_whose_address_was_never_known_is_found(reach):
    assert meet(reach({IS.addresses[0]: "session"}, Street(IS), where=None)) == ("session", list(IS.addresses))
    with pytest.raises(PeerUnreachable, match="no way to reach"):
        meet(reach({}, Street(None), where=None))


def test_an_address_that_is_being_dialled_is_not_dialled_twice(reach):
    made = reach({WAS.addresses[0]: None}, Street(WAS))

    async def story():
        waiting = asyncio.create_task(made.session(PEER))
        while not made.neighbours.looks:  # noqa: ASYNC110 - it has no event of its own
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)
        assert made._sessions.asked == list(WAS.addresses)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert made._sessions.given_up == 1, "who is not waited for is dialled no more"

    asyncio.run(story())
