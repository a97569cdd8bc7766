"""A home's doors in its networks: when they stand, what they show to whom; real sockets, on loopback.

Beside them whoever else may stand in such a network and say what he likes. One test has real multicast DNS, which takes
its seconds; in the others a board in memory says who is announced (tests/signaling/test_lan_multicast.py has the rest).
"""

import asyncio
import secrets
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_interface

import msgspec
import pytest

from agent.houses import WISH, offer
from backuppeer.agent.host import presence as presence_module
from backuppeer.agent.host.hosting import Hosting
from backuppeer.agent.host.presence import Presence
from backuppeer.agent.peers import neighbours as neighbours_module
from backuppeer.agent.peers.knocking import Knocking
from backuppeer.agent.peers.market import Market
from backuppeer.agent.peers.neighbours import Neighbours, use_lan
from backuppeer.agent.peers.whereabouts import Whereabouts, read_binding
from backuppeer.agent.repute.views import make_views
from backuppeer.control.api import BrowseRequest
from backuppeer.crypto.identity import SigningKey
from backuppeer.crypto.recognition import derive_recognition
from backuppeer.errors import NoSignaling, PeerUnreachable, RefusedError, Unavailable
from backuppeer.ids import AgreementId, RepositoryId, format_peer_id
from backuppeer.limits import (
    GIB,
    KNOCK_BYTES,
    LAN_ANSWER_S,
    LAN_CLAIMS,
    LAN_KNOCK_S,
    LAN_PLACES_AT_ONCE,
    LAN_SEEN_KEPT_S,
)
from backuppeer.proof.statements import TransportBinding, sign_statement
from backuppeer.signaling.knock import Verdict
from backuppeer.signaling.lan.asking import fetch_listing, knock_at, seek_at
from backuppeer.signaling.lan.door import Door
from backuppeer.signaling.lan.interfaces import Interface
from backuppeer.signaling.lan.multicast import Place
from signaling.kit import run

LOOPBACK = Interface("lo", (ip_interface("127.0.0.1/8"),))
BINDS = ["127.0.0.1"]


class Board:
    """Who is announced, told at once."""

    def __init__(self):
        self.places = {}

    async def announce(self, interface, port, *, service):
        key = object()
        self.places.setdefault(service, {})[key] = Place(tuple(str(own.ip) for own in interface.addresses), port)
        board = self

        class Standing:
            async def close(self):
                board.places.get(service, {}).pop(key, None)

        return Standing()

    async def hear(self, interfaces, on_place, *, for_s, service):
        assert interfaces
        assert for_s
        for place in self.places.get(service, {}).values():
            on_place(place)


@pytest.fixture(autouse=True)
def board(request, monkeypatch):
    made = Board()
    if getattr(request, "param", True):
        monkeypatch.setattr(presence_module, "announce", made.announce)
        monkeypatch.setattr(neighbours_module, "hear", made.hear)
    return made


class NasSide:
    """A host's slot and its doors."""

    def __init__(self, house, service):
        self.house = house
        where = TransportBinding(peer=house.peer, transport=b"t" * 32, addresses=["192.0.2.7:4433"], time_ms=1)
        self.hosting = Hosting(
            house.state,
            house.identity,
            house.clock,
            requests=house.requests,
            binding=lambda: sign_statement(where, house.identity),
            free=lambda slot: slot.storage_bytes,
        )
        self.presence = Presence(self.hosting, house.premises, house.clock, BINDS, service=service)
        self.presence.is_set = lambda: self.is_set
        self.hosting.show_near = self.presence.settle
        self.is_set = False

    async def offer(self, *, lan=True, unlisted=False, accept="all"):
        return await self.hosting.start(msgspec.structs.replace(offer(accept), lan=lan, unlisted=unlisted))

    @property
    def place(self):
        (standing,) = self.presence._standing.values()
        return Place(tuple(standing.door.places()), standing.door.port)

    async def close(self):
        await self.presence.close()
        await self.hosting.close()


class LaptopSide:
    """An owner that looks around."""

    def __init__(self, owner, house, service):
        self.owner = owner
        self.neighbours = Neighbours(owner.state, owner.clock, BINDS, service=service)
        self.neighbours.is_set = lambda: True
        views = make_views(house.state, house.standing, house.evidence, house.clock, addresses=lambda _: ())
        self.market = Market(owner.state, owner.clock, owner.peer, views=views, neighbours=self.neighbours)
        ends = Whereabouts(b"o" * 32, ("192.0.2.9:4433",))
        identity = owner.keys.identity
        self.knocking = Knocking(owner.state, identity, owner.clock, market=self.market, ends=lambda: ends)
        self.knocking.neighbours = self.neighbours

    async def browse(self, servers=()):
        return await self.market.browse(list(servers), BrowseRequest())

    def wanting(self, host):
        return replace(self.knocking.empty_wish(host), request="00" * 16, **WISH._asdict())

    async def knock(self, host):
        return await self.knocking.knock(self.wanting(host), [])


@asynccontextmanager
async def home(house, owner):
    """Two machines in one network of their own."""
    service = f"_bp{secrets.token_hex(6)}._tcp.local."
    nas, laptop = NasSide(house, service), LaptopSide(owner, house, service)
    nas.service = service
    try:
        yield nas, laptop
    finally:
        await nas.close()


@pytest.mark.parametrize("board", [False], indirect=True)
def test_a_slot_is_found_and_asked_without_any_server(house, owner):
    async def story():
        async with home(house, owner) as (nas, laptop):
            assert await nas.offer() == [], "no server took it, and it is on offer all the same"
            while not (rows := await laptop.browse()):  # a busy machine may take longer than a look does
                pass
            (row,) = rows
            assert (row.peer_id, row.lan, row.servers) == (format_peer_id(house.peer), True, [])
            assert row.free_bytes == 1 * GIB
            verdict, where = await laptop.knock(house.peer)
            assert (verdict, where.addresses) == (Verdict.ACCEPTED, ("192.0.2.7:4433",))
            assert house.requests.may_answer(owner.peer)
            assert list(laptop.neighbours.seen()) == [house.peer]

    run(story())


def test_a_person_decides_on_a_knock_by_the_network_as_on_any_other(house, owner):
    async def story():
        async with home(house, owner) as (nas, laptop):
            await nas.offer(accept="ask")
            assert await laptop.knock(house.peer) == (Verdict.PENDING, None)
            (asked,) = house.shown
            assert asked.peer == owner.peer
            house.requests.decide(asked.request, accept=False, reason="no room")
            with pytest.raises(RefusedError, match="no room"):
                await laptop.knock(house.peer)

    run(story())


def test_a_partner_is_recognised_where_nothing_is_on_offer_and_a_stranger_is_not(house, owner, other):
    async def story():
        async with home(house, owner) as (nas, laptop):
            owner.agree_with(house)
            nas.is_set = True
            assert not await nas.presence.settle(), "announced, and no slot is shown"
            assert nas.presence.places() == ["127.0.0.1"]
            found = await laptop.neighbours.find_partner(house.peer)
            assert found.addresses == ("192.0.2.7:4433",)
            assert await laptop.neighbours.find_partner(other.peer) is None
            assert await fetch_listing(nas.place) == b""
            owner.agree_with(other, number=2)
            assert await laptop.neighbours.find_partner(other.peer) is None, "this is another host's door"
            assert await laptop.browse() == []

    run(story())


def test_an_unlisted_slot_is_shown_to_nobody_and_its_door_opens_no_knock(house, owner):
    async def story():
        async with home(house, owner) as (nas, laptop):
            nas.is_set = True
            with pytest.raises(NoSignaling):
                await nas.offer(lan=None, unlisted=True)
            assert not await nas.presence.settle()
            assert nas.presence.places() == [], "no slot that is listed, no partner: nobody is to be found"
            owner.agree_with(house)
            await nas.presence.settle()
            with pytest.raises(RefusedError, match="no slot is shown"):
                await nas.presence.reply(bytes(KNOCK_BYTES))
            assert await laptop.browse() == []

    run(story())


@pytest.mark.parametrize(
    ("is_set", "lan", "shown"), [(True, None, True), (False, None, False), (True, False, False), (False, True, True)]
)
def test_the_slot_decides_whether_it_is_shown_and_else_the_setting(house, owner, is_set, lan, shown):
    async def story():
        async with home(house, owner) as (nas, _):
            nas.is_set = is_set
            if not shown:
                with pytest.raises(NoSignaling, match="so nothing is on offer"):
                    await nas.offer(lan=lan)
                return
            await nas.offer(lan=lan)
            assert nas.presence.is_shown()
            await nas.hosting.withdraw()
            assert not await nas.presence.settle()
            assert nas.presence.places() == []

    run(story())


def test_a_network_that_changes_has_a_new_door_under_a_new_name(house, owner, monkeypatch):
    async def story():
        async with home(house, owner) as (nas, _):
            await nas.offer()
            first = nas.place
            await nas.presence.settle()
            assert nas.place == first, "nothing changed"
            moved = [Interface("lo", (ip_interface("127.0.0.2/8"),))]
            monkeypatch.setattr(presence_module, "list_interfaces", lambda _: moved)
            await nas.presence.settle()
            assert nas.place.addresses == ("127.0.0.2",)
            monkeypatch.setattr(
                presence_module, "list_interfaces", lambda _: [Interface("x", (ip_interface("203.0.113.9/24"),))]
            )
            assert not await nas.presence.settle(), "one that is gone again"

    run(story())


@pytest.mark.parametrize(
    "card", [LOOPBACK, Interface("x", (ip_interface("203.0.113.9/24"),))], ids=["loopback", "card"]
)
def test_the_network_is_advised_where_there_is_one_and_once_looked_at_it_is_said_what_came_of_it(
    house, owner, monkeypatch, card
):
    async def story():
        async with home(house, owner) as (_, laptop):
            monkeypatch.setattr(neighbours_module, "list_interfaces", lambda _: [card])
            is_there = card is not LOOPBACK
            use_lan(wish=False)
            with pytest.raises(NoSignaling) as told:
                await laptop.browse()
            assert ("browse --lan" in told.value.hint) == is_there
            use_lan(wish=True)
            with pytest.raises(NoSignaling) as told:
                await laptop.browse(["ws://127.0.0.1:1"])
            assert ("nobody offers space in this network, either" in told.value.message) == is_there
            assert ("this network can't be looked at" in told.value.message) != is_there
            assert "browse --lan" not in told.value.hint

    run(story())


def test_nobody_looks_around_who_is_not_allowed_to(house, owner):
    async def story():
        async with home(house, owner) as (nas, laptop):
            await nas.offer()
            owner.agree_with(house)
            laptop.neighbours.is_set = lambda: False
            with pytest.raises(NoSignaling):
                await laptop.browse()
            assert await laptop.neighbours.find_partner(house.peer) is None
            use_lan(wish=True)  # for this command
            assert len(await laptop.browse()) == 1
            laptop.neighbours.is_set = lambda: True
            use_lan(wish=False)
            with pytest.raises(NoSignaling):
                await laptop.browse()

    run(story())


def test_servers_that_are_down_hide_nobody_in_the_network(house, owner):
    async def story():
        async with home(house, owner) as (nas, laptop):
            await nas.offer()
            assert len(await laptop.browse(["ws://127.0.0.1:1"])) == 1
            await nas.hosting.withdraw()
            await nas.presence.settle()
            with pytest.raises(NoSignaling, match="refused"):
                await laptop.browse(["ws://127.0.0.1:1"])
            assert await laptop.browse() == [], "without servers the network alone was asked, and nobody is there"
            with pytest.raises(PeerUnreachable, match="not on offer in this network"):
                await laptop.knock(house.peer)

    run(story())


class FalseDoor:
    """Whoever stands in the network and shows what he likes; mute: and answers no knock."""

    def __init__(self, listing, *, relay=None, mute=False):
        self.listing, self.relay, self.mute, self.heard = listing, relay, mute, []

    def show(self):
        return self.listing

    async def reply(self, sealed):
        self.heard.append(sealed)
        if self.mute:
            await asyncio.Event().wait()
        return await knock_at(self.relay, sealed) if self.relay else sealed

    async def recognise(self, sought, challenge):
        del sought, challenge
        return bytes(KNOCK_BYTES)


@asynccontextmanager
async def false_door(clock, service, listing, **said):
    made = FalseDoor(listing, **said)
    door = Door(LOOPBACK, made, clock)
    await door.open()
    announcement = await presence_module.announce(LOOPBACK, door.port, service=service)
    try:
        yield made, Place(tuple(door.places()), door.port)
    finally:
        await announcement.close()
        await door.close()


def forged(nas, **changes):
    """Return a listing of the host with changed fields under the old signature."""
    signed = nas.hosting._make_listing(offer())
    for before, after in changes.values():
        assert before in signed
        signed = signed.replace(before, after)
    return signed


def test_an_offer_that_its_host_did_not_sign_or_that_is_over_is_nobodys(house, owner):
    async def story():
        async with home(house, owner) as (nas, laptop):
            old = nas.hosting._make_listing(offer())
            someone = SigningKey.generate()
            others_id = forged(nas, peer=(house.peer, someone.public))
            changed = forged(nas, region=(b"\xa6region\xa0", b"\xa6region\xa2"))
            for listing in (others_id, changed, b"x" * 2048, b"\x00"):
                async with false_door(owner.clock, nas.service, listing):
                    assert await laptop.browse() == []
            owner.clock.ms += 5 * 3600 * 1000
            async with false_door(owner.clock, nas.service, old):
                assert await laptop.browse() == []
            assert laptop.neighbours.seen() == {}

    run(story())


def test_who_shows_anothers_offer_gets_a_knock_that_he_can_not_open_and_the_host_is_reached(house, owner):
    async def story():
        async with home(house, owner) as (nas, laptop):
            await nas.offer()
            async with false_door(owner.clock, nas.service, nas.hosting.shown) as (thief, way):
                (found,) = await laptop.neighbours.listings()
                laptop.neighbours.seen()[house.peer].places = [way, nas.place]
                verdict, _ = await laptop.knocking.knock_at(found, laptop.wanting(house.peer), [])
            assert verdict is Verdict.ACCEPTED
            (sealed,) = thief.heard
            assert owner.peer not in sealed
            assert len(sealed) == KNOCK_BYTES

    run(story())


def test_who_passes_a_knock_on_changes_nothing_and_can_not_do_it_twice(house, owner):
    async def story():
        async with home(house, owner) as (nas, laptop):
            await nas.offer()
            (found,) = await laptop.neighbours.listings()
            async with false_door(owner.clock, nas.service, nas.hosting.shown, relay=nas.place) as (thief, way):
                laptop.neighbours.seen()[house.peer].places = [way]
                verdict, _ = await laptop.knocking.knock_at(found, laptop.wanting(house.peer), [])
            assert verdict is Verdict.ACCEPTED
            (sealed,) = thief.heard
            with pytest.raises(Unavailable):
                await knock_at(nas.place, sealed)  # heard before: no second reply

    run(story())


def test_doors_that_answer_no_knock_leave_the_host_its_part_and_servers_their_turn(house, owner, monkeypatch):
    async def story():
        async with home(house, owner) as (nas, laptop):
            await nas.offer()
            async with false_door(owner.clock, nas.service, nas.hosting.shown, mute=True) as (thief, way):
                (found,) = await laptop.neighbours.listings()
                seen, began_s = laptop.neighbours.seen()[house.peer], asyncio.get_running_loop().time()
                monkeypatch.setattr(neighbours_module, "LAN_KNOCK_S", LAN_KNOCK_S / 2)
                seen.places = [way, nas.place]
                verdict, _ = await laptop.knocking.knock_at(found, laptop.wanting(house.peer), [])
                assert (verdict, len(thief.heard)) == (Verdict.ACCEPTED, 1)
                assert asyncio.get_running_loop().time() - began_s < LAN_KNOCK_S / 2
                monkeypatch.setattr(neighbours_module, "LAN_KNOCK_S", 0.4)
                seen.places, began_s = [way] * LAN_CLAIMS, asyncio.get_running_loop().time()
                assert not await laptop.neighbours.knock(house.peer, lambda: bytes(KNOCK_BYTES), print)
                assert asyncio.get_running_loop().time() - began_s < LAN_ANSWER_S

    run(story())


def test_of_one_host_so_many_places_are_tried_and_those_seen_long_ago_are_forgotten(house, owner):
    laptop = LaptopSide(owner, house, "unused")
    for number in range(LAN_CLAIMS + 3):
        laptop.neighbours._note(house.peer, Place(("127.0.0.1",), 1 + number))
    places = laptop.neighbours.seen()[house.peer].places
    assert [place.port for place in places] == list(range(LAN_CLAIMS + 3, 3, -1))
    owner.clock.ms += int(LAN_SEEN_KEPT_S * 1000) + 1
    assert laptop.neighbours.seen() == {}


def test_what_a_partner_is_told_is_signed_by_it_and_good_for_one_question(house, owner):
    async def story():
        async with home(house, owner) as (nas, _):
            owner.agree_with(house, number=7)
            nas.is_set = True
            await nas.presence.settle()
            ours = derive_recognition(AgreementId(b"\x07" * 16), RepositoryId(owner.keys.repository))
            binding = await seek_at(nas.place, ours)
            assert read_binding(binding, house.peer).transport == b"t" * 32
            only_id = derive_recognition(AgreementId(b"\x07" * 16), RepositoryId(bytes(16)))
            assert await seek_at(nas.place, only_id) is None, "the agreement's id stands in receipts"

    run(story())


def test_so_many_places_are_asked_at_once_and_one_that_hangs_holds_nobody_up(house, owner, board, monkeypatch):
    monkeypatch.setattr(neighbours_module, "LAN_BROWSE_S", 0.3)
    board.places["crowd"] = {port: Place(("127.0.0.1",), port) for port in range(1, LAN_PLACES_AT_ONCE + 9)}
    laptop = LaptopSide(owner, house, "crowd")
    inside, most = 0, 0

    async def hang(_):
        nonlocal inside, most
        inside, most = inside + 1, max(most, inside + 1)
        await asyncio.Event().wait()

    async def story():
        await laptop.neighbours._look(hang, asyncio.Event())
        assert (inside, most) == (LAN_PLACES_AT_ONCE, LAN_PLACES_AT_ONCE)

    run(story())


def test_a_host_that_was_just_seen_is_asked_where_it_was_before_anybody_answers(house, owner, board):
    async def story():
        async with home(house, owner) as (nas, laptop):
            await nas.offer()
            assert len(await laptop.browse()) == 1
            board.places.clear()
            (found,) = await laptop.neighbours.listings(house.peer)
            assert found.peer == house.peer
            assert await laptop.browse() == []

    run(story())
