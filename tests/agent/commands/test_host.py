"""What those who watch an offer are told."""

import asyncio
from types import SimpleNamespace

import pytest

from agent.host.test_removals_over_the_wire import delete_directly
from backuppeer.agent.commands.host import HostCommands
from backuppeer.agent.home.state import State
from backuppeer.agent.host.alarms import Alarms
from backuppeer.agent.host.heirship import Heirship
from backuppeer.agent.host.premises import Premises
from backuppeer.agent.host.proving import Proving
from backuppeer.agent.host.scrubbing import Scrubbing
from backuppeer.agent.host.sweeping import Sweeping
from backuppeer.control.api import HostRequest
from backuppeer.control.events import Event, EventName
from backuppeer.ids import format_peer_id, shorten_peer_id
from backuppeer.limits import MIB
from backuppeer.proof.merkle import compute_stored_id
from backuppeer.proof.notices import sign_notice
from backuppeer.trust.tenants import Deed
from host.host_world import put_pack


def make_host(sweeping, scrubbing, ending, waiving):
    return SimpleNamespace(
        requests=SimpleNamespace(),
        hosting=SimpleNamespace(offer=None),
        presence=SimpleNamespace(is_shown=lambda: False),
        sweeping=sweeping,
        scrubbing=scrubbing,
        ending=ending,
        waiving=waiving,
    )


@pytest.fixture
def agent():
    sweeping = SimpleNamespace(alarms=SimpleNamespace())
    scrubbing = SimpleNamespace(proving=SimpleNamespace())
    host = make_host(sweeping, scrubbing, SimpleNamespace(), SimpleNamespace())
    return SimpleNamespace(parts=None, host=host)


def test_watchers_are_told_once_that_no_server_shows_the_offer_and_once_that_one_does_again(agent):
    async def story():
        commands, watcher = HostCommands(agent), asyncio.Queue()
        commands._watchers.add(watcher)
        for is_shown in (True, False, False, True, True):
            agent.host.hosting.on_servers(is_shown)
        assert [watcher.get_nowait().data["state"] for _ in range(watcher.qsize())] == ["unlisted", "listed"]

    asyncio.run(story())


def test_watchers_are_told_of_a_mass_deletion_and_who_comes_later_too(house, owner):
    agreement = owner.agree_with(house)
    sweeping = Sweeping(house.premises, house.clock)
    scrubbing = Scrubbing(house.premises, house.clock, Proving(house.premises))
    host = make_host(sweeping, scrubbing, house.ending, house.waiving)
    parts = SimpleNamespace(state=house.state, clock=house.clock, standing=house.standing)
    delete_directly(house, owner, agreement)

    async def story():
        commands, watcher, shown = HostCommands(SimpleNamespace(parts=parts, host=host)), asyncio.Queue(), []
        commands._watchers.add(watcher)
        await asyncio.to_thread(sweeping.look)
        event = await watcher.get()
        assert (event.event, event.data["percent"], event.data["peer_id"]) == ("alarm", 100, format_peer_id(owner.peer))
        assert "asked to delete 100 % of its data" in event.data["text"]
        assert house.standing.tenancy(owner.peer) == {Deed.MASS_DELETED: 1}

        async def emit(event):
            shown.append(event)

        late = asyncio.Queue()
        late.put_nowait(Event(event=EventName.DONE))
        await commands._show(late, emit)
        assert [one.event for one in shown] == ["alarm"]

    asyncio.run(story())


@pytest.mark.parametrize(("unlisted", "how"), [(True, "give each owner an invite"), (False, "while it is on offer")])
def test_a_store_that_is_taken_up_by_a_new_home_says_whose_packs_are_gone_and_how_owners_find_it(
    house, owner, tmp_path, unlisted, how
):
    agreement = owner.agree_with(house)
    for data in (b"x" * 1000, b"y" * 1000):
        stored = put_pack(house.premises.open(), data, agreement)
    next(house.premises.directory.rglob(stored.hex())).unlink()
    folder = house.premises.directory
    house.premises.close()
    state = State(tmp_path / "anew.db")
    premises = Premises(state, house.identity, house.clock)
    host = make_host(SimpleNamespace(alarms=SimpleNamespace()), SimpleNamespace(proving=SimpleNamespace()), None, None)
    host.ending, host.waiving, host.premises = SimpleNamespace(), SimpleNamespace(), premises
    host.heirship = Heirship(state, premises, (), authority=bytes(32), bind=lambda _: b"")
    parts = SimpleNamespace(state=state, clock=house.clock, keys=SimpleNamespace(peer=house.peer), home=None)
    told = []

    async def start(_offer):
        return [SimpleNamespace(url="wss://one.example", accepted=True)]

    async def emit(event):
        told.append(event)

    async def story():
        host.hosting.start = start
        agent = SimpleNamespace(
            parts=parts, host=host, servers=lambda named: named, config=lambda: SimpleNamespace(region=None)
        )
        wanted = HostRequest(servers=["wss://one.example"], storage=64 * MIB, store=str(folder), detach=True)
        wanted.unlisted = unlisted
        await HostCommands(agent).host(wanted, emit)

    try:
        asyncio.run(story())
        notes = [event.data["text"] for event in told if event.event == EventName.NOTE]
        assert notes[0].startswith("took up the store that was here: 1 pack of 1 owner")
        assert how in notes[1]
        assert any(note.startswith(f"1 pack of {shorten_peer_id(owner.peer)} gone from the disk") for note in notes), (
            notes
        )
    finally:
        premises.close()
        state.close()


def test_watchers_are_told_of_a_loss_and_who_comes_later_too(house, owner):
    agreement = owner.agree_with(house)
    store, data = house.premises.open(), b"pack" * 1000
    stored = compute_stored_id(data)
    with store.receive(agreement, stored, len(data)) as incoming:
        incoming.write(data)
        incoming.commit()
    next(store.directory.rglob(stored.hex())).write_bytes(data[::-1])
    scrubbing = Scrubbing(house.premises, house.clock, Proving(house.premises))
    sweeping = Sweeping(house.premises, house.clock)
    host = make_host(sweeping, scrubbing, house.ending, house.waiving)
    parts = SimpleNamespace(state=house.state, clock=house.clock, standing=house.standing)

    async def story():
        commands, watcher, shown = HostCommands(SimpleNamespace(parts=parts, host=host)), asyncio.Queue(), []
        commands._watchers.add(watcher)
        await asyncio.to_thread(scrubbing.look)
        event = await watcher.get()
        assert (event.event, event.data["text"][:29]) == ("note", "1 pack is lost or damaged on ")

        async def emit(event):
            shown.append(event)

        late = asyncio.Queue()
        late.put_nowait(Event(event=EventName.DONE))
        await commands._show(late, emit)
        assert [one.event for one in shown] == ["note"]

    asyncio.run(story())


def test_watchers_are_told_of_an_owner_that_ends_its_agreement_and_who_comes_later_too(house, owner):
    agreement = owner.agree_with(house)
    sweeping = SimpleNamespace(alarms=Alarms(house.premises, house.clock))
    host = make_host(
        sweeping, Scrubbing(house.premises, house.clock, Proving(house.premises)), house.ending, house.waiving
    )
    parts = SimpleNamespace(state=house.state, clock=house.clock, standing=house.standing)

    async def story():
        commands, watcher, shown = HostCommands(SimpleNamespace(parts=parts, host=host)), asyncio.Queue(), []
        commands._watchers.add(watcher)
        for last, words in ((0, "ends: all that it keeps here is kept until"), (1, "goes on"), (2, "ends: ")):
            signed = sign_notice(agreement, owner.keys.identity, last=last, time_ms=1)
            await asyncio.to_thread(house.ending.take, owner.peer, agreement, signed, b"")
            event = await watcher.get()
            assert event.event == "note"
            assert words in event.data["text"]

        async def emit(event):
            shown.append(event)

        late = asyncio.Queue()
        late.put_nowait(Event(event=EventName.DONE))
        await commands._show(late, emit)
        assert ["ends: " in one.data["text"] for one in shown] == [True]

    asyncio.run(story())


def test_watchers_are_told_what_an_owners_words_did_and_who_comes_later_too_until_it_was_seen(house, owner):
    agreement, woken = owner.agree_with(house), []
    sweeping = SimpleNamespace(alarms=Alarms(house.premises, house.clock), wake=lambda: woken.append(1))
    scrubbing = Scrubbing(house.premises, house.clock, Proving(house.premises))
    host = make_host(sweeping, scrubbing, house.ending, house.waiving)
    parts = SimpleNamespace(state=house.state, clock=house.clock, standing=house.standing)

    async def story():
        commands, watcher, shown = HostCommands(SimpleNamespace(parts=parts, host=host)), asyncio.Queue(), []
        commands._watchers.add(watcher)
        await asyncio.to_thread(house.waiving.tell_lowered, owner.peer, agreement, 86400, 60)
        event = await watcher.get()
        assert event.event == "note"
        assert "lowered its lock from 1 d to 1 m, with its 24 words" in event.data["text"]
        await asyncio.sleep(0)
        assert woken == [1]

        async def emit(event):
            shown.append(event.data["text"])

        for _ in range(2):
            late = asyncio.Queue()
            late.put_nowait(Event(event=EventName.DONE))
            await commands._show(late, emit)
            house.waiving.waived.see()
        assert shown == [event.data["text"]]

    asyncio.run(story())
