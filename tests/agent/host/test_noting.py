"""Notes that a host leaves for its owners: when, where, and what they say."""

import asyncio

import pytest

from agent.host.test_succeeding import HEIR, MASTER, say
from agent.hosted import hosted
from agent.houses import WISH
from agent.owner.test_heads import INDEX, chain_of, inventory
from backuppeer.agent.host.noting import Noting, choose_places
from backuppeer.agent.host.serving import Serving
from backuppeer.agent.recovery.inboxes import open_inboxes
from backuppeer.agent.recovery.slots import Slots
from backuppeer.clock import SystemClock
from backuppeer.crypto.keys import derive_working
from backuppeer.crypto.recovery import derive_inbox, derive_slot, quarter_of
from backuppeer.errors import NotFoundError, ProtocolViolation, StoreUnavailable, Unavailable
from backuppeer.ids import AgreementId
from backuppeer.limits import (
    NOTE_AGAIN_S,
    NOTE_EVERY_S,
    NOTE_LEADING_S,
    NOTE_PLACES,
    NOTE_SERVERS,
    NOTE_SOON_S,
    NOTE_WINDOW_S,
    NOTES_AT_ONCE,
)
from backuppeer.proof.revisions import revise, succeed
from backuppeer.proof.statements import HeadReceipt, TransportBinding, open_statement, sign_statement
from backuppeer.signaling.note import open_note
from backuppeer.signaling.postbox import find_notes
from backuppeer.signaling.servers import authority
from backuppeer.wire.messages import PutHead, Refused
from backuppeer.wire.recovering import GiveSlot, SlotKept
from backuppeer.wire.succeeding import Succeed
from signaling.kit import TurnedClock, dead_url, run, serving


class Desk:
    """A host's Noting at one or more servers, driven by hand: time passes only where a test turns the clock."""

    def __init__(self, house, *servers):
        self.house, self.clock = house, TurnedClock(house.clock.ms)
        where = TransportBinding(
            peer=house.peer, transport=b"t" * 32, addresses=["192.0.2.7:4433"], time_ms=self.clock.ms
        )
        self.noting = Noting(
            house.state,
            house.premises,
            self.clock,
            binding=lambda _: sign_statement(where, house.identity),
        )
        self.noting.servers = lambda: [server if isinstance(server, str) else server.url for server in servers]
        house.premises.on_news = self.noting.touch
        self.noting._loop = asyncio.get_running_loop()

    async def pass_s(self, seconds):
        await asyncio.sleep(0)  # what a thread has called for comes first
        self.clock.turn(seconds)
        await self.noting._leave_due()


def gift(owner, agreement, *servers, number=0):
    slot = derive_slot(owner.keys.working, number)
    return GiveSlot(agreement=agreement, seed=slot.seed, key=slot.opener.public, servers=servers)


async def look(owner, desk, *servers):
    """Open the owner's inboxes at servers, as a recovery would."""
    return await open_inboxes(owner.keys, [server.url for server in servers], desk.clock.ms)


def put_head(owner, house, agreement, count=1):
    chain = chain_of(owner)
    for _ in range(count):
        chain.extend(INDEX, inventory())
    number, head, grant = owner.state.last_head(owner.keys.repository)
    for _, signed, by in owner.state.heads_after(owner.keys.repository, 0):
        house.premises.put_head(house.premises.open(), PutHead(agreement=agreement, head=signed, grant=by))
    return number, head, grant


def test_a_note_is_left_when_a_slot_was_given_after_every_new_head_and_daily(house, owner):
    async def story():
        agreement = owner.agree_with(house)
        clock = TurnedClock(house.clock.ms)
        async with serving(clock=clock) as server:
            desk = Desk(house, server)
            desk.clock = desk.noting._clock = clock
            await desk.pass_s(0)
            assert (await look(owner, desk, server)).notes == {}, "no slot, no note"
            desk.noting.keep(gift(owner, agreement, server.url))
            assert desk.noting.count_noted() == 0
            await desk.pass_s(NOTE_SOON_S)
            found = (await look(owner, desk, server)).notes[agreement]
            assert (found.slot, found.host, found.head, found.receipt) == (0, house.peer, None, b"")
            assert found.signed == house.premises.open().leases.get(agreement).signed
            assert found.where.addresses == ("192.0.2.7:4433",)
            assert found.servers == (server.url,)
            assert desk.noting.count_noted() == 1

            number, head, grant = put_head(owner, house, agreement, 2)
            await asyncio.sleep(0)
            assert desk.noting.count_noted() == 0, "what lies there is not the newest any more"
            await desk.pass_s(NOTE_SOON_S)
            found = (await look(owner, desk, server)).notes[agreement]
            assert (found.head.number, found.signed_head, found.grant) == (2, head, grant)
            assert open_statement(HeadReceipt, found.receipt, house.peer).number == number
            first_ms = found.time_ms
            await desk.pass_s(NOTE_EVERY_S)
            assert (await look(owner, desk, server)).notes[agreement].time_ms > first_ms
            assert desk.noting.count_noted() == 1

    run(story())


def test_only_servers_that_lack_a_note_get_it_again_and_until_then_it_counts_as_not_left(house, owner):
    async def story():
        agreement = owner.agree_with(house)
        clock = TurnedClock(house.clock.ms)
        async with serving(clock=clock) as server:
            desk = Desk(house, server, dead_url())
            desk.clock = desk.noting._clock = clock
            desk.noting.keep(gift(owner, agreement, server.url, dead_url()))
            await desk.pass_s(NOTE_SOON_S)
            assert desk.noting.count_noted() == 0
            left = (await look(owner, desk, server)).notes[agreement].time_ms
            desk.noting.servers = lambda: [server.url]
            await desk.pass_s(2 * NOTE_AGAIN_S)
            assert (await look(owner, desk, server)).notes[agreement].time_ms == left, "it lies there already"
            house.state.put_setting(f"note.slot.{agreement.hex()}", b"")
            desk.noting.keep(gift(owner, agreement, server.url))
            await desk.pass_s(NOTE_SOON_S)
            assert desk.noting.count_noted() == 1
            desk.noting.servers = list
            desk.noting.keep(gift(owner, agreement))
            await desk.pass_s(NOTE_SOON_S)
            assert desk.noting.count_noted() == 0, "left nowhere is not left"

    run(story())


def test_slots_survive_a_restart_and_the_same_gift_again_writes_nothing_and_leaves_nothing(house, owner, monkeypatch):
    async def story():
        agreement = owner.agree_with(house)
        clock = TurnedClock(house.clock.ms)
        async with serving(clock=clock) as server:
            Desk(house, server).noting.keep(gift(owner, agreement, server.url))
            again = Desk(house, server)
            again.clock = again.noting._clock = clock
            task = asyncio.create_task(again.noting.run())
            await asyncio.sleep(0.05)
            clock.turn(NOTE_SOON_S)
            await again.noting._leave_due()
            assert again.noting.count_noted() == 1
            monkeypatch.setattr(house.state, "put_setting", lambda *_: pytest.fail("it is there already"))
            again.noting.keep(gift(owner, agreement, server.url))
            await asyncio.sleep(0)
            assert again.noting.count_noted() == 1
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run(story())


def test_an_owner_hands_its_slots_over_in_the_session_and_nobody_elses(house, owner, tmp_path):
    async def story():
        agreement = owner.agree_with(house)
        desk = Desk(house)
        honest = Serving(house.premises, house.requests.consider_proposal, house.standing.blame)
        honest.keep_slot = desk.noting.keep
        slots = Slots(owner.state, owner.keys, SystemClock())
        slots.servers = lambda: ["wss://a.example"]
        async with hosted(house, owner, serve=honest.serve) as link:
            await slots.hand(link.session)
            assert isinstance(await link.ask(gift(owner, agreement, number=9), SlotKept), SlotKept)
            for wrong in (AgreementId(b"?" * 16),):
                async with link.session.request(gift(owner, wrong)) as channel:
                    assert isinstance(await channel.receive_any(), Refused)
        assert slots.number_of(agreement) == 0

    run(story())


def test_a_host_that_keeps_no_slots_refuses_and_the_owner_goes_on(house, owner):
    async def story():
        owner.agree_with(house)
        async with hosted(house, owner) as link:
            await Slots(owner.state, owner.keys, SystemClock()).hand(link.session)
            assert link.session.is_open

    run(story())


def test_a_gift_that_nothing_can_be_sealed_to_or_with_a_server_that_is_none_is_the_owners_fault(house, owner):
    async def story():
        agreement = owner.agree_with(house)
        desk = Desk(house)
        slot = derive_slot(owner.keys.working, 0)
        for wrong in (
            GiveSlot(agreement=agreement, seed=slot.seed, key=b"\xff" * 1216),
            GiveSlot(agreement=agreement, seed=slot.seed, key=slot.opener.public, servers=("http://a.example",)),
        ):
            with pytest.raises(ProtocolViolation):
                desk.noting.keep(wrong)
        assert house.state.setting(f"note.slot.{agreement.hex()}") is None

    run(story())


def test_a_host_dials_of_the_servers_that_an_owner_names_its_own_and_public_ones_alone():
    named = ["ws://192.0.2.9:1", "wss://public.example", "ws://mine:8443", "wss://localhost", "wss://10.0.0.1", "no"]
    assert choose_places(named, ["ws://mine:8443", "wss://other.example"]) == [
        "wss://public.example",
        "ws://mine:8443",
        "wss://other.example",
    ]
    many = [f"wss://{letter}.example" for letter in "abcdefghijkl"]
    assert choose_places(many[:NOTE_SERVERS], many) == many[:NOTE_PLACES]
    assert choose_places([], []) == []


def test_a_store_that_is_away_is_tried_again_and_never_ends_the_leaving(house, owner, monkeypatch):
    async def story():
        agreement = owner.agree_with(house)
        clock = TurnedClock(house.clock.ms)
        async with serving(clock=clock) as server:
            desk = Desk(house, server)
            desk.clock = desk.noting._clock = clock
            desk.noting.keep(gift(owner, agreement, server.url))
            with monkeypatch.context() as away:
                away.setattr(house.premises, "open", _refuse)
                await desk.pass_s(NOTE_SOON_S)
            assert desk.noting.count_noted() == 0
            await desk.pass_s(2 * NOTE_AGAIN_S)
            assert desk.noting.count_noted() == 1

    run(story())


def _refuse():
    raise StoreUnavailable("unplugged")


def test_the_number_of_a_note_ascends_in_its_inbox_and_links_it_to_no_other(house):
    async def story():
        number = Desk(house).noting._next_number
        one, two, minute = AgreementId(b"1" * 16), AgreementId(b"2" * 16), 60_000
        assert [number(one, "a", minute + 7), number(one, "a", minute + 9), number(one, "a", 900)] == [
            minute,
            minute + 1,
            minute + 2,
        ]
        assert number(two, "a", minute + 9) == number(one, "b", minute + 9) == minute
        assert number(one, "a", 10**12) == 10**12 // minute * minute
        assert number(one, "a", 2 * minute) == 2 * minute, "one of a clock that was ahead is forgotten"

    run(story())


def test_an_owner_that_leaves_head_after_head_does_not_use_up_what_servers_take_of_its_host(house, owner):
    async def story():
        agreement = owner.agree_with(house)
        clock = TurnedClock(house.clock.ms)
        async with serving(clock=clock) as server:
            desk = Desk(house, server)
            desk.clock = desk.noting._clock = clock
            desk.noting.keep(gift(owner, agreement, server.url))
            left = []
            for _ in range(2 * NOTES_AT_ONCE):
                await desk.pass_s(NOTE_SOON_S)
                left.append(desk.noting.count_noted())
                desk.noting.touch(agreement)
                await asyncio.sleep(0)
            assert left == [1] * NOTES_AT_ONCE + [0] * NOTES_AT_ONCE
            await desk.pass_s(NOTE_WINDOW_S)
            assert desk.noting.count_noted() == 1, "the newest is left in the end"

    run(story())


def test_a_revised_agreement_is_news_for_its_note(house, owner):
    async def story():
        agreement = owner.agree_with(house)
        heard = []
        house.premises.on_news = heard.append
        house.premises.agree(house.premises.open().leases.get(agreement).signed)
        assert heard == [agreement]

    run(story())


def test_a_server_that_is_down_is_waited_for_once_in_a_round_not_for_each_owner(house, owner, tmp_path, monkeypatch):
    tries = []

    async def fail(url, *_):
        tries.append(url)
        raise Unavailable("down")

    monkeypatch.setattr("backuppeer.agent.host.noting.leave_note", fail)

    async def story():
        desk = Desk(house, dead_url())
        for number in (1, 2):
            desk.noting.keep(gift(owner, owner.agree_with(house, number=number), dead_url(), number=number))
        await desk.pass_s(NOTE_SOON_S)
        assert tries == [dead_url()]

    run(story())


def test_an_agreement_that_is_gone_has_no_note_any_more_and_is_not_tried_again(house, owner, monkeypatch):
    async def story():
        agreement = owner.agree_with(house)
        clock = TurnedClock(house.clock.ms)
        async with serving(clock=clock) as server:
            desk = Desk(house, server)
            desk.clock = desk.noting._clock = clock
            desk.noting.keep(gift(owner, agreement, server.url))
            await desk.pass_s(NOTE_SOON_S)
            assert desk.noting.count_noted() == 1

            def gone(*_):
                raise NotFoundError("no such agreement")

            monkeypatch.setattr(desk.noting, "_write", gone)
            await desk.pass_s(NOTE_EVERY_S)
            assert desk.noting.count_noted() == 0
            assert desk.noting._plans == {}

    run(story())


def test_who_looks_for_word_with_the_words_of_before_is_led_on_for_a_while_and_the_heir_finds_its_own(house, owner):
    async def story():
        agreement = owner.agree_with(house)
        clock = TurnedClock(house.clock.ms)
        async with serving(clock=clock) as server:
            desk = Desk(house, server)
            desk.clock = desk.noting._clock = desk.noting._leading._clock = clock
            house.succeeding.on_passing = desk.noting.lead_on
            desk.noting.keep(gift(owner, agreement, server.url))
            before = house.premises.open().leases.get(agreement).signed
            succession = say(owner.peer)
            proposal = sign_statement(succeed(before, succession), HEIR)
            passed = house.succeeding.take(owner.peer, Succeed(succession=succession, proposals=(proposal,)))
            heir = derive_slot(derive_working(MASTER, 2), 0)
            given = GiveSlot(agreement=agreement, seed=heir.seed, key=heir.opener.public, servers=(server.url,))
            desk.noting.keep(given)
            later = sign_statement(revise(passed.revisions[0], WISH), HEIR, house.identity)
            house.premises.agree(later)
            await desk.pass_s(NOTE_SOON_S)
            old = derive_slot(owner.keys.working, 0)
            assert (await read(server, old, clock)).agreement == passed.revisions[0], "it carries the succession"
            assert (await read(server, heir, clock)).agreement == later
            left_ms = (await read(server, old, clock)).time_ms
            await desk.pass_s(NOTE_EVERY_S)
            assert (await read(server, old, clock)).time_ms > left_ms
            desk.clock.turn(NOTE_LEADING_S)
            await desk.pass_s(0)
            assert desk.noting._leading.list_due(agreement) == []
            assert (await read(server, heir, clock)).agreement == later

    run(story())


async def read(server, slot, clock):
    """Return the note that lies for a slot today."""
    inbox = derive_inbox(slot.seed, authority(server.url), quarter_of(clock.ms))
    lying = await find_notes(server.url, [inbox])
    return open_note(lying[inbox.public], slot.opener, inbox=inbox.public)
