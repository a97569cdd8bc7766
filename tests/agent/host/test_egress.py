"""What a host promised to send back a day: a minimum, beyond which others come first, and nobody is refused."""

import asyncio

from agent.hosted import hosted
from agent.houses import WISH
from backuppeer.agent.host.egress import Egress
from backuppeer.agent.host.places import Places
from backuppeer.agent.host.serving import Serving
from backuppeer.host.daily import DAY_S, Counted
from backuppeer.limits import LEAF_BYTES, MIB
from backuppeer.proof.merkle import compute_stored_id
from backuppeer.proof.promises import Promises
from backuppeer.wire.messages import GetRange, Range

DATA = b"a" * MIB


class Noted(Places):
    """Places that note who had to leave the other half to others."""

    def __init__(self, count):
        super().__init__(count)
        self.last = []

    def take(self, peer, *, is_newcomer):
        self.last.append(is_newcomer)
        return super().take(peer, is_newcomer=is_newcomer)


def reads(house, owner, agreement, sizes):
    """Read so many leaves one after the other; return of each whether it had to leave places to others."""
    serving = Serving(house.premises, house.revising.consider, house.standing.blame)
    places = serving._reading = Noted(4)

    async def run():
        async with hosted(house, owner, serve=serving.serve) as link:
            if not house.premises.open().has(agreement, compute_stored_id(DATA)):
                await link.put(agreement, DATA)
            for leaves in sizes:
                asked = GetRange(agreement=agreement, stored=compute_stored_id(DATA), first_leaf=0, leaves=leaves)
                async with link.session.request(asked) as channel:
                    answer = await channel.receive(Range)
                    async for _ in channel.receive_raw(answer.size):
                        pass

    asyncio.run(run())
    return places.last


def test_up_to_its_promise_an_owner_is_served_as_any_and_beyond_it_in_half_of_the_places(house, owner):
    promised = WISH._replace(promises=Promises(egress_bytes=10 * LEAF_BYTES))
    agreement = owner.agree_with(house, promised)
    assert reads(house, owner, agreement, [5, 5, 1, 64, 64]) == [False, False, False, True, True]
    store = house.premises.open()
    assert store.daily.today(agreement, Counted.SENT).size_bytes == 139 * LEAF_BYTES, "nothing was refused"
    store.sweep.add_age(DAY_S)
    assert reads(house, owner, agreement, [5, 5]) == [False, False]


def test_without_a_promise_nothing_is_counted_and_nobody_comes_last(house, owner):
    agreement = owner.agree_with(house)
    assert reads(house, owner, agreement, [64, 64, 64]) == [False] * 3
    assert house.premises.open().daily.today(agreement, Counted.SENT) == (0, 0, 0)


def test_a_new_day_makes_good_at_the_first_read(house, owner):
    agreement = owner.agree_with(house, WISH._replace(promises=Promises(egress_bytes=10)))
    store, egress = house.premises.open(), Egress()
    egress.count(store, agreement, 11)
    assert egress.is_beyond(agreement)
    store.sweep.add_age(DAY_S)
    egress.count(store, agreement, 10)
    assert not egress.is_beyond(agreement)
