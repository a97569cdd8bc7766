"""A door on the network: what it says to whom, how many it lets in, and what is no door."""

import asyncio
import socket
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_interface

import pytest

from backuppeer.crypto.recognition import derive_recognition
from backuppeer.errors import IntegrityFault, ProtocolViolation, RefusedError, Unavailable
from backuppeer.ids import AgreementId, RepositoryId
from backuppeer.limits import (
    KNOCK_BYTES,
    LAN_DOOR_ADDRESSES,
    LAN_DOOR_CONNECTIONS,
    LAN_DOOR_PER_ADDRESS,
    LAN_DOOR_PER_MINUTE,
)
from backuppeer.signaling.lan import asking, door
from backuppeer.signaling.lan.asking import fetch_listing, knock_at, seek_at
from backuppeer.signaling.lan.door import Door
from backuppeer.signaling.lan.frames import (
    ANSWER_BYTES,
    GREETING,
    HELLO_BYTES,
    QUESTION_BYTES,
    SEALED_TEXT_BYTES,
    Kind,
    pack_question,
    pack_text,
    unpack_question,
    unpack_text,
)
from backuppeer.signaling.lan.interfaces import Interface
from backuppeer.signaling.lan.multicast import Place
from signaling.kit import TurnedClock

LOOPBACK = Interface("lo", (ip_interface("127.0.0.1/8"),))
PARTNER = derive_recognition(AgreementId(b"a" * 16), RepositoryId(b"r" * 16))
STRANGER = derive_recognition(AgreementId(b"b" * 16), RepositoryId(b"r" * 16))
KNOCK = bytes(range(256)) * (KNOCK_BYTES // 256)


@dataclass
class House:
    """What stands behind the door: a listing, a partner, and a reply that is the knock reversed."""

    listing: bytes = b"signed"
    is_deaf: bool = False
    heard: list[bytes] = field(default_factory=list)

    def show(self) -> bytes:
        return self.listing

    async def reply(self, sealed: bytes) -> bytes:
        self.heard.append(sealed)
        if self.is_deaf:
            raise RefusedError("not now")
        return sealed[::-1]

    async def recognise(self, sought, challenge):
        if not PARTNER.is_tag(sought.tag, challenge, sought.nonce):
            return None
        return PARTNER.seal(pack_text(b"whereabouts", SEALED_TEXT_BYTES), challenge, sought.nonce)


@asynccontextmanager
async def opened(house=None, *, interface=LOOPBACK, clock=None):
    made = Door(interface, house or House(), clock or TurnedClock())
    await made.open()
    try:
        yield made, Place(tuple(made.places()), made.port)
    finally:
        await made.close()


async def ask_raw(place, question):
    """Return all that the door says after its greeting."""
    reader, writer = await asyncio.open_connection(place.addresses[0], place.port)
    try:
        await reader.readexactly(HELLO_BYTES)
        writer.write(question)
        return await reader.read()
    finally:
        writer.close()


def test_a_door_shows_its_listing_and_answers_a_knock_and_a_partner():
    async def scenario():
        house = House()
        async with opened(house) as (_, place):
            assert await fetch_listing(place) == b"signed"
            assert await knock_at(place, KNOCK) == KNOCK[::-1]
            assert house.heard == [KNOCK]
            assert await seek_at(place, PARTNER) == b"whereabouts"

    asyncio.run(scenario())


def test_a_stranger_gets_as_many_bytes_as_a_partner_and_learns_nothing_of_them():
    async def scenario():
        async with opened() as (_, place):
            assert await seek_at(place, STRANGER) is None
            answers = [await ask_raw(place, pack_question(Kind.SEEK, b"x" * 64)) for _ in range(2)]
            assert [len(answer) for answer in answers] == [ANSWER_BYTES] * 2
            assert answers[0] != answers[1]

    asyncio.run(scenario())


def test_every_question_and_every_answer_has_one_size():
    assert {len(pack_question(kind)) for kind in Kind} == {QUESTION_BYTES}

    async def scenario():
        async with opened(House(listing=b"")) as (_, place):
            assert await fetch_listing(place) == b""
            sizes = {len(await ask_raw(place, pack_question(kind))) for kind in Kind}
            assert sizes == {ANSWER_BYTES}

    asyncio.run(scenario())


def test_a_knock_that_is_not_answered_ends_the_connection_without_a_word():
    async def scenario():
        async with opened(House(is_deaf=True)) as (_, place):
            assert await ask_raw(place, pack_question(Kind.KNOCK, KNOCK)) == b""
            with pytest.raises(Unavailable, match="no answer"):
                await knock_at(place, KNOCK)

    asyncio.run(scenario())


@pytest.mark.parametrize("question", [bytes(QUESTION_BYTES), b"\x09" + bytes(QUESTION_BYTES - 1)])
def test_a_question_that_nobody_knows_ends_the_connection_without_a_word(question):
    async def scenario():
        async with opened() as (_, place):
            assert await ask_raw(place, question) == b""

    asyncio.run(scenario())
    with pytest.raises(ProtocolViolation, match="unknown"):
        unpack_question(question)


def test_who_does_not_ask_in_time_is_turned_out(monkeypatch):
    monkeypatch.setattr(door, "LAN_REQUEST_S", 0.05)

    async def scenario():
        async with opened() as (_, place):
            assert await ask_raw(place, b"\x01") == b""

    asyncio.run(scenario())


def test_one_address_does_not_fill_the_door_nor_do_all_together():
    async def scenario():
        async with opened() as (made, place):
            inside = [
                await asyncio.open_connection(place.addresses[0], place.port) for _ in range(LAN_DOOR_PER_ADDRESS)
            ]
            for reader, _ in inside:
                await reader.readexactly(HELLO_BYTES)
            with pytest.raises(Unavailable):
                await fetch_listing(place)
            made._inside["127.0.0.9"] = LAN_DOOR_CONNECTIONS - LAN_DOOR_PER_ADDRESS
            assert not made._may_enter("127.0.0.2"), "the door is full"
            made._inside.clear()
            assert made._may_enter("127.0.0.2")
            for _, writer in inside:
                writer.close()

    asyncio.run(scenario())


def test_an_address_asks_so_often_a_minute_and_of_a_crowd_the_oldest_are_forgotten():
    clock = TurnedClock()
    made = Door(Interface("wide", (ip_interface("10.0.0.1/8"),)), House(), clock)
    assert sum(made._may_enter("10.0.0.2") for _ in range(LAN_DOOR_PER_MINUTE + 5)) == LAN_DOOR_PER_MINUTE
    clock.turn(60)
    assert made._may_enter("10.0.0.2")
    for number in range(LAN_DOOR_ADDRESSES + 10):
        made._may_enter(f"10.1.{number // 256}.{number % 256}")
    assert len(made._asked) == LAN_DOOR_ADDRESSES


def test_who_is_not_of_the_network_is_not_let_in():
    made = Door(Interface("home", (ip_interface("192.168.7.2/24"), ip_interface("fd00::2/64"))), House(), TurnedClock())
    assert made._may_enter("192.168.7.9")
    assert made._may_enter("fd00::9")
    assert not made._may_enter("192.168.8.9")
    assert not made._may_enter("203.0.113.5")
    assert not made._may_enter("fe80::1%eth0")
    assert not made._may_enter("")


def test_nothing_is_sent_to_a_service_that_is_no_door(monkeypatch):
    monkeypatch.setattr(asking, "LAN_CONNECT_S", 0.2)
    heard = []

    async def scenario(greeting):
        heard.clear()
        done = asyncio.Event()

        async def printer(reader, writer):
            writer.write(greeting)
            heard.append(await reader.read())
            writer.close()
            done.set()

        server = await asyncio.start_server(printer, "127.0.0.1", 0)
        place = Place(("127.0.0.1",), server.sockets[0].getsockname()[1])
        try:
            with pytest.raises((Unavailable, ProtocolViolation)):
                await knock_at(place, KNOCK)
            await done.wait()
        finally:
            server.close()
        assert heard == [b""]

    for greeting in (b"", b"220 mail ready\r\n", b"220 ".ljust(HELLO_BYTES), GREETING[:-1] + b"\x02" + bytes(32)):
        asyncio.run(scenario(greeting))


def test_a_door_that_hangs_or_breaks_off_is_given_up(monkeypatch):
    monkeypatch.setattr(asking, "LAN_ANSWER_S", 0.1)

    async def scenario(answer, *, hangs):
        end = asyncio.Event()

        async def false_door(reader, writer):
            writer.write(GREETING + bytes(32))
            with suppress(asyncio.IncompleteReadError):
                await reader.readexactly(QUESTION_BYTES)
            writer.write(answer)
            if hangs:
                await end.wait()
            writer.close()

        server = await asyncio.start_server(false_door, "127.0.0.1", 0)
        place = Place(("127.0.0.1",), server.sockets[0].getsockname()[1])
        try:
            return await fetch_listing(place)
        finally:
            end.set()
            server.close()

    for answer, hangs in ((b"", True), (b"x" * 100, True), (b"x" * 100, False)):
        with pytest.raises(Unavailable, match="no answer"):
            asyncio.run(scenario(answer, hangs=hangs))
    with pytest.raises(ProtocolViolation, match="malformed"):
        asyncio.run(scenario(b"\xff" * ANSWER_BYTES, hangs=False))


def test_a_second_address_is_tried_where_the_first_does_not_answer():
    async def scenario():
        async with opened() as (_, place):
            assert await fetch_listing(Place(("127.9.9.9", *place.addresses), place.port)) == b"signed"
        with pytest.raises(Unavailable):
            await fetch_listing(Place((), 1))

    asyncio.run(scenario())


@pytest.mark.parametrize("data", [b"\x00\x05abc", b"\x00\x01ab", b"\xff\xff"])
def test_a_text_that_is_not_as_long_as_it_says_is_refused(data):
    with pytest.raises(ProtocolViolation, match="malformed"):
        unpack_text(data)


def test_an_answer_that_was_changed_on_its_way_is_no_answer():
    challenge, nonce = b"c" * 32, b"n" * 32
    sealed = bytearray(PARTNER.seal(pack_text(b"here", SEALED_TEXT_BYTES), challenge, nonce))
    assert len(sealed) == ANSWER_BYTES
    sealed[7] ^= 1
    with pytest.raises(IntegrityFault):
        PARTNER.open(bytes(sealed), challenge, nonce)


def test_a_door_that_can_not_be_opened_says_so():
    with pytest.raises(Unavailable, match="no door"):
        asyncio.run(Door(Interface("gone", (ip_interface("203.0.113.77/24"),)), House(), TurnedClock()).open())


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_a_door_stands_at_all_addresses_of_a_card_on_one_port():
    both = Interface("lo", (ip_interface("127.0.0.1/8"), ip_interface("::1/64")))

    async def scenario():
        async with opened(interface=both) as (made, place):
            assert place.addresses == ("127.0.0.1", "::1")
            for address in place.addresses:
                assert await fetch_listing(Place((address,), made.port)) == b"signed"

    asyncio.run(scenario())
