"""One suite for both engines: what holds in one process's memory holds in a store that nodes share."""

import asyncio
import itertools
import random
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backuppeer import limits
from backuppeer.errors import ProtocolViolation
from backuppeer.signaling.server.caps import Caps
from backuppeer.signaling.server.cluster.shared import SharedEngine
from backuppeer.signaling.server.cluster.store import Store
from backuppeer.signaling.server.engine import Deaf, Put, Rate, Shown
from backuppeer.signaling.server.memory import MemoryEngine
from backuppeer.signaling.server.rate import TokenBucket
from signaling.kit import TurnedClock
from signaling.stores import storing


def peer(number):
    return number.to_bytes(32, "big")


def shown(number, seq=10, *, text=b"", is_slot=True, life_s=7200.0):
    signed = b"%d/%d/" % (number, seq) + text
    return Shown(peer(number), seq, signed, signed.ljust(32, b"\0"), is_slot, life_s)


@pytest.fixture(params=["memory", "valkey"], scope="module")
def make(request, tmp_path_factory):
    """Open an engine of a kind, with a clock to turn; `run` closes it."""
    with ExitStack() as held:
        if request.param == "valkey":
            process = held.enter_context(storing(tmp_path_factory.mktemp("store")))

        async def opened(*, ears=None, **caps):
            clock, randomness = TurnedClock(), random.Random(1)
            if request.param == "memory":
                engine = MemoryEngine(Caps(**caps), clock=clock, randomness=randomness)
            else:
                prefix = f"{{{next(PREFIXES)}}}:"
                store = Store(process.url, prefix=prefix, now_ms=clock.now_ms)
                engine = SharedEngine(store, Caps(**caps), clock=clock, randomness=randomness)
            await engine.open(ears or Deaf())
            OPEN.append(engine)
            return engine, clock

        yield opened


OPEN = []
PREFIXES = itertools.count()


def run(story):
    async def closing():
        try:
            await story
        finally:
            while OPEN:
                await OPEN.pop().close()

    asyncio.run(closing())


async def everything(engine, limit=7):
    rows, cursor = [], b""
    while True:
        page = await engine.page(cursor, limit)
        rows += page.rows
        cursor = page.cursor
        if not cursor:
            return rows


def test_only_a_higher_number_replaces_a_listing(make):
    async def story():
        engine, _ = await make()
        assert await engine.put_listing(shown(1, 10), 1) is Put.ACCEPTED
        assert await engine.put_listing(shown(1, 9), 1) is Put.STALE
        assert await engine.put_listing(shown(1, 10, text=b"twin"), 1) is Put.STALE
        assert await engine.put_listing(shown(1, 10), 1) is Put.ACCEPTED
        assert await engine.put_listing(shown(1, 11), 1) is Put.ACCEPTED
        assert await everything(engine) == [shown(1, 11).signed]

    run(story())


def test_a_listing_is_newer_only_with_a_number_that_is_higher_than_the_one_known(make):
    async def story():
        engine, _ = await make()
        assert await engine.is_newer(peer(1), 1)
        await engine.put_listing(shown(1, 10), 1)
        assert [await engine.is_newer(peer(1), seq) for seq in (9, 10, 11)] == [False, False, True]
        await engine.put_listing(shown(1, 11, is_slot=False), 1)
        assert [await engine.is_newer(peer(1), seq) for seq in (11, 12)] == [False, True]
        await engine.drop_listing(peer(1))
        assert await engine.is_newer(peer(1), 1)

    run(story())


def test_a_tombstone_takes_the_listing_back_and_keeps_its_number(make):
    async def story():
        engine, clock = await make()
        await engine.put_listing(shown(1, 10), 1)
        assert await engine.put_listing(shown(1, 11, is_slot=False), 1) is Put.ACCEPTED
        assert await everything(engine) == []
        clock.turn(limits.LISTING_NUMBER_KEPT_S - 1)
        await engine.sweep()
        assert await engine.put_listing(shown(1, 10), 2) is Put.STALE
        assert await engine.put_listing(shown(1, 12, is_slot=False), 2) is Put.ACCEPTED
        clock.turn(limits.LISTING_NUMBER_KEPT_S)
        await engine.sweep()
        assert await engine.put_listing(shown(1, 10), 2) is Put.ACCEPTED

    run(story())


def test_a_listing_vanishes_after_the_grace_when_its_holder_goes(make):
    async def story():
        engine, clock = await make()
        await engine.put_listing(shown(1), 1)
        await engine.lose_holder(peer(1), 1)
        clock.turn(limits.LISTING_GRACE_S - 1)
        await engine.sweep()
        assert len(await everything(engine)) == 1
        clock.turn(1)
        await engine.sweep()
        assert await everything(engine) == []
        assert await engine.put_listing(shown(1, 9), 2) is Put.STALE
        assert await engine.put_listing(shown(1), 2) is Put.ACCEPTED
        assert len(await everything(engine)) == 1

    run(story())


def test_a_publisher_that_returns_within_the_grace_keeps_its_listing(make):
    async def story():
        engine, clock = await make()
        await engine.put_listing(shown(1), 1)
        await engine.lose_holder(peer(1), 1)
        clock.turn(30)
        await engine.put_listing(shown(1), 2)
        clock.turn(limits.LISTING_GRACE_S)
        await engine.sweep()
        assert len(await everything(engine)) == 1

    run(story())


def test_presence_goes_to_the_connection_that_published_last(make):
    async def story():
        engine, clock = await make()
        await engine.put_listing(shown(1, 10), 1)
        await engine.put_listing(shown(1, 11), 2)
        await engine.lose_holder(peer(1), 1)
        clock.turn(limits.LISTING_GRACE_S)
        await engine.sweep()
        assert len(await everything(engine)) == 1
        await engine.lose_holder(peer(1), 2)
        clock.turn(limits.LISTING_GRACE_S)
        await engine.sweep()
        assert await everything(engine) == []

    run(story())


def test_a_replayer_of_a_current_listing_cannot_take_it_down(make):
    async def story():
        engine, clock = await make()
        await engine.put_listing(shown(1), 1)
        await engine.put_listing(shown(1), 666)
        await engine.lose_holder(peer(1), 666)
        clock.turn(limits.LISTING_GRACE_S + 1)
        await engine.sweep()
        assert len(await everything(engine)) == 1

    run(story())


def test_a_listing_expires_though_its_publisher_stays(make):
    async def story():
        engine, clock = await make()
        await engine.put_listing(shown(1, life_s=100), 1)
        clock.turn(100)
        await engine.sweep()
        assert await everything(engine) == []

    run(story())


def test_drop_forgets_listing_and_number(make):
    async def story():
        engine, _ = await make()
        await engine.put_listing(shown(1, 10), 1)
        await engine.drop_listing(peer(1))
        await engine.drop_listing(peer(2))
        assert await everything(engine) == []
        assert await engine.put_listing(shown(1, 9), 1) is Put.ACCEPTED

    run(story())


def test_the_cap_on_listings_refuses_newcomers_but_not_those_on_show(make):
    async def story():
        engine, _ = await make(listings=2)
        await engine.put_listing(shown(1), 1)
        await engine.put_listing(shown(2), 2)
        assert await engine.put_listing(shown(3), 3) is Put.FULL
        assert await engine.put_listing(shown(1, 11), 1) is Put.ACCEPTED
        await engine.put_listing(shown(2, 11, is_slot=False), 2)
        assert await engine.put_listing(shown(3), 3) is Put.ACCEPTED

    run(story())


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=60), st.integers(1, 9))
def test_pages_hand_out_each_slot_exactly_once_whatever_came_and_went(make, steps, limit):
    async def story():
        engine, _ = await make()
        expected = {}
        for seq, (number, is_slot) in enumerate(steps, start=1):
            row = shown(number, seq, is_slot=is_slot)
            assert await engine.put_listing(row, 1) is Put.ACCEPTED
            expected.pop(number, None)
            if is_slot:
                expected[number] = row.signed
        rows = await everything(engine, limit)
        assert sorted(rows) == sorted(expected.values())

    run(story())


def test_two_viewers_see_different_orders(make):
    async def story():
        engine, _ = await make()
        for number in range(60):
            await engine.put_listing(shown(number), number)
        orders = [tuple(await everything(engine, 50)) for _ in range(4)]
        assert len({frozenset(order) for order in orders}) == 1
        assert len(set(orders)) > 1

    run(story())


def test_slots_that_leave_between_pages_break_nothing(make):
    async def story():
        engine, _ = await make()
        for number in range(100):
            await engine.put_listing(shown(number), number)
        page = await engine.page(b"", 10)
        for number in range(90):
            await engine.put_listing(shown(number, 11, is_slot=False), number)
        rows, cursor, pages = list(page.rows), page.cursor, 1
        while cursor:
            page = await engine.page(cursor, 10)
            rows, cursor, pages = rows + page.rows, page.cursor, pages + 1
        # A slot that moved into a freed place may come twice (viewers merge by peer); nothing else may.
        assert pages <= 10
        assert set(rows[10:]) <= {shown(number).signed for number in range(90, 100)}

    run(story())


@settings(max_examples=40)
@given(st.binary(min_size=1, max_size=64))
def test_a_hostile_cursor_is_a_violation_or_a_page(make, cursor):
    async def story():
        engine, _ = await make()
        await engine.put_listing(shown(1), 1)
        try:
            page = await engine.page(cursor, 50)
        except ProtocolViolation:
            return
        assert len(page.rows) <= 50

    run(story())


@pytest.mark.parametrize(
    "values", [(0, 0, 1, 0), (5, 5, 1, 0), (5, 0, 0, 0), (5, 0, 6, 0), (5, 0, 1, 5), (300_000, 0, 1, 0)]
)
def test_a_cursor_out_of_range_is_refused(make, values):
    async def story():
        engine, _ = await make()
        with pytest.raises(ProtocolViolation):
            await engine.page(b"".join(v.to_bytes(4, "big") for v in values), 1)

    run(story())


def test_an_inbox_takes_32_messages_and_keeps_them_until_taken(make):
    async def story():
        engine, _ = await make()
        await engine.open_inbox(peer(1))
        for number in range(limits.INBOX_MESSAGES):
            assert await engine.deposit(peer(1), b"%d" % number) is not None
        assert await engine.deposit(peer(1), b"more") is None
        waiting = await engine.waiting(peer(1))
        assert [m.sealed for m in waiting] == [b"%d" % n for n in range(limits.INBOX_MESSAGES)]
        await engine.take(peer(1), waiting[0].number)
        await engine.take(peer(1), waiting[0].number)
        assert await engine.deposit(peer(1), b"more") is not None
        assert await engine.deposit(peer(1), b"more") is None

    run(story())


def test_messages_are_counted_by_inbox_so_that_its_owner_learns_nothing_of_others(make):
    async def story():
        engine, _ = await make(inboxes=2)
        for inbox in (1, 2):
            await engine.open_inbox(peer(inbox))
        numbers = [(await engine.deposit(peer(inbox), b"x")).number for inbox in (1, 1, 1, 2)]
        assert numbers == [1, 2, 3, 1]
        await engine.leave_inbox(peer(1))
        await engine.open_inbox(peer(3))  # in the place of the first
        await engine.leave_inbox(peer(3))
        await engine.open_inbox(peer(1))
        assert (await engine.deposit(peer(1), b"x")).number == 1

    run(story())


def test_an_unknown_inbox_stores_nothing(make):
    async def story():
        engine, _ = await make()
        assert await engine.deposit(peer(1), b"x") is None
        assert await engine.waiting(peer(1)) == []
        await engine.leave_inbox(peer(1))
        await engine.open_inbox(peer(1))
        assert await engine.waiting(peer(1)) == []

    run(story())


def test_the_cap_on_stored_messages_counts_all_inboxes(make):
    async def story():
        engine, clock = await make(stored_messages=2)
        await engine.open_inbox(peer(1))
        await engine.open_inbox(peer(2))
        assert await engine.deposit(peer(1), b"x")
        assert await engine.deposit(peer(2), b"x")
        assert await engine.deposit(peer(2), b"x") is None
        clock.turn(limits.INBOX_LIFE_S)
        await engine.sweep()
        assert await engine.deposit(peer(2), b"x")

    run(story())


def test_an_inbox_and_its_messages_end_a_day_after_its_owner_left(make):
    async def story():
        engine, clock = await make()
        await engine.open_inbox(peer(1))
        await engine.leave_inbox(peer(1))
        clock.turn(limits.INBOX_LIFE_S - 1)
        assert await engine.deposit(peer(1), b"x")
        await engine.sweep()
        assert len(await engine.waiting(peer(1))) == 1
        clock.turn(1)
        await engine.sweep()
        assert await engine.waiting(peer(1)) == []
        assert await engine.deposit(peer(1), b"x") is None

    run(story())


def test_each_message_ends_a_day_after_it_came_though_another_one_came_first(make):
    async def story():
        engine, clock = await make()
        await engine.open_inbox(peer(1))
        first = await engine.deposit(peer(1), b"first")
        clock.turn(100)
        await engine.deposit(peer(1), b"second")
        await engine.take(peer(1), first.number)
        clock.turn(limits.INBOX_LIFE_S - 100)
        await engine.sweep()
        assert [stored.sealed for stored in await engine.waiting(peer(1))] == [b"second"]
        clock.turn(100)
        await engine.sweep()
        assert await engine.waiting(peer(1)) == []

    run(story())


def test_the_cap_on_inboxes_drops_the_longest_unattended_and_never_an_attended_one(make):
    async def story():
        engine, clock = await make(inboxes=2)
        await engine.open_inbox(peer(1))
        await engine.open_inbox(peer(2))
        assert not await engine.open_inbox(peer(3))
        await engine.leave_inbox(peer(2))
        clock.turn(1)
        await engine.leave_inbox(peer(1))
        assert await engine.open_inbox(peer(3))
        assert await engine.deposit(peer(2), b"x") is None
        assert await engine.deposit(peer(1), b"x") is not None

    run(story())


def test_the_bucket_grants_the_burst_then_the_rate():
    clock = TurnedClock()
    bucket = TokenBucket(10.0, 3, clock=clock)
    assert [bucket.take() for _ in range(3)] == [0.0, 0.0, 0.0]
    assert bucket.take() == pytest.approx(0.1)
    assert bucket.take() == pytest.approx(0.2)
    clock.turn(10)
    assert [bucket.take() for _ in range(3)] == [0.0, 0.0, 0.0]
    assert bucket.take() > 0


def test_a_key_is_remembered_for_a_month_and_no_longer(make):
    async def story():
        engine, clock = await make()
        assert not await engine.has_seen(peer(1))
        await engine.see(peer(1))
        clock.turn((limits.KEY_REMEMBERED_DAYS - 1) * 86_400)
        await engine.sweep()
        assert await engine.has_seen(peer(1))
        assert not await engine.has_seen(peer(1 << 200))
        clock.turn(86_400)
        await engine.sweep()
        assert not await engine.has_seen(peer(1))

    run(story())


def test_a_bucket_by_name_grants_its_burst_then_its_rate(make):
    async def story():
        engine, clock = await make()
        rate = Rate(10.0, 3)
        assert [await engine.spend(b"one", rate) for _ in range(4)] == [True, True, True, False]
        assert await engine.spend(b"other", rate)
        clock.turn(0.15)
        assert [await engine.spend(b"one", rate) for _ in range(2)] == [True, False]
        clock.turn(60)
        assert [await engine.spend(b"one", rate) for _ in range(4)] == [True, True, True, False]

    run(story())


def test_networks_are_named_by_a_key_of_the_day(make):
    async def story():
        engine, clock = await make()
        key = await engine.network_key()
        assert len(key) == 32
        assert await engine.network_key() == key
        clock.turn(86_400)
        assert await engine.network_key() != key

    run(story())


class Listening(Deaf):
    def __init__(self):
        self.heard = asyncio.Queue()

    def arrived(self, inbox, stored):
        self.heard.put_nowait((inbox, stored.sealed))


def test_who_attends_an_inbox_is_told_what_arrives(make):
    async def story():
        ears = Listening()
        engine, _ = await make(ears=ears)
        await engine.open_inbox(peer(1))
        await engine.deposit(peer(1), b"sealed")
        assert await asyncio.wait_for(ears.heard.get(), 10) == (peer(1), b"sealed")

    run(story())


def test_slots_on_show_are_counted(make):
    async def story():
        engine, _ = await make()
        for number in range(5):
            await engine.put_listing(shown(number), number)
        await engine.put_listing(shown(2, 11, is_slot=False), 2)
        assert await engine.count() == 4
        assert engine.is_whole()

    run(story())


def test_the_cap_on_keys_known_drops_the_oldest_day_and_never_today(make):
    async def story():
        engine, clock = await make(seen_keys=2)
        await engine.see(peer(1 << 200))
        clock.turn(86_400)
        for number in (2, 3, 4):
            await engine.see(peer(number << 200))
        known = [number for number in (1, 2, 3, 4) if await engine.has_seen(peer(number << 200))]
        assert known == [2, 3]

    run(story())
