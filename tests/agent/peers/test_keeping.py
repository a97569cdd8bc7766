"""Sessions that were lost are looked for; a sleep and another network are noticed at once."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from agent.loops import VirtualClock, play
from agent.parties import Party, running
from backuppeer.agent.peers.keeping import Keeping
from backuppeer.clock import slept_s
from backuppeer.errors import PeerUnreachable, RefusedError
from backuppeer.ids import PeerId
from backuppeer.limits import (
    DEAD_AFTER_S,
    RECONNECT_S,
    RECONNECT_SETTLED_S,
    RECONNECTS,
    RETRY_FIRST_S,
    RETRY_MOST_S,
    SLEPT_S,
    WAKE_LOOK_S,
)
from backuppeer.transport.memory import Network


class Dials:
    """Notes when a peer was dialled, and answers as a test has it."""

    def __init__(self, answer=None):
        self.answer, self.times = answer, []

    async def __call__(self, peer):
        self.times.append(asyncio.get_running_loop().time())
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


PEER = PeerId(b"p" * 32)


def over(peer=PEER, *, is_lost=True, is_dialler=True, is_doubted=False, lived_s=RECONNECT_SETTLED_S):
    """Return a session that is over."""
    return SimpleNamespace(
        peer=peer,
        connection=SimpleNamespace(is_dialler=is_dialler),
        course=SimpleNamespace(is_lost=is_lost, length_ms=int(lived_s * 1000)),
        is_doubted=is_doubted,
        failure="it stopped answering",
    )


def keeping(dials, sessions=()):
    return Keeping(dials, VirtualClock(), sessions=lambda: list(sessions))


def test_a_lost_session_is_looked_for_with_growing_pauses_and_then_no_more():
    async def scenario():
        dials = Dials(PeerUnreachable("nobody there"))
        kept = keeping(dials)
        kept.lost(over())
        kept.lost(over())
        (gap,) = kept.gaps.values()
        assert (gap.reason, gap.next_ms) == ("it stopped answering", 0)
        await asyncio.sleep(0)
        assert 0 < gap.next_ms - VirtualClock().now_ms() <= RETRY_FIRST_S * 1000
        await asyncio.sleep(RECONNECT_S + RETRY_MOST_S + 1)
        assert kept.gaps == {}
        assert gap.reason == "nobody there"
        pauses = [later - sooner for sooner, later in zip([0.0, *dials.times], dials.times, strict=False)]
        assert pauses[0] <= RETRY_FIRST_S
        assert max(pauses) <= RETRY_MOST_S
        assert len(pauses) > RECONNECT_S / RETRY_MOST_S

    play(scenario())


def test_a_peer_that_is_there_again_is_looked_for_no_more():
    async def scenario():
        dials = Dials()
        kept = keeping(dials)
        kept.lost(over())
        await asyncio.sleep(1)
        assert (kept.gaps, len(dials.times)) == ({}, 1)

    play(scenario())


@pytest.mark.parametrize(
    ("session", "is_sought"),
    [
        (over(is_lost=False), False),
        (over(is_dialler=False), False),
        (over(is_dialler=False, is_doubted=True), True),
        (over(), True),
    ],
)
def test_only_who_dialled_looks_again_unless_the_peer_can_not_know(session, is_sought):
    async def scenario():
        kept = keeping(Dials())
        kept.lost(session)
        assert bool(kept.gaps) == is_sought
        await asyncio.sleep(1)

    play(scenario())


def test_an_answer_that_is_no_weather_ends_the_search_and_a_person_can_end_it_too():
    async def scenario():
        dials = Dials(RefusedError("blocked"))
        kept = keeping(dials)
        kept.lost(over())
        await asyncio.sleep(1)
        assert (kept.gaps, len(dials.times)) == ({}, 1)
        kept.lost(over())
        assert kept.stop(PeerId(b"p" * 32))
        await asyncio.sleep(1)
        assert (kept.gaps, len(dials.times)) == ({}, 1)
        assert not kept.stop(PeerId(b"p" * 32))

    play(scenario())


def test_no_more_are_looked_for_at_once_than_there_are_places():
    async def scenario():
        kept = keeping(Dials())
        for number in range(RECONNECTS + 1):
            kept.lost(over(PeerId(number.to_bytes(32, "big"))))
        assert len(kept.gaps) == RECONNECTS
        await asyncio.sleep(1)

    play(scenario())


class Closers(Dials):
    """Takes each session and closes it when it has lived for `lived_s`; `begin` is the first that does so."""

    def __init__(self, lived_s):
        super().__init__()
        self.lived_s, self.kept = lived_s, keeping(self)

    async def __call__(self, peer):
        await super().__call__(peer)
        self.begin()

    def begin(self, **options):
        loop = asyncio.get_running_loop()
        loop.call_later(self.lived_s, lambda: self.kept.lost(over(lived_s=self.lived_s, **options)))


def test_a_peer_that_closes_each_session_at_once_is_looked_for_no_longer_than_one_that_is_gone():
    async def scenario():
        host = Closers(RECONNECT_SETTLED_S - 0.1)
        host.begin()
        await asyncio.sleep(4 * RECONNECT_S)
        assert 1 < len(host.times) < (RECONNECT_S + RETRY_MOST_S) / host.lived_s + 1
        assert host.times[-1] < host.lived_s + RECONNECT_S + RETRY_MOST_S
        host.times, host.lived_s = [], 0.05
        host.begin()  # something needed it, long afterwards
        await asyncio.sleep(RECONNECT_S + RETRY_MOST_S)
        pauses = [later - sooner for sooner, later in zip(host.times, host.times[1:], strict=False)]
        assert max(pauses) > RETRY_FIRST_S + host.lived_s, "they grow"
        tries = len(host.times)
        for _ in range(9):  # jobs go on dialling
            host.begin()
            await asyncio.sleep(1)
        assert (len(host.times), host.kept.gaps) == (tries, {})

    play(scenario())


def test_one_that_lasts_or_that_we_gave_up_ourselves_is_looked_for_anew():
    async def scenario():
        for options in ({"lived_s": RECONNECT_SETTLED_S}, {"is_doubted": True, "lived_s": 0.05}):
            host = Closers(0.05)
            host.begin()
            await asyncio.sleep(RECONNECT_S + RETRY_MOST_S)
            tries = len(host.times)
            host.kept.lost(over(**options))
            await asyncio.sleep(RETRY_FIRST_S + 0.1)
            assert len(host.times) > tries

    play(scenario())


def test_the_searches_that_are_remembered_are_as_few():
    async def scenario():
        kept = keeping(Dials())
        for number in range(2 * RECONNECTS):
            kept.lost(over(PeerId(number.to_bytes(32, "big")), lived_s=0.05))
            await asyncio.sleep(RETRY_FIRST_S)
        assert len(kept._searches) == min(RECONNECTS, int(2 * RECONNECT_S / RETRY_FIRST_S))

    play(scenario())


@asynccontextmanager
async def watched(kept):
    watching = asyncio.create_task(kept.run())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


@pytest.mark.parametrize("what", ["sleep", "network"])
def test_after_a_sleep_or_in_another_network_a_dead_session_is_found_out_and_looked_for_at_once(what):
    async def scenario():
        network = Network()
        one, two = Party(network, 1), Party(network, 2)
        async with running(one, two):
            near, _ = await one.meet(two)
            dials, asleep, addresses = Dials(), [0.0], ["192.0.2.1:1"]
            kept = keeping(dials, [near])
            kept.slept_s, kept.addresses = lambda: asleep[0], lambda: addresses
            async with watched(kept):
                network.freeze()
                if what == "sleep":
                    asleep[0] = 7200.0
                else:
                    addresses[:] = ["198.51.100.1:1"]
                began_s = asyncio.get_running_loop().time()
                await near.ended.wait()
                assert asyncio.get_running_loop().time() - began_s < WAKE_LOOK_S + 3 < DEAD_AFTER_S
                why = "this machine slept for 7200 s" if what == "sleep" else "the network here changed"
                assert near.failure == near.course.outcome == why
                kept.lost(near)
                assert next(iter(kept.gaps.values())).reason == why
                await asyncio.sleep(RETRY_FIRST_S + 0.1)
                assert len(dials.times) == 1
            network.thaw()

    play(scenario())


def test_a_session_that_outlived_a_sleep_goes_on_and_who_is_looked_for_is_tried_at_once():
    async def scenario():
        network = Network()
        one, two = Party(network, 1), Party(network, 2)
        async with running(one, two):
            near, _ = await one.meet(two)
            dials, asleep = Dials(PeerUnreachable("nobody")), [0.0]
            kept = keeping(dials, [near])
            kept.slept_s = lambda: asleep[0]
            async with watched(kept):
                kept.lost(over(PeerId(b"x" * 32)))
                await asyncio.sleep(60)
                asleep[0] = 2 * SLEPT_S
                kept.look()
                tries = len(dials.times)
                await asyncio.sleep(0.1)
                assert len(dials.times) > tries
                await asyncio.sleep(WAKE_LOOK_S)
                assert near.is_open

    play(scenario())


@pytest.mark.parametrize(("slept", "is_doubted"), [(SLEPT_S - 0.1, False), (SLEPT_S, True)])
def test_a_nap_that_no_peer_notices_is_none(slept, is_doubted):
    async def scenario():
        doubted = []
        kept = keeping(Dials())
        kept._sessions = lambda: doubted.append(1) or []
        kept.slept_s = lambda: slept
        kept.look()
        assert bool(doubted) == is_doubted

    play(scenario())


def test_this_machine_says_how_long_it_slept():
    assert slept_s() >= 0.0
