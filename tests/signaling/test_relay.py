"""The relay inside a server, from the real client's side and from that of one who does not keep to the protocol."""

import asyncio
import os
import socket
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from backuppeer import limits
from backuppeer.clock import SystemClock
from backuppeer.crypto.identity import SigningKey
from backuppeer.crypto.relay import relay_proof_bytes
from backuppeer.ids import TransportId
from backuppeer.signaling.asking import ask_relay, observer_address, read_observers, relay_url
from backuppeer.signaling.messages import RelayIs
from backuppeer.signaling.observers import ObserverPlace, pack_observer
from backuppeer.signaling.server.metrics import Metrics
from backuppeer.signaling.server.relay import relay as relay_module
from backuppeer.signaling.server.relay import relaying as relaying_module
from backuppeer.signaling.server.relay.admissions import Admissions
from backuppeer.signaling.server.relay.relay import FRAME_BYTES, SUBPROTOCOLS
from backuppeer.signaling.server.relay.relaying import Relaying
from backuppeer.transport.base import PathKind
from backuppeer.transport.iroh import asking as asking_module
from backuppeer.transport.iroh import observer as observer_module
from backuppeer.transport.iroh import open_iroh
from signaling.kit import TurnedClock, run, serving, until

MIB = 1 << 20


@asynccontextmanager
async def relaying(**changes):
    made = Relaying(SystemClock(), **changes)
    async with serving(relaying=made) as served:
        yield served, made


@asynccontextmanager
async def peers(count):
    made = [await open_iroh(os.urandom(32), bind=["127.0.0.1:0"]) for _ in range(count)]
    try:
        yield made
    finally:
        await asyncio.gather(*(each.close() for each in made))


async def be_found(transport, server):
    assert (await ask_relay(server.url, transport.transport_id)).life_s == limits.RELAY_LIFE_S
    await transport.use_relay(relay_url(server.url))
    await until(lambda: transport.home_relay)


class Raw:
    """A client that speaks the relay protocol by hand."""

    def __init__(self, key: SigningKey, connection) -> None:
        self.key, self.connection = key, connection

    async def send(self, frame: bytes) -> None:
        await self.connection.send(frame)

    async def receive(self) -> bytes:
        return await self.connection.recv()

    async def flush(self) -> None:
        """Return once the relay has read all that was sent."""
        await self.send(b"\x09" + bytes(8))
        while await self.receive() != b"\x0a" + bytes(8):
            pass


async def answer_challenge(connection, key, *, signs=None):
    challenge = await connection.recv()
    assert challenge[0] == 0
    proof = signs(challenge[1:]) if signs else sign_raw(key, challenge[1:])
    await connection.send(b"\x01" + key.public + b"\x40" + proof)
    return await connection.recv()


def sign_raw(key: SigningKey, challenge: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(key.seed()).sign(relay_proof_bytes(challenge))


@asynccontextmanager
async def raw_client(served, made=None, key=None):
    key = key or SigningKey.generate()
    if made is not None:
        assert made.admissions.admit(key.public, "a network")
    subprotocols = [Subprotocol(name) for name in SUBPROTOCOLS]
    async with connect(f"{served.url}/relay", subprotocols=subprotocols, compression=None) as connection:
        assert await answer_challenge(connection, key) == b"\x02"
        yield Raw(key, connection)


def test_peers_that_know_no_address_of_each_other_meet_at_the_relay_and_go_on_directly():
    async def scene():
        async with relaying() as (served, made), peers(2) as (host, owner):
            await be_found(host, served)
            await ask_relay(served.url, owner.transport_id)
            dialled = await owner.dial(host.transport_id, [], relay=relay_url(served.url))
            accepted = await host.accept()
            out = await dialled.open_stream()
            await out.write(b"x" * MIB)
            there = await accepted.accept_stream()
            assert await there.read_exact(MIB) == b"x" * MIB
            assert made.relay.counters.forwarded_bytes > 0
            assert dict(made.admissions._of) == {"127.0.0.0/24": 2}
            await until(lambda: dialled.path().kind is PathKind.DIRECT)  # both are on one machine

    run(scene())


def test_the_figures_of_a_server_show_what_its_relay_did():
    async def scene():
        async with relaying() as (served, made), raw_client(served, made) as a, raw_client(served, made) as b:
            await a.send(b"\x04" + b.key.public + b"\x00hello")
            await b.receive()
            await until(lambda: made.relay.counters.forwarded_bytes)
            metrics = Metrics()
            metrics.watch_relay(made.relay.counters)
            text = metrics.render().decode()
            assert "backuppeer_relay_clients 2.0" in text
            assert f"backuppeer_relay_forwarded_bytes {2 + 32 + 5}.0" in text

    run(scene())


def test_a_key_that_nobody_admitted_is_told_to_ask_first_and_closed():
    async def scene():
        async with relaying() as (served, made):
            subprotocols = [Subprotocol(name) for name in SUBPROTOCOLS]
            async with connect(f"{served.url}/relay", subprotocols=subprotocols, compression=None) as connection:
                answer = await answer_challenge(connection, SigningKey.generate())
                assert answer[:1] == b"\x03"
                assert answer[2:] == b"ask the signaling server for admission first"
                with pytest.raises(ConnectionClosed):
                    await connection.recv()
            assert (made.relay.counters.denied, made.relay.counters.clients) == (1, 0)

    run(scene())


def test_an_admitted_key_is_no_use_to_who_does_not_hold_it():
    async def scene():
        async with relaying() as (served, made):
            victim = SigningKey.generate()
            made.admissions.admit(victim.public, "a network")
            subprotocols = [Subprotocol(name) for name in SUBPROTOCOLS]
            async with connect(f"{served.url}/relay", subprotocols=subprotocols, compression=None) as connection:
                thief = SigningKey.generate()
                answer = await answer_challenge(connection, victim, signs=lambda c: sign_raw(thief, c))
                assert answer[2:] == b"the proof does not hold"

    run(scene())


def test_a_datagram_is_delivered_with_the_senders_key_in_place_of_the_receivers():
    async def scene():
        async with relaying() as (served, made), raw_client(served, made) as a, raw_client(served, made) as b:
            await a.send(b"\x04" + b.key.public + b"\x00hello")
            assert await b.receive() == b"\x06" + a.key.public + b"\x00hello"
            await b.send(b"\x05" + a.key.public + b"\x00\x00\x02hiho")
            assert await a.receive() == b"\x07" + b.key.public + b"\x00\x00\x02hiho"

    run(scene())


def test_a_client_of_which_many_small_frames_were_read_lets_others_work_between(monkeypatch):
    async def scene():
        async with relaying() as (served, made), raw_client(served, made) as a, raw_client(served, made) as b:
            heard, others = [], []
            hear = made.relay._hear

            async def listen(client, frame):
                heard.append(frame)
                await hear(client, frame)

            async def work():
                while True:
                    others.append(len(heard))
                    await asyncio.sleep(0)

            monkeypatch.setattr(made.relay, "_hear", listen)
            task = asyncio.ensure_future(work())
            for _ in range(500):
                a.connection.protocol.send_binary(b"\x04" + b.key.public + b"\x00x")
            a.connection.transport.write(b"".join(a.connection.protocol.data_to_send()))
            await until(lambda: made.relay.counters.forwarded_frames == 500)
            task.cancel()
            assert max(after - before for before, after in pairwise(others)) <= 32

    run(scene())


def test_who_is_not_there_or_leaves_is_said_to_be_gone():
    async def scene():
        async with relaying() as (served, made), raw_client(served, made) as a:
            await a.send(b"\x04" + bytes(32) + b"\x00hello")
            assert await a.receive() == b"\x08" + bytes(32)
            async with raw_client(served, made) as b:
                await b.send(b"\x04" + a.key.public + b"\x00hello")
                assert (await a.receive())[:1] == b"\x06"
            assert await a.receive() == b"\x08" + b.key.public

    run(scene())


def test_a_key_that_connects_again_takes_over_from_its_former_connection():
    async def scene():
        async with relaying() as (served, made), raw_client(served, made) as a:
            async with raw_client(served, made, key=a.key) as again:
                assert await a.receive() == b"\x0d\x01"
                with pytest.raises(ConnectionClosed):
                    await a.receive()
                await again.flush()
            assert made.relay.counters.clients <= 1

    run(scene())


def test_what_waited_of_a_connection_that_was_taken_over_is_on_nobodys_account_any_more():
    async def scene():
        async with relaying() as (served, made), raw_client(served, made) as a, raw_client(served, made) as b:
            turns, former = made.relay._turns, made.relay._clients[a.key.public]
            datagram = b"\x04" + b.key.public + b"\x00hello"
            await a.send(datagram)
            await b.receive()
            assert a.key.public in turns._senders
            async with raw_client(served, made, key=a.key):
                assert a.key.public not in turns._senders, "of whichever network it comes now, it counts there"
                await made.relay._pass_on(former, datagram)
                assert not turns._flows

    run(scene())


@pytest.mark.parametrize("frame", [b"", b"\x63", b"\x04", b"\x04" + bytes(32), b"\x09short", b"\x01" + bytes(97)])
def test_a_frame_that_is_out_of_place_closes_the_connection(frame):
    async def scene():
        async with relaying() as (served, made), raw_client(served, made) as a:
            await a.send(frame)
            with pytest.raises(ConnectionClosed) as caught:
                await a.receive()
            assert caught.value.rcvd.code == 4400

    run(scene())


def test_a_frame_above_the_cap_closes_the_connection_and_one_at_it_passes():
    async def scene():
        async with relaying() as (served, made), raw_client(served, made) as a, raw_client(served, made) as b:
            frame = (b"\x04" + b.key.public).ljust(FRAME_BYTES, b"\x00")
            await a.send(frame)
            assert len(await b.receive()) == FRAME_BYTES
            await a.send(frame + b"\x00")
            with pytest.raises(ConnectionClosed) as caught:
                await a.receive()
            assert caught.value.rcvd.code == 1009

    run(scene())


def test_a_client_that_sends_to_more_others_than_it_may_is_closed(monkeypatch):
    monkeypatch.setattr(limits, "RELAY_PAIRS", 1)

    async def scene():
        async with relaying() as (served, made), raw_client(served, made) as a, raw_client(served, made) as b:  # noqa: SIM117
            async with raw_client(served, made) as c:
                await a.send(b"\x04" + b.key.public + b"\x00hello")
                await a.send(b"\x04" + c.key.public + b"\x00hello")
                with pytest.raises(ConnectionClosed):
                    await a.receive()

    run(scene())


def test_the_pair_of_one_that_left_makes_room_for_another(monkeypatch):
    monkeypatch.setattr(limits, "RELAY_PAIRS", 1)

    async def scene():
        async with relaying() as (served, made), raw_client(served, made) as a, raw_client(served, made) as c:
            async with raw_client(served, made) as b:
                await a.send(b"\x04" + b.key.public + b"\x00hello")
                await b.receive()
            await until(lambda: made.relay.counters.clients == 2)
            await a.send(b"\x04" + c.key.public + b"\x00hello")
            assert (await c.receive())[:1] == b"\x06"

    run(scene())


def test_a_relay_that_is_full_lets_nobody_else_in():
    async def scene():
        async with relaying() as (served, made), raw_client(served, made):
            made.relay._most = 1
            with pytest.raises(AssertionError):
                async with raw_client(served, made):
                    pass

    run(scene())


async def hang_up_in_the_handshake(served, key):
    """Send proof and close in one write, so that the server reads the close before it confirms."""
    subprotocols = [Subprotocol(name) for name in SUBPROTOCOLS]
    async with connect(f"{served.url}/relay", subprotocols=subprotocols, compression=None) as connection:
        challenge = await connection.recv()
        connection.protocol.send_binary(b"\x01" + key.public + b"\x40" + sign_raw(key, challenge[1:]))
        connection.protocol.send_close(1000)
        connection.transport.write(b"".join(connection.protocol.data_to_send()))
        await connection.wait_closed()


def test_who_hangs_up_in_the_handshake_takes_no_place():
    async def scene():
        async with relaying() as (served, made):
            made.relay._most = 1
            for _ in range(2):
                key = SigningKey.generate()
                made.admissions.admit(key.public, "a network")
                await hang_up_in_the_handshake(served, key)
            await until(lambda: made.relay.counters.denied == 2)
            assert made.relay.counters.clients == 0
            async with raw_client(served, made) as honest:
                await honest.flush()

    run(scene())


def test_a_receiver_that_does_not_read_loses_datagrams_and_holds_nobody_up(monkeypatch):
    monkeypatch.setattr(limits, "RELAY_SEND_BYTES", 64 * 1024)

    async def scene():
        async with relaying() as (served, made), raw_client(served, made) as a, raw_client(served, made) as b:  # noqa: SIM117
            async with raw_client(served, made) as deaf:
                deaf.connection.transport.pause_reading()
                frame = (b"\x04" + deaf.key.public).ljust(FRAME_BYTES, b"\x00")
                while not made.relay.counters.dropped_slow:
                    await a.send(frame)
                    await a.flush()
                await a.send(b"\x04" + b.key.public + b"\x00hello")
                assert (await b.receive())[33:] == b"\x00hello"
                deaf.connection.transport.abort()

    run(scene())


def test_a_receiver_whose_line_is_full_holds_nobody_up_whatever_is_for_it():
    async def scene():
        async with relaying() as (served, made), raw_client(served, made) as a, raw_client(served, made) as b:  # noqa: SIM117
            async with raw_client(served, made) as full:
                line = made.relay._clients[full.key.public].connection
                line.pause_writing()  # as asyncio does above the mark, and until far below it
                await a.send(b"\x04" + full.key.public + b"\x00datagram")
                await a.send(b"\x04" + b.key.public + b"\x00hello")
                assert (await b.receive())[33:] == b"\x00hello"
                assert made.relay.counters.dropped_slow == 1
                from_a = made.relay._clients[a.key.public].connection
                await a.connection.close()  # which the other one can't be told
                await until(lambda: not from_a._is_attended)
                async with raw_client(served, made, full.key) as again:  # nor that this takes over
                    await again.flush()
                await until(lambda: line.is_lost)

    run(scene())


def test_a_client_whose_admission_lapsed_is_closed():
    async def scene():
        clock = TurnedClock()
        made = Relaying(clock)
        async with serving(relaying=made) as served, raw_client(served, made) as a:
            task = asyncio.ensure_future(made.relay._sweep(0.01))
            await a.flush()
            clock.turn(limits.RELAY_LIFE_S + 1)
            with pytest.raises(ConnectionClosed):
                await a.receive()
            task.cancel()

    run(scene())


def test_clients_that_do_not_answer_a_close_hold_up_no_other_whose_admission_lapsed(monkeypatch):
    monkeypatch.setattr(limits, "SERVER_CLOSE_S", 3600)

    async def scene():
        clock = TurnedClock()
        made = Relaying(clock)
        async with serving(relaying=made) as served, raw_client(served, made) as deaf, raw_client(served, made) as a:
            deaf.connection.transport.pause_reading()
            clock.turn(limits.RELAY_LIFE_S + 1)
            task = asyncio.ensure_future(made.relay._sweep(0.01))
            with pytest.raises(ConnectionClosed):
                await a.receive()
            task.cancel()
            deaf.connection.transport.abort()

    run(scene())


def test_the_place_of_a_connection_that_is_gone_is_swept():
    async def scene():
        async with relaying() as (served, made), raw_client(served, made) as a:
            client = made.relay._clients[a.key.public]
            await a.connection.close()
            await until(lambda: not made.relay._clients)
            made.relay._clients[a.key.public] = client  # as if it had been forgotten
            task = asyncio.ensure_future(made.relay._sweep(0.01))
            await until(lambda: not made.relay._clients)
            task.cancel()

    run(scene())


def test_a_server_without_a_relay_says_so_and_has_no_such_path():
    async def scene():
        async with serving() as served:
            assert (await ask_relay(served.url, TransportId(bytes(32)))).life_s == 0
            with pytest.raises(InvalidStatus) as caught:
                async with connect(f"{served.url}/relay", subprotocols=[Subprotocol(SUBPROTOCOLS[0])]):
                    pass
            assert caught.value.response.status_code == 404

    run(scene())


def test_signaling_goes_on_beside_the_relay_and_speaks_its_own_protocol_only():
    async def scene():
        async with relaying() as (served, _):
            with pytest.raises(InvalidStatus) as caught:
                async with connect(served.url, subprotocols=[Subprotocol(SUBPROTOCOLS[0])]):
                    pass
            assert caught.value.response.status_code == 400
            with pytest.raises(InvalidStatus):
                async with connect(f"{served.url}/relay", subprotocols=[Subprotocol("backup-peer.v1")]):
                    pass

    run(scene())


def test_an_observer_tells_where_it_sees_the_socket_that_asks_and_answers_only_who_is_admitted():
    async def scene():
        async with relaying(may_loopback=True) as (served, _), peers(2) as (asker, stranger):
            answer = await ask_relay(served.url, asker.transport_id)
            places = read_observers(answer)
            assert [place.version for place in places] == [4, 4]
            for place in places:
                seen = await asker.observe(place.transport, f"127.0.0.1:{place.port}")
                assert seen in asker.bound()
            place = places[0]
            assert await stranger.observe(place.transport, f"127.0.0.1:{place.port}") == ""

    run(scene())


def test_admissions_lapse_and_are_renewed_and_counted_by_network():
    clock = TurnedClock()
    held = Admissions(clock, life_s=10, most=3, per_network=2)
    one, two, three, four = (bytes([number]) * 32 for number in range(4))
    assert held.admit(one, "a")
    assert held.admit(two, "a")
    assert not held.admit(three, "a")
    assert held.admit(three, "b")
    assert not held.admit(four, "c")
    clock.turn(6)
    assert held.admit(one, "c")  # stays on the account of its first network
    clock.turn(5)
    assert (held.holds(one), held.holds(two)) == (True, False)
    assert held.admit(four, "a")
    assert not held.admit(two, "a")


def test_frames_that_the_real_client_sends_fit_into_the_cap():
    assert relay_module.FRAME_BYTES == 1 + 64 * 1024


def test_an_observer_answers_so_many_at_once_and_refuses_the_rest(monkeypatch):
    monkeypatch.setattr(observer_module, "OBSERVER_CONNECTIONS", 0)

    async def scene():
        async with relaying(may_loopback=True) as (served, _), peers(1) as (asker,):
            place = read_observers(await ask_relay(served.url, asker.transport_id))[0]
            assert await asker.observe(place.transport, f"127.0.0.1:{place.port}") == ""

    run(scene())


def test_an_observer_that_does_not_answer_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(asking_module, "OBSERVER_S", 0.05)

    async def scene():
        async with peers(1) as (asker,):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
                deaf.bind(("127.0.0.1", 0))
                assert await asker.observe(TransportId(asker.transport_id), f"127.0.0.1:{deaf.getsockname()[1]}") == ""

    run(scene())


def test_observers_listen_beside_the_server_but_not_for_this_machine_alone():
    def plan(*listening, may_loopback=False):
        return relaying_module._plan_observers(listening, may_loopback=may_loopback)

    both = ["192.0.2.1:443", "192.0.2.1:444", "[::]:443", "[::]:444"]
    assert plan(("192.0.2.1", 443), ("::", 443)) == both
    assert plan(("203.0.113.1", 65535)) == ["203.0.113.1:65535", "203.0.113.1:0"]
    assert plan(("127.0.0.1", 443), ("::1", 443)) == []
    assert plan(("127.0.0.1", 443), may_loopback=True) == ["127.0.0.1:443", "127.0.0.1:444"]


def test_what_a_server_says_of_observers_is_read_and_what_is_malformed_left_out():
    place = ObserverPlace(TransportId(b"t" * 32), 443, 6)
    bad = [b"t" * 32 + b"\0\0\6", b"t" * 32 + b"\1\1\5"]
    assert read_observers(RelayIs(1, [*bad, pack_observer(place)])) == [place]
    assert observer_address("2001:db8::1", place) == "[2001:db8::1]:443"


@pytest.mark.parametrize(
    ("server", "relay"),
    [
        ("wss://one.example", "https://one.example"),
        ("ws://127.0.0.1:8443", "http://127.0.0.1:8443"),
        ("ws://[2001:db8::1]:8443", "http://[2001:db8::1]:8443"),
        ("wss://one.example/below", ""),
    ],
)
def test_a_relay_has_the_address_of_its_server(server, relay):
    assert relay_url(server) == relay


def test_no_log_of_the_relay_names_a_key_or_an_address(caplog):
    async def scene():
        async with relaying() as (served, made), raw_client(served, made) as a:
            await a.send(b"\x63")
            with pytest.raises(ConnectionClosed):
                await a.receive()
            return a.key.public.hex()

    with caplog.at_level("DEBUG"):
        key = asyncio.run(asyncio.wait_for(scene(), 20))
    said = [record.getMessage() for record in caplog.records if record.name.startswith("backuppeer")]
    assert any("a relay frame of type 99" in text for text in said)
    assert not any(key[:8] in text or "127.0.0.1" in text for text in said)
