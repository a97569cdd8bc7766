"""Recovery notes in a store that nodes share keep to the rules of those in one process, and are found at every node."""

import itertools

import pytest

from backuppeer import limits
from backuppeer.errors import Unavailable
from backuppeer.signaling.server.caps import Caps
from backuppeer.signaling.server.cluster.shared import SharedEngine
from backuppeer.signaling.server.cluster.shared_notes import SharedNotes
from backuppeer.signaling.server.cluster.store import Store
from backuppeer.signaling.server.engine import Deaf
from signaling.kit import NOW_MS, TurnedClock, run
from signaling.stores import storing
from signaling.test_notes import KEPT_MS, inbox, note

PREFIXES = itertools.count()


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    with storing(tmp_path_factory.mktemp("store")) as store:
        yield store


def told(process, story, *, most=100):
    """Run a story with the notes of two nodes."""

    async def whole():
        prefix = f"{{notes{next(PREFIXES)}}}:"
        stores = [Store(process.url, prefix=prefix) for _ in range(2)]
        engines = [SharedEngine(store, Caps(), clock=TurnedClock()) for store in stores]
        for engine in engines:
            await engine.open(Deaf())
        try:
            await story(*(SharedNotes(store, most) for store in stores))
        finally:
            for engine in engines:
                await engine.close()

    run(whole())


async def kept(notes, numbers):
    return [number for number in numbers if await notes.get(inbox(number), now_ms=NOW_MS)]


def test_a_note_left_at_one_node_is_found_at_the_other_and_only_a_later_one_replaces_it(process):
    async def story(here, there):
        assert await there.get(inbox(1), now_ms=NOW_MS) is None
        assert await here.put(inbox(1), NOW_MS, note("a"), now_ms=NOW_MS)
        assert await there.get(inbox(1), now_ms=NOW_MS) == note("a")
        for number in (NOW_MS, NOW_MS - 1):
            assert not await there.put(inbox(1), number, note("b"), now_ms=NOW_MS)
        assert await there.put(inbox(1), NOW_MS + 1, note("c"), now_ms=NOW_MS)
        assert await here.get(inbox(1), now_ms=NOW_MS) == note("c")
        assert there.count() == 1

    told(process, story)


def test_a_note_is_kept_for_ninety_days_and_its_number_is_a_time_of_now(process):
    async def story(notes, _):
        skew_ms = limits.CLOCK_SKEW_S * 1000
        assert not await notes.put(inbox(1), NOW_MS + skew_ms + 1, note("a"), now_ms=NOW_MS)
        assert not await notes.put(inbox(1), NOW_MS - KEPT_MS, note("a"), now_ms=NOW_MS)
        for number in range(3):
            await notes.put(inbox(number), NOW_MS + number, note("a"), now_ms=NOW_MS)
        last_ms = NOW_MS + KEPT_MS
        assert await notes.get(inbox(0), now_ms=last_ms - 1) == note("a")
        assert await notes.get(inbox(0), now_ms=last_ms) is None
        await notes.sweep(now_ms=last_ms + 1)
        assert notes.count() == 1

    told(process, story)


def test_one_network_that_floods_pushes_out_its_own_notes_only_and_else_the_oldest_goes(process):
    async def story(notes, _):
        for number, network in ((1, b"alice"), (2, b"bob"), (3, b""), *((n, b"flood") for n in range(100, 140))):
            assert await notes.put(inbox(number), NOW_MS, note("a"), now_ms=NOW_MS, network=network)
        assert await kept(notes, range(140)) == [1, 2, 3, 137, 138, 139]
        for number in (137, 138, 139):
            await notes.put(inbox(number), NOW_MS + 1, note("b"), now_ms=NOW_MS, network=b"%d" % number)
        await notes.put(inbox(9), NOW_MS, note("b"), now_ms=NOW_MS, network=b"eve")
        assert await kept(notes, range(140)) == [2, 3, 9, 137, 138, 139]

    told(process, story, most=6)


def test_without_the_store_nothing_is_said_to_be_kept(tmp_path):
    async def story(notes, _):
        await notes.put(inbox(1), NOW_MS, note("a"), now_ms=NOW_MS)
        process.kill()
        with pytest.raises(Unavailable):
            await notes.put(inbox(2), NOW_MS, note("a"), now_ms=NOW_MS)
        with pytest.raises(Unavailable):
            await notes.get(inbox(1), now_ms=NOW_MS)
        await notes.sweep(now_ms=NOW_MS)

    with storing(tmp_path) as process:
        told(process, story)
