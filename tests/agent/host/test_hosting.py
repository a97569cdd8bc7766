"""What a slot on offer says, where it can be knocked at, and how long the keys live that open its knocks."""

import asyncio
import time
from contextlib import asynccontextmanager

import msgspec
import pytest
from structlog.testing import capture_logs

from agent.host.test_succeeding import say
from agent.houses import WISH, offer
from backuppeer import limits
from backuppeer.agent.host.hosting import Hosting
from backuppeer.crypto.envelope import EnvelopeKey
from backuppeer.errors import NoSignaling, PeerFault
from backuppeer.limits import (
    ENVELOPE_KEY_KEPT_S,
    ENVELOPE_KEY_LIFE_S,
    KNOCK_ANSWER_S,
    KNOCK_BYTES,
    KNOCK_REPLIES,
    LISTING_BYTES,
    LISTING_FUTURE_S,
    LISTING_LIFE_S,
    LISTING_SERVERS,
)
from backuppeer.proof.promises import Promises, write_promises
from backuppeer.signaling.container import split_container
from backuppeer.signaling.knock import UNTRUSTED, Verdict
from backuppeer.signaling.listing import Listing, open_listing
from backuppeer.signaling.pool import Acceptance
from backuppeer.signaling.server.engine import Shown
from signaling.kit import TurnedClock, run, serving

SLOT = offer()
"""No servers: nothing is dialled."""


@pytest.fixture
def hosting(house):
    return Hosting(
        house.state,
        house.identity,
        house.clock,
        requests=house.requests,
        binding=lambda: b"",
        free=lambda slot: slot.storage_bytes,
    )


def listing_of(hosting, house, **changes):
    signed = hosting._make_listing(msgspec.structs.replace(SLOT, **changes))
    assert len(signed) <= LISTING_BYTES
    return open_listing(signed, house.clock.now_ms()).listing


def key_ids(house):
    return [key_id for key_id, _, _ in house.state.envelope_keys()]


def turn(house, seconds):
    house.clock.ms += int(seconds * 1000)


def test_a_listing_lives_two_hours_or_as_long_as_the_slot(hosting, house):
    now_ms = house.clock.now_ms()
    assert listing_of(hosting, house).expires_ms == now_ms + LISTING_LIFE_S * 1000
    assert listing_of(hosting, house, expires_ms=now_ms + 1000).expires_ms == now_ms + 1000


def test_a_listing_names_as_many_of_the_servers_as_it_holds(hosting, house):
    short = tuple(f"wss://h{n}.example" for n in range(LISTING_SERVERS + 1))
    assert listing_of(hosting, house, servers=short).servers == list(short[:LISTING_SERVERS])
    long = tuple(f"wss://{'a' * 230}{n}.example" for n in range(LISTING_SERVERS))
    assert listing_of(hosting, house, servers=long).servers == [long[0]]


def test_a_listing_says_what_is_promised_in_availability_in_the_field_for_it(hosting, house):
    said = listing_of(hosting, house, promises=Promises(reciprocity=1000, availability=950))
    assert (said.availability, said.ext) == (950, write_promises(Promises(reciprocity=1000)))
    assert (listing_of(hosting, house).availability, listing_of(hosting, house).ext) == (0, {})


def test_the_key_that_opens_knocks_is_renewed_daily(hosting, house):
    first = listing_of(hosting, house).envelope_id
    turn(house, ENVELOPE_KEY_LIFE_S - 1)
    assert listing_of(hosting, house).envelope_id == first
    turn(house, 1)
    assert listing_of(hosting, house).envelope_id != first


def test_a_key_is_erased_two_days_after_it_was_made(hosting, house):
    first = listing_of(hosting, house).envelope_id
    turn(house, ENVELOPE_KEY_KEPT_S)
    listing_of(hosting, house)
    assert first in key_ids(house)
    turn(house, 0.001)
    listing_of(hosting, house)
    assert first not in key_ids(house)
    with pytest.raises(PeerFault, match="erased"):
        hosting._open_knock(first.ljust(KNOCK_BYTES, b"\0"))


def test_no_key_outlives_a_slot_that_was_withdrawn(hosting, house):
    listing_of(hosting, house)
    turn(house, 1)
    asyncio.run(hosting.withdraw())
    assert key_ids(house) == []


def test_keys_that_grew_old_while_no_agent_ran_are_erased_when_one_starts(hosting, house):
    listing_of(hosting, house)
    turn(house, ENVELOPE_KEY_KEPT_S + 1)
    asyncio.run(hosting.resume())
    assert key_ids(house) == []


def test_a_stranger_is_not_told_where_the_store_lies(hosting, house, owner, tmp_path):
    house.state.put_setting("host.offer", msgspec.msgpack.encode(SLOT))
    store = house.premises.directory
    house.premises.close()
    store.rename(tmp_path / "unplugged")
    reply = hosting._answer(owner.knock(house))
    assert reply.verdict is Verdict.REJECTED
    assert "store is away" in reply.message
    assert str(tmp_path) not in reply.message


def test_whoever_is_not_trusted_is_told_that_no_smaller_wish_is_any_better(hosting, house, owner):
    slot = msgspec.structs.replace(SLOT, min_trust=0.5)
    house.state.put_setting("host.offer", msgspec.msgpack.encode(slot))
    reply = hosting._answer(owner.knock(house))
    assert (reply.verdict, reply.code) == (Verdict.REJECTED, UNTRUSTED)


@pytest.fixture
def _no_pauses(monkeypatch):
    monkeypatch.setattr(limits, "RECONNECT_MAX_S", 0.01)


async def until(condition):
    while not condition():  # noqa: ASYNC110 - states have no event of their own; each turn lets the loop work
        await asyncio.sleep(0)


@asynccontextmanager
async def server_for(house, *, port=0):
    async with serving(clock=TurnedClock(house.clock.now_ms()), port=port) as served:
        yield served


async def unused_port(house):
    async with server_for(house) as served:
        return served.port


def is_open_for_knocks(served, hosting):
    """Somebody who sees the offer finds an open ear behind it."""
    record = served.engine.record
    return any(isinstance(r, Shown) and r.is_slot for r in record) and hosting.keys.inbox(SLOT).public in record


@pytest.mark.usefixtures("_no_pauses")
def test_an_offer_that_no_server_took_is_taken_back(hosting, house):
    async def story():
        port = await unused_port(house)
        with pytest.raises(NoSignaling, match="nothing is on offer"):
            await hosting.start(msgspec.structs.replace(SLOT, servers=(f"ws://127.0.0.1:{port}",)))
        assert hosting.offer is None
        assert hosting.pool is None
        assert key_ids(house) == []

    run(story())


@pytest.mark.usefixtures("_no_pauses")
def test_an_agent_resumed_without_a_server_hears_knocks_once_one_is_there(hosting, house):
    async def story():
        port = await unused_port(house)
        slot = msgspec.structs.replace(SLOT, servers=(f"ws://127.0.0.1:{port}",))
        house.state.put_setting("host.offer", msgspec.msgpack.encode(slot))
        await hosting.resume()
        async with server_for(house, port=port) as served:
            await until(lambda: is_open_for_knocks(served, hosting))
            await hosting.close()
        assert hosting.offer == slot

    run(story())


@pytest.mark.usefixtures("_no_pauses")
def test_a_host_hears_knocks_again_after_its_server_came_back(hosting, house):
    async def story():
        told = asyncio.Queue()
        hosting.on_servers = told.put_nowait
        async with server_for(house) as first:
            await hosting.start(msgspec.structs.replace(SLOT, servers=(first.url,)))
            await first.stop()
            async with server_for(house, port=first.port) as second:
                await until(lambda: is_open_for_knocks(second, hosting))
                assert [await told.get() for _ in range(3)] == [True, False, True]
                await hosting.withdraw()
                assert told.empty(), "leaving is no loss"

    run(story())


def knock_of(owner, house):
    return msgspec.structs.replace(owner.knock(house), reply_key=EnvelopeKey.generate().public)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_host_makes_itself_reachable_before_it_answers_and_whatever_it_answers(
    hosting, house, owner, monkeypatch, verdict
):
    async def story():
        done = []
        hosting.be_reachable = lambda: asyncio.sleep(0, result=done.append("reachable"))
        answer = hosting._answer
        monkeypatch.setattr(hosting, "_answer", lambda knock: done.append(verdict) or answer(knock))
        await hosting._reply(knock_of(owner, house), "")
        assert done == ["reachable", verdict]

    run(story())


@pytest.mark.parametrize("takes_s", [0.0, KNOCK_ANSWER_S / 2])
def test_each_answer_to_a_knock_leaves_as_late_however_fast_it_was_made(hosting, house, owner, monkeypatch, takes_s):
    async def story():
        shows, answer, sleep, paused_s = Shows(), hosting._answer, asyncio.sleep, []
        monkeypatch.setattr(hosting, "_pool", shows)
        monkeypatch.setattr(hosting, "_answer", lambda knock: time.sleep(takes_s) or answer(knock))
        monkeypatch.setattr(asyncio, "sleep", lambda pause_s: paused_s.append(pause_s) or sleep(pause_s))
        hosting.be_reachable = asyncio.Barrier(1).wait
        began_s = time.monotonic()
        await hosting._reply(knock_of(owner, house), "")
        assert time.monotonic() - began_s >= KNOCK_ANSWER_S - 0.001
        assert len(paused_s) == 1
        assert paused_s[0] <= KNOCK_ANSWER_S - takes_s
        assert len(shows.replies) == 1

    run(story())


def test_knocks_are_answered_side_by_side_and_so_many_replies_are_under_way_at_once(hosting, house, owner, monkeypatch):
    async def story():
        shows = Shows()
        shows.may_take = asyncio.Event()
        monkeypatch.setattr(hosting, "_pool", shows)
        monkeypatch.setattr(hosting, "_open_knock", lambda _: knock_of(owner, house))
        for _ in range(KNOCK_REPLIES + 2):
            await hosting._on_knock(b"", "")
        await until(lambda: len(shows.replies) == KNOCK_REPLIES)
        assert hosting._replies.count == KNOCK_REPLIES + 2
        shows.may_take.set()
        await until(lambda: not hosting._replies.count)
        assert len(shows.replies) == KNOCK_REPLIES + 2

    run(story())


def test_a_knock_whose_reply_can_not_be_sealed_is_told_and_ends_nothing(hosting, house, owner):
    with capture_logs() as logs:
        run(hosting._reply(owner.knock(house), ""))
    assert [(log["event"], "malformed" in log["reason"]) for log in logs][-1] == ("no reply was left", True)


def test_a_host_that_leaves_leaves_no_reply_under_way(hosting, house, owner, monkeypatch):
    async def story():
        monkeypatch.setattr(hosting, "_open_knock", lambda _: knock_of(owner, house))
        hosting.be_reachable = asyncio.Event().wait
        await hosting._on_knock(b"", "")
        assert hosting._replies.count
        await hosting.close()
        await until(lambda: not hosting._replies.count)

    run(story())


def test_a_person_who_leaves_before_the_slot_is_on_offer_leaves_none_behind(hosting, monkeypatch):
    async def story():
        entered = asyncio.Event()

        async def hang(_offer):
            entered.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(hosting, "_enter", hang)
        starting = asyncio.create_task(hosting.start(SLOT))
        await entered.wait()
        assert hosting.offer == SLOT
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert hosting.offer is None

    run(story())


def test_a_key_of_a_clock_that_was_ahead_is_old_at_once_and_erased_within_a_day(hosting, house):
    turn(house, 10 * 86400)
    first = listing_of(hosting, house).envelope_id
    turn(house, -10 * 86400)
    assert listing_of(hosting, house).envelope_id != first
    turn(house, ENVELOPE_KEY_KEPT_S - ENVELOPE_KEY_LIFE_S + 0.001)
    listing_of(hosting, house)
    assert first not in key_ids(house)


class Shows:
    """Stands for the servers: takes what it is told to."""

    def __init__(self):
        self.takes, self.seqs, self.replies, self.may_take = True, [], [], None

    async def publish(self, signed):
        self.seqs.append(peek(signed))
        return [Acceptance(url="ws://x", accepted=self.takes)]

    withdraw = publish

    async def deposit(self, servers, inbox, sealed):
        self.replies.append(sealed)
        if self.may_take is not None:
            await self.may_take.wait()


def peek(signed):
    return msgspec.msgpack.decode(split_container(signed, cap_bytes=LISTING_BYTES, what="listing")[0], type=Listing).seq


@pytest.fixture
def shows(hosting, house):
    house.state.put_setting("host.offer", msgspec.msgpack.encode(SLOT))
    hosting._pool = Shows()
    return hosting._pool


def test_a_number_of_a_clock_that_was_ahead_does_not_keep_the_slot_off_the_market(hosting, house, shows):
    turn(house, 3600)
    asyncio.run(hosting.republish())
    turn(house, 10 * 86400)
    shows.takes = False
    asyncio.run(hosting.republish())
    turn(house, -10 * 86400 - 3600)
    shows.takes = True
    asyncio.run(hosting.republish())
    taken, refused, again = shows.seqs
    assert refused > taken + 9 * 86400_000
    assert again == taken + 1, "above what servers know, also where that is an hour ahead"


def test_a_number_that_no_server_took_is_not_kept_and_one_that_was_taken_is(hosting, house, shows):
    shows.takes = False
    asyncio.run(hosting.republish())
    assert house.state.setting("host.seq") is None
    asyncio.run(hosting.republish())
    assert shows.seqs[1] == shows.seqs[0] + 1, "nor used twice"
    shows.takes = True
    asyncio.run(hosting.republish())
    assert int.from_bytes(house.state.setting("host.seq"), "big") == shows.seqs[2]


def test_a_number_far_ahead_that_an_older_version_kept_is_left_behind(hosting, house, shows):
    house.state.put_setting("host.seq", (house.clock.now_ms() + LISTING_FUTURE_S * 1000).to_bytes(8, "big"))
    asyncio.run(hosting.republish())
    assert shows.seqs == [house.clock.now_ms()]


def test_an_identity_that_another_succeeded_gets_no_space_and_is_told_why_but_is_let_in(hosting, house, owner):
    owner.agree_with(house)
    house.heirs.take(say(owner.peer), owner.keys.authority)
    hosting.check_wish = house.succeeding.check_wish
    house.state.put_setting("host.offer", msgspec.msgpack.encode(SLOT))
    reply = hosting._answer(owner.knock(house))
    assert (reply.verdict, "another identity goes on" in reply.message) == (Verdict.REJECTED, True)
    assert hosting._answer(owner.knock(house, WISH._replace(size_bytes=0))).verdict is Verdict.ACCEPTED
