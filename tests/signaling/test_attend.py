"""An offer and the inbox behind it: on show only where somebody can knock."""

import asyncio

import pytest

from backuppeer import limits
from backuppeer.errors import NoSignaling
from backuppeer.signaling.pool import Pool
from backuppeer.signaling.server.caps import Caps
from backuppeer.signaling.server.engine import Shown
from signaling.kit import NOW_MS, Host, NoJitter, TurnedClock, WatchedEngine, run, serving

SEALED = bytes(limits.KNOCK_BYTES)


def pool_of(*urls, clock, on_change=None):
    return Pool(urls, clock=clock, randomness=NoJitter(), on_change=on_change)


async def until(condition):
    while not condition():  # noqa: ASYNC110 - states have no event of their own; each turn lets the loop work
        await asyncio.sleep(0)


class Ears:
    """What comes into the inbox."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def keep(self, sealed, _server):
        self.heard.put_nowait(sealed)


def assert_heard_first(served, host):
    """The inbox was open before the listing was shown."""
    shown = next(n for n, record in enumerate(served.engine.record) if isinstance(record, Shown))
    assert host.inbox.public in served.engine.record[:shown]


def is_shown(served):
    return any(isinstance(record, Shown) for record in served.engine.record)


def test_the_inbox_is_open_before_the_listing_is_shown():
    async def story():
        host, ears = Host(), Ears()
        async with serving() as served, pool_of(served.url, clock=served.clock) as pool:
            pool.attend(host.inbox, ears.keep)
            outcomes = await pool.publish(host.signed())
            assert [o.accepted for o in outcomes] == [True]
            assert_heard_first(served, host)
            assert [s.connected for s in pool.states()] == [True]

    run(story())


def test_a_server_that_comes_up_late_gets_the_inbox_with_the_listing():
    async def story():
        host, ears = Host(), Ears()
        async with serving() as early:
            await early.stop()
            async with pool_of(early.url, clock=early.clock) as pool:
                pool.attend(host.inbox, ears.keep)
                with pytest.raises(NoSignaling):
                    await pool.publish(host.signed())
                async with serving(port=early.port, clock=early.clock) as late:
                    await until(lambda: is_shown(late))
                    assert_heard_first(late, host)
                    await pool.deposit([late.url], host.inbox.public, SEALED)
                    assert await ears.heard.get() == SEALED

    run(story())


def test_a_server_that_goes_and_comes_back_gets_the_inbox_with_the_listing():
    async def story():
        host, ears = Host(), Ears()
        async with serving() as first, pool_of(first.url, clock=first.clock) as pool:
            pool.attend(host.inbox, ears.keep)
            await pool.publish(host.signed())
            await first.stop()
            await until(lambda: not pool.states()[0].connected)
            async with serving(port=first.port, clock=first.clock) as second:
                await until(lambda: is_shown(second))
                assert_heard_first(second, host)
                await pool.deposit([second.url], host.inbox.public, SEALED)
                assert await ears.heard.get() == SEALED
                await until(lambda: pool.states()[0].connected)

    run(story())


def test_the_loss_of_a_server_and_its_return_are_told_once_each():
    async def story():
        host, ears, told = Host(), Ears(), asyncio.Queue()
        async with serving() as first:
            pool = pool_of(first.url, clock=first.clock, on_change=lambda: told.put_nowait(pool.states()[0].connected))
            async with pool:
                pool.attend(host.inbox, ears.keep)
                await pool.publish(host.signed())
                assert await told.get()
                await first.stop()
                assert not await told.get()
                async with serving(port=first.port, clock=first.clock) as second:
                    assert await told.get()
                    await pool.deposit([second.url], host.inbox.public, SEALED)
                    assert await ears.heard.get() == SEALED
                    assert told.empty()

    run(story())


class DeafEngine(WatchedEngine):
    """Takes listings, but has no room for inboxes."""

    async def open_inbox(self, inbox: bytes) -> bool:
        await super().open_inbox(inbox)
        return False


def test_where_no_inbox_can_be_opened_nothing_is_shown():
    async def story():
        host, ears, clock = Host(), Ears(), TurnedClock()
        deaf = DeafEngine(Caps(), clock=clock)
        async with serving() as good, serving(engine=deaf, clock=clock) as bad:
            async with pool_of(good.url, bad.url, clock=clock) as pool:
                pool.attend(host.inbox, ears.keep)
                outcomes = await pool.publish(host.signed(NOW_MS))
                assert [o.accepted for o in outcomes] == [True, False]
                assert [s.connected for s in pool.states()] == [True, False]
            assert is_shown(good)
            assert not is_shown(bad)

    run(story())


def test_an_inbox_that_a_bug_closed_takes_the_listing_with_it():
    async def story():
        host = Host()

        async def stumble(_sealed, _server):
            raise ZeroDivisionError

        async with serving() as served:
            pool = pool_of(served.url, clock=served.clock)
            pool.attend(host.inbox, stumble)
            await pool.publish(host.signed())
            await pool.deposit([served.url], host.inbox.public, SEALED)
            assert await served.engine.lost.get() == host.peer
            assert not pool.states()[0].connected
            with pytest.raises(ZeroDivisionError):
                await pool.close()

    run(story())
