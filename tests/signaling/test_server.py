"""The real server on loopback, spoken to by honest and hostile sockets."""

import asyncio
import logging
from contextlib import AsyncExitStack

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from backuppeer import limits
from backuppeer.crypto.identity import Purpose, SigningKey
from backuppeer.errors import Unavailable, UserError
from backuppeer.signaling.client import open_link
from backuppeer.signaling.messages import (
    SUBPROTOCOL,
    Browse,
    Challenge,
    CloseCode,
    Deposit,
    Deposited,
    InboxOpen,
    Message,
    OpenInbox,
    Page,
    ProveInbox,
    Publish,
    Published,
    Refusal,
    Taken,
    encode,
    inbox_proof_blob,
)
from backuppeer.signaling.server.caps import Caps
from backuppeer.signaling.server.desk import Desk
from backuppeer.signaling.server.door import Door, coarse_address
from backuppeer.signaling.server.process import parse_listen, run_server
from backuppeer.signaling.servers import authority
from signaling.kit import HOUR_MS, Host, TurnedClock, WatchedEngine, run, serving

SEALED = b"s" * limits.KNOCK_BYTES


def raw(url, **options):
    return connect(url, subprotocols=[SUBPROTOCOL], compression=None, proxy=None, **options)


async def close_code(socket):
    while True:
        try:
            await socket.recv()
        except ConnectionClosed as exc:
            return exc.rcvd.code if exc.rcvd else None


async def open_inbox(link, key, *, origin=None):
    challenge = await link.ask(OpenInbox(key.public), Challenge)
    blob = inbox_proof_blob(challenge.nonce, origin or authority(link.url), key.public)
    await link.ask(ProveInbox(key.sign(Purpose.INBOX, blob)), InboxOpen)


async def page(url):
    async with open_link(url) as link:
        return await link.ask(Browse(b"", limits.PAGE_LISTINGS), Page)


async def http(port, path, *, headers=""):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


def test_health_and_ready_answer_over_plain_http_on_the_same_port():
    async def story():
        async with serving() as server:
            assert b" 200 " in await http(server.port, "/health")
            assert b" 200 " in await http(server.port, "/ready")
            assert b" 404 " in await http(server.port, "/elsewhere")
            assert b"Server:" not in await http(server.port, "/health")

    run(story())


def test_a_published_listing_is_handed_out_and_a_tombstone_ends_it():
    async def story():
        host = Host()
        async with serving() as server, open_link(server.url) as link:
            assert await link.ask(Publish(host.signed()), Published) == Published(accepted=True, code="")
            assert (await page(server.url)).rows == [host.signed()]
            await link.ask(Publish(host.tombstone(host.listing().seq + 1)), Published)
            assert (await page(server.url)).rows == []
            stale = await link.ask(Publish(host.signed()), Published)
            assert stale == Published(accepted=False, code=Refusal.STALE)

    run(story())


def test_forged_altered_expired_and_future_listings_are_refused():
    async def story():
        host, liar = Host(), SigningKey.generate()
        good = host.signed()
        blob = good[4:-64]
        async with serving() as server:
            now_ms = server.clock.now_ms()
            bad = [
                good[:-1] + bytes([good[-1] ^ 1]),
                good[:300] + b"\xff" + good[301:],
                good[:4] + blob + liar.sign(Purpose.LISTING, blob),
                good[:4] + blob + host.key.sign(Purpose.KNOCK, blob),
                host.signed(now_ms=now_ms - 4 * HOUR_MS),
                host.signed(now_ms=now_ms + 3 * HOUR_MS),
                host.signed(now_ms + 49 * HOUR_MS),
                b"",
            ]
            async with open_link(server.url) as link:
                for signed in bad:
                    assert (await link.ask(Publish(signed), Published)).code == Refusal.INVALID
            assert (await page(server.url)).rows == []
            assert server.engine.record == []

    run(story())


def test_of_two_racing_publications_the_higher_number_stays():
    async def story():
        host = Host()
        seq = host.listing().seq
        async with serving() as server, open_link(server.url) as one, open_link(server.url) as two:
            first, second = await asyncio.gather(
                one.ask(Publish(host.signed(seq + 1)), Published), two.ask(Publish(host.signed(seq)), Published)
            )
            assert first.accepted
            assert second.accepted or second.code == Refusal.STALE
            assert (await page(server.url)).rows == [host.signed(seq + 1)]

    run(story())


def test_a_listing_vanishes_a_minute_after_its_publishers_connection():
    async def story():
        host = Host()
        async with serving() as server:
            async with open_link(server.url) as link:
                await link.ask(Publish(host.signed()), Published)
            assert await server.engine.lost.get() == host.peer
            server.clock.turn(limits.LISTING_GRACE_S - 1)
            await server.engine.sweep()
            assert len((await page(server.url)).rows) == 1
            server.clock.turn(1)
            await server.engine.sweep()
            assert (await page(server.url)).rows == []

    run(story())


def test_an_aborted_connection_is_noticed_and_logs_no_traceback(caplog):
    async def story():
        host = Host()
        async with serving() as server:
            socket = await raw(server.url)
            await socket.send(encode(Publish(host.signed())))
            await socket.recv()
            socket.transport.abort()
            assert await server.engine.lost.get() == host.peer

    with caplog.at_level(logging.DEBUG):
        run(story())
    ours = [r for r in caplog.records if r.name.startswith("backuppeer")]
    assert not [r for r in ours if r.exc_info]
    assert "127.0.0.1" not in "".join(r.getMessage() for r in ours)


def test_a_socket_publishes_for_one_peer_only():
    async def story():
        async with serving() as server, raw(server.url) as socket:
            await socket.send(encode(Publish(Host().signed())))
            await socket.send(encode(Publish(Host().signed())))
            assert await close_code(socket) == CloseCode.MALFORMED

    run(story())


def test_the_owner_of_an_inbox_gets_what_was_left_and_what_comes():
    async def story():
        key = SigningKey.generate()
        async with serving() as server:
            async with open_link(server.url) as owner:
                await open_inbox(owner, key)
            await server.engine.left.get()
            async with open_link(server.url) as sender:
                await sender.ask(Deposit(key.public, SEALED), Deposited)
            async with open_link(server.url) as owner, open_link(server.url) as sender:
                await open_inbox(owner, key)
                first = await owner.receive(Message)
                await sender.ask(Deposit(key.public, b"t" * limits.KNOCK_BYTES), Deposited)
                second = await owner.receive(Message)
                assert (first.sealed[:1], second.sealed[:1]) == (b"s", b"t")
                await owner.send(Taken(first.number))
            await server.engine.left.get()
            assert [m.sealed[:1] for m in await server.engine.waiting(key.public)] == [b"t"]

    run(story())


def test_deposits_to_known_unknown_and_full_inboxes_are_answered_alike():
    async def story():
        known = SigningKey.generate()
        async with serving(Caps(inbox_messages=2)) as server:
            async with open_link(server.url) as owner:
                await open_inbox(owner, known)
            await server.engine.left.get()
            answers = []
            async with raw(server.url) as socket:
                for inbox in (known.public, b"u" * 32, known.public, known.public, known.public):
                    await socket.send(encode(Deposit(inbox, SEALED)))
                    answers.append(await socket.recv())
            assert len(set(answers)) == 1
            assert len(await server.engine.waiting(known.public)) == 2

    run(story())


def test_an_inbox_is_not_opened_by_another_key_or_a_used_challenge():
    async def story():
        victim, thief = SigningKey.generate(), SigningKey.generate()
        async with serving() as server:
            async with raw(server.url) as socket:
                await socket.send(encode(OpenInbox(victim.public)))
                nonce = msgspec.msgpack.decode(await socket.recv())["nonce"]
                blob = inbox_proof_blob(nonce, authority(server.url), victim.public)
                await socket.send(encode(ProveInbox(thief.sign(Purpose.INBOX, blob))))
                assert await close_code(socket) == CloseCode.UNPROVEN
            proof = victim.sign(Purpose.INBOX, blob)
            async with raw(server.url) as socket:
                await socket.send(encode(OpenInbox(victim.public)))
                await socket.recv()
                await socket.send(encode(ProveInbox(proof)))
                assert await close_code(socket) == CloseCode.UNPROVEN
            assert victim.public not in server.engine.record

    run(story())


@pytest.mark.parametrize("purpose", [p for p in Purpose if p is not Purpose.INBOX])
def test_a_signature_for_another_purpose_opens_no_inbox(purpose):
    async def story():
        key = SigningKey.generate()
        async with serving() as server, raw(server.url) as socket:
            await socket.send(encode(OpenInbox(key.public)))
            nonce = msgspec.msgpack.decode(await socket.recv())["nonce"]
            proof = key.sign(purpose, inbox_proof_blob(nonce, authority(server.url), key.public))
            await socket.send(encode(ProveInbox(proof)))
            assert await close_code(socket) == CloseCode.UNPROVEN

    run(story())


def test_a_proof_made_for_another_server_is_refused():
    """A hostile server passes the honest one's challenge on; the victim signs it, but for the name it dialled."""

    async def story():
        victim = SigningKey.generate()
        async with serving() as honest, serving() as hostile, open_link(honest.url) as relayed:
            challenge = await relayed.ask(OpenInbox(victim.public), Challenge)
            blob = inbox_proof_blob(challenge.nonce, authority(hostile.url), victim.public)
            with pytest.raises(Unavailable, match="4401"):
                await relayed.ask(ProveInbox(victim.sign(Purpose.INBOX, blob)), InboxOpen)
            assert honest.engine.record == []

    run(story())


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1:1", "10.0.0.1:{port}", "[::2]:{port}", "", "evil.example:{port}"]
)
def test_a_server_dialled_by_a_name_that_is_not_its_own_refuses(host):
    async def story():
        async with serving() as server:
            name = host.format(port=server.port)
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(
                f"GET / HTTP/1.1\r\nHost: {name}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
                f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n".encode()
            )
            assert b" 421 " in await reader.readline()
            writer.transport.abort()

    run(story())


ANYWHERE = "0.0.0.0"  # noqa: S104 - nothing is bound to it here


@pytest.mark.parametrize("name", ["localhost", "ip6-localhost", "127.0.0.1", "127.9.9.9", "[::1]", ANYWHERE, "[::]"])
@pytest.mark.parametrize("listen_host", [None, ANYWHERE, "::", "localhost"])
def test_a_name_that_every_machine_has_counts_on_the_machine_itself_only(name, listen_host):
    door = Door(Caps(), clock=TurnedClock(), origins=(), listen_host=listen_host)
    for peer, local, is_ours in (
        ("198.51.100.7", "203.0.113.5", False),
        ("2001:db8::7", "2001:db8::5", False),
        ("::ffff:198.51.100.7", "::ffff:203.0.113.5", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("::1", "::1", True),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", True),
        ("127.0.0.1", "203.0.113.5", True),
    ):
        assert door._is_our_name(f"{name}:8443", peer, (local, 8443)) is is_ours, (peer, local)


def test_a_name_that_was_set_up_counts_from_everywhere():
    door = Door(Caps(), clock=TurnedClock(), origins=["ws://localhost:8443"], listen_host="203.0.113.5")
    for name in ("localhost:8443", "203.0.113.5:8443"):
        assert door._is_our_name(name, "198.51.100.7", ("203.0.113.5", 8443))


def test_a_server_told_its_origin_accepts_that_name():
    async def story():
        bound = asyncio.get_running_loop().create_future()
        origins = ["wss://signal.example"]
        task = asyncio.create_task(run_server("127.0.0.1:0", origins=origins, on_ready=bound.set_result))
        port = await bound
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            f"GET / HTTP/1.1\r\nHost: Signal.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n".encode()
        )
        assert b" 101 " in await reader.readline()
        writer.transport.abort()
        task.cancel()
        await asyncio.wait({task})

    run(story())


def test_the_newest_proven_socket_takes_an_inbox_over_and_keeps_it():
    async def story():
        key = SigningKey.generate()
        async with serving() as server, open_link(server.url) as old, open_link(server.url) as new:
            await open_inbox(old, key)
            await open_inbox(new, key)
            with pytest.raises(Unavailable, match="4409"):
                await old.receive(Message)
            async with open_link(server.url) as sender:
                await sender.ask(Deposit(key.public, SEALED), Deposited)
            assert (await new.receive(Message)).sealed == SEALED

    run(story())


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"\xc1"],
        ["text"],
        [encode(Taken(1))],
        [encode(ProveInbox(b"p" * 64))],
        [encode(Browse(b"x", 1))],
        [encode(Browse(b"", 51))],
        [encode(Deposit(b"i" * 32, b"short"))],
        [encode(Publish(b"l" * (limits.LISTING_BYTES + 1)))],
        [encode(Browse(b"", 1)), encode(Deposit(b"i" * 32, SEALED))],
        [encode(OpenInbox(b"i" * 32)), encode(OpenInbox(b"i" * 32))],
    ],
)
def test_malformed_and_misplaced_messages_close_with_a_clear_code(frames, caplog):
    async def story():
        async with serving() as server, raw(server.url) as socket:
            for frame in frames:
                await socket.send(frame)
            assert await close_code(socket) == CloseCode.MALFORMED

    with caplog.at_level(logging.WARNING, "backuppeer.signaling.server"):
        run(story())
    (record,) = caplog.records
    assert "4400" in record.getMessage()
    assert "127.0.0.1" not in record.getMessage()


def test_a_frame_above_the_cap_closes_with_1009_and_names_the_cap(caplog):
    async def story():
        async with serving() as server, raw(server.url) as socket:
            await socket.send(b"x" * (limits.SIGNALING_CLIENT_FRAME_BYTES + 1))
            assert await close_code(socket) == CloseCode.TOO_BIG

    with caplog.at_level(logging.WARNING, "backuppeer.signaling.server"):
        run(story())
    assert str(limits.SIGNALING_CLIENT_FRAME_BYTES) in caplog.text


@pytest.mark.parametrize("first", [None, encode(OpenInbox(b"i" * 32)), encode(Browse(b"", 1))])
def test_a_socket_that_stays_silent_is_closed(first):
    async def story():
        async with serving(Caps(silence_s=0.05)) as server, raw(server.url) as socket:
            if first:
                await socket.send(first)
            assert await close_code(socket) == CloseCode.SILENT

    run(story())


def test_publishers_and_open_inboxes_may_stay_silent():
    async def story():
        key = SigningKey.generate()
        async with (
            serving(Caps(silence_s=0.2)) as server,
            open_link(server.url) as publisher,
            open_link(server.url) as owner,
            raw(server.url) as silent,
        ):
            await publisher.ask(Publish(Host().signed()), Published)
            await open_inbox(owner, key)
            # The silent socket opened last: when it has been closed, the others' time is over too.
            assert await close_code(silent) == CloseCode.SILENT
            await owner.send(Taken(0))
            assert (await publisher.ask(Publish(b""), Published)).code == Refusal.INVALID

    run(story())


def test_connections_above_the_cap_are_refused_with_503_and_counted_out_again():
    async def story():
        async with serving(Caps(connections=2)) as server:
            async with raw(server.url), raw(server.url):
                with pytest.raises(InvalidStatus) as caught:
                    await raw(server.url)
                assert caught.value.response.status_code == 503
                assert b" 503 " in await http(server.port, "/ready")
            async with raw(server.url):
                pass

    run(story())


def test_connections_of_one_address_above_the_cap_are_refused_with_429():
    async def story():
        async with serving(Caps(connections_per_address=1)) as server, raw(server.url):
            with pytest.raises(InvalidStatus) as caught:
                await raw(server.url)
            assert caught.value.response.status_code == 429
            with pytest.raises(Unavailable, match="too many connections"):
                async with open_link(server.url):
                    pass

    run(story())


def test_when_even_refusals_are_too_many_connections_are_cut():
    async def story():
        async with serving(Caps(connections_per_address=1, refusals=0)) as server, raw(server.url):
            # Cut before any answer: no status, only a broken connection.
            with pytest.raises((EOFError, OSError, InvalidMessage)):
                await raw(server.url)

    run(story())


def test_a_full_table_of_listings_is_said_to_the_publisher():
    async def story():
        async with serving(Caps(listings=1)) as server, open_link(server.url) as one, open_link(server.url) as two:
            assert (await one.ask(Publish(Host().signed()), Published)).accepted
            assert (await two.ask(Publish(Host().signed()), Published)).code == Refusal.FULL

    run(story())


def test_a_full_table_of_inboxes_closes_with_its_code():
    async def story():
        async with serving(Caps(inboxes=1)) as server, open_link(server.url) as one, open_link(server.url) as two:
            await open_inbox(one, SigningKey.generate())
            with pytest.raises(Unavailable, match=str(CloseCode.FULL)):
                await open_inbox(two, SigningKey.generate())

    run(story())


def test_a_flooding_connection_is_read_slowly_and_noted_once(caplog, monkeypatch):
    pauses = []

    async def pause(seconds):
        pauses.append(seconds)

    plain = Desk.__init__
    monkeypatch.setattr(Desk, "__init__", lambda self, *args, **named: plain(self, *args, **named, pause=pause))

    async def story():
        async with serving(Caps(messages_burst=3, messages_per_s=10.0)) as server, open_link(server.url) as link:
            for _ in range(6):
                await link.ask(Browse(b"", 1), Page)

    with caplog.at_level(logging.INFO, "backuppeer.signaling.server"):
        run(story())
    assert pauses == pytest.approx([0.1, 0.2, 0.3])
    assert caplog.text.count("slowed") == 1


def test_another_protocol_version_is_refused_in_the_opening():
    async def story():
        async with serving() as server:
            with pytest.raises(InvalidStatus) as caught:
                await connect(server.url, subprotocols=["backup-peer.v9"], proxy=None)
            assert caught.value.response.status_code == 400

    run(story())


def test_a_client_of_another_version_tells_both_versions(monkeypatch):
    monkeypatch.setattr("backuppeer.signaling.client.SUBPROTOCOL", "backup-peer.v9")

    async def story():
        async with serving() as server:
            with pytest.raises(Unavailable, match=r"it speaks backup-peer\.v1, this program backup-peer\.v9"):
                async with open_link(server.url):
                    pass

    run(story())


def test_compression_is_never_negotiated():
    async def story():
        async with serving() as server, connect(server.url, subprotocols=[SUBPROTOCOL], proxy=None) as socket:
            assert socket.protocol.extensions == []

    run(story())


def test_cancelling_closes_every_connection_with_going_away():
    async def story():
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(serving())
            sockets = [await stack.enter_async_context(raw(server.url)) for _ in range(5)]
            await server.stop()
            assert [await close_code(socket) for socket in sockets] == [1001] * 5
            assert server.task.cancelled()

    run(story())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:3000", ("::1", 3000)),
        (":80", (None, 80)),
        ("host.example:1", ("host.example", 1)),
    ],
)
def test_listen_addresses_are_parsed(text, expected):
    assert parse_listen(text) == expected


@pytest.mark.parametrize("text", ["", "3000", "host", "host:", "host:x", "host:70000", "host:-1"])
def test_bad_listen_addresses_are_usage_errors(text):
    with pytest.raises(UserError):
        parse_listen(text)


def test_an_address_in_use_is_a_usage_error():
    async def story():
        async with serving() as server:
            with pytest.raises(UserError, match="can't listen"):
                await run_server(f"127.0.0.1:{server.port}")

    run(story())


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
    ],
)
def test_addresses_are_counted_by_customer(address, expected):
    assert coarse_address(address) == expected


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=3))
def test_random_frames_never_break_the_server(frames):
    async def story():
        clock = TurnedClock()
        engine = WatchedEngine(Caps(), clock=clock)
        async with serving(clock=clock, engine=engine) as server:
            async with raw(server.url) as socket:
                for frame in frames:
                    try:
                        await socket.send(frame)
                    except ConnectionClosed:
                        break
                assert await close_code(socket) == CloseCode.MALFORMED
            assert (await page(server.url)).rows == []

    run(story())
