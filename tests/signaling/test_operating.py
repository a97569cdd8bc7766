"""What an operator relies on: who a connection comes from, the end of a server, figures, certificates, silent logs."""

import asyncio
import logging
import ssl

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from backuppeer import limits
from backuppeer.errors import Unavailable, UserError
from backuppeer.signaling.client import open_link
from backuppeer.signaling.messages import SUBPROTOCOL, Browse, Page, Publish, Published
from backuppeer.signaling.server.caps import Caps, parse_caps
from backuppeer.signaling.server.certificate import Certificate
from backuppeer.signaling.server.engine import Rate
from backuppeer.signaling.server.hops import Hops
from signaling.kit import Host, TurnedClock, run, serving
from signaling.test_tls import make_certificate

SECRET_ADDRESS = "198.51.100.23"


def raw(url, **headers):
    return connect(url, subprotocols=[SUBPROTOCOL], compression=None, proxy=None, additional_headers=headers)


async def get(port, path, headers=""):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.decode()


@pytest.mark.parametrize(
    ("peer", "forwarded", "origin"),
    [
        ("10.0.0.1", [f"{SECRET_ADDRESS}"], SECRET_ADDRESS),
        ("10.0.0.1", [f"1.1.1.1, {SECRET_ADDRESS}, 10.0.0.2"], SECRET_ADDRESS),
        ("10.0.0.1", ["1.1.1.1", f"{SECRET_ADDRESS}:4711"], SECRET_ADDRESS),
        ("10.0.0.1", ["[2001:db8::1]:80"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["::ffff:192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("192.0.2.9", [SECRET_ADDRESS], "192.0.2.9"),
        ("10.0.0.1", [", ".join(["1.1.1.1"] + ["10.0.0.2"] * limits.FORWARDED_STEPS)], "10.0.0.2"),
    ],
)
def test_only_a_trusted_proxy_says_where_a_connection_comes_from(peer, forwarded, origin):
    assert Hops(["10.0.0.0/8"]).origin_of(peer, forwarded) == origin


def test_a_proxy_that_is_none_is_refused():
    with pytest.raises(UserError, match="not a proxy"):
        Hops(["proxy.example"])


def test_behind_a_trusted_proxy_each_client_has_a_cap_of_its_own_and_without_trust_nobody_chooses_his():
    async def story():
        caps = Caps(connections_per_address=1)
        async with (
            serving(caps, trusted=["127.0.0.1"]) as server,
            raw(server.url, **{"X-Forwarded-For": "192.0.2.1"}),
            raw(server.url, **{"X-Forwarded-For": "192.0.2.2"}),
        ):
            with pytest.raises(InvalidStatus, match="429"):
                async with raw(server.url, **{"X-Forwarded-For": "9.9.9.9, 192.0.2.1"}):
                    pass
        async with serving(caps) as server, raw(server.url, **{"X-Forwarded-For": "192.0.2.1"}):
            with pytest.raises(InvalidStatus, match="429"):
                async with raw(server.url, **{"X-Forwarded-For": "192.0.2.2"}):
                    pass

    run(story())


def test_figures_are_shown_to_this_machine_and_to_nobody_through_a_proxy():
    async def story():
        async with serving(Caps(sweep_s=0.001)) as server, open_link(server.url) as link:
            await link.ask(Publish(Host().signed()), Published)
            while "backuppeer_slots 1.0" not in (text := await get(server.port, "/metrics")):
                pass
            assert "text/plain; version=" in text
            assert 'backuppeer_messages_total{type="Publish"} 1.0' in text
            assert "backuppeer_store_up 1.0" in text
            assert " 404 " in await get(server.port, "/metrics", f"X-Forwarded-For: {SECRET_ADDRESS}\r\n")
            assert " 404 " in await get(server.port, "/metrics", "Via: 1.1 proxy\r\n")
        async with serving(trusted=["127.0.0.1"]) as server:
            assert " 404 " in await get(server.port, "/metrics", f"X-Forwarded-For: {SECRET_ADDRESS}\r\n")

    run(story())


def test_a_server_that_ends_sends_everybody_elsewhere_in_bounded_time(monkeypatch):
    async def story():
        monkeypatch.setattr(limits, "DRAIN_LEAST_PER_S", 20)
        loop = asyncio.get_running_loop()
        async with serving(Caps(drain_s=5.0)) as server:
            sockets = [await raw(server.url) for _ in range(8)]
            closings = [asyncio.create_task(closing_of(socket, loop)) for socket in sockets]
            ending = asyncio.create_task(server.stop())
            await closings[0]
            with pytest.raises(OSError, match="onnect"):
                await raw(server.url)
            times = await asyncio.gather(*closings)
            assert max(times) - min(times) > 0.1, "not all in one moment"
            await ending

    async def closing_of(socket, loop):
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, "going away: use another server")
        return loop.time()

    run(story())


def test_whoever_does_not_answer_when_a_server_ends_is_cut(monkeypatch):
    async def story():
        monkeypatch.setattr(limits, "SERVER_CLOSE_S", 0.1)
        async with serving(Caps(drain_s=0.1)) as server:
            socket = await raw(server.url)
            socket.transport.pause_reading()
            await server.stop()
            socket.transport.abort()

    run(story())


def test_a_certificate_read_again_is_shown_to_new_connections_and_a_bad_one_to_nobody(tmp_path):
    async def story():
        chain, _ = make_certificate(tmp_path)
        certificate = Certificate(chain, tmp_path / "key.pem")
        async with serving(tls=certificate.context) as server:
            first = await shown_to(server.port)
            make_certificate(tmp_path)
            assert await shown_to(server.port) == first
            certificate.reload()
            second = await shown_to(server.port)
            assert second != first
            chain.write_text("no certificate")
            with pytest.raises(UserError, match="can't use the certificate"):
                certificate.reload()
            assert await shown_to(server.port) == second

    async def shown_to(port):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        await writer.wait_closed()
        return der

    run(story())


def test_no_log_names_an_address(caplog):
    async def story():
        caps = Caps(connections_per_address=4, handshake_s=0.05, strikes_burst=1)
        async with serving(caps, trusted=["127.0.0.1"]) as server:
            headers = {"X-Forwarded-For": SECRET_ADDRESS}
            for data in (b"rubbish", b"\xc1", b"x" * 9000, "text"):
                try:
                    async with raw(server.url, **headers) as socket:
                        await socket.send(data)
                        await socket.recv()
                except (ConnectionClosed, InvalidStatus):
                    pass
            async with open_link(server.url) as link:
                await link.ask(Publish(Host().signed()[:-1] + b"x"), Published)
            await get(server.port, "/nowhere", f"X-Forwarded-For: {SECRET_ADDRESS}\r\n")
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"\x00\x01 no request at all\r\n\r\n")
            writer.close()

    with caplog.at_level(logging.DEBUG):
        run(story())
    said = [record.getMessage() for record in caplog.records if record.name.startswith("backuppeer.signaling.server")]
    assert any("closed with 4400" in line for line in said)
    assert any("kept out" in line for line in said)
    assert [line for line in said if SECRET_ADDRESS in line or "127.0.0.1" in line] == []


def test_limits_are_what_an_operator_says():
    caps = parse_caps(["connections=5", "silence-s=1.5", "network_pages=10+2.5"], stamp_bits=3)
    assert (caps.connections, caps.silence_s, caps.network_pages, caps.stamp_bits) == (5, 1.5, Rate(2.5, 10), 3)
    for wrong in ("connections", "connections=0", "connections=1.5", "drain_s=nan", "network_pages=inf+1", "x=1", "="):
        with pytest.raises(UserError):
            parse_caps([wrong], stamp_bits=0)


def test_a_network_that_breaks_the_protocol_again_and_again_is_kept_out_until_the_ban_ends():
    async def story():
        clock = TurnedClock()
        async with serving(Caps(strikes_burst=3), clock=clock) as server:
            for _ in range(4):
                async with raw(server.url) as socket:
                    await socket.send(b"rubbish")
                    with pytest.raises(ConnectionClosed):
                        await socket.recv()
            with pytest.raises(Unavailable, match="too many"):
                async with open_link(server.url):
                    pass
            assert " 200 " in await get(server.port, "/health")
            clock.turn(limits.SERVER_BAN_S)
            async with open_link(server.url) as link:
                await link.ask(Browse(b"", 1), Page)

    run(story())
