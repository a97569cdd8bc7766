"""The relay over TLS, of the server's own or of a proxy, with a client that speaks its handshake; and what iroh trusts.

iroh's client checks certificates against the public authorities that it has compiled in, and can be given no other
(ADR 77). So what it does of TLS itself can't be run here but for its refusal, which is the last test; its own bytes
come to a server's TLS through a bridge that adds it.
"""

import asyncio
import os
import socket
import ssl
import threading
from contextlib import asynccontextmanager, contextmanager

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from backuppeer.clock import SystemClock
from backuppeer.crypto.identity import SigningKey
from backuppeer.signaling.asking import ask_relay, relay_url
from backuppeer.signaling.server.relay.relay import SUBPROTOCOLS
from backuppeer.signaling.server.relay.relaying import Relaying
from backuppeer.transport.iroh import open_iroh
from signaling.kit import run, serving, until
from signaling.test_relay import Raw, answer_challenge, peers
from signaling.test_tls import make_certificate, pump


@asynccontextmanager
async def own_tls(context):
    async with serving(tls=context, relaying=Relaying(SystemClock())) as served:
        yield f"wss://127.0.0.1:{served.port}"


@asynccontextmanager
async def proxied(context):
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    tasks = set()

    async def carry(reader, writer):
        tasks.add(asyncio.current_task())
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", await port)
        await asyncio.gather(pump(reader, to_writer), pump(to_reader, writer))

    async with await asyncio.start_server(carry, "127.0.0.1", 0, ssl=context) as proxy:
        url = f"wss://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
        async with serving(origins=[url], relaying=Relaying(SystemClock())) as served:
            port.set_result(served.port)
            yield url
        await asyncio.gather(*tasks)


@pytest.fixture
def certificate(tmp_path, monkeypatch):
    path, context = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return context


def dial(url):
    names = [Subprotocol(name) for name in SUBPROTOCOLS]
    return connect(relay_url(url).replace("https:", "wss:") + "/relay", subprotocols=names, compression=None)


@pytest.mark.parametrize("fronting", [own_tls, proxied])
def test_two_keys_that_were_admitted_over_tls_exchange_datagrams_over_tls_and_a_third_is_not_let_in(
    certificate, fronting
):
    async def story():
        a, b = SigningKey.generate(), SigningKey.generate()
        async with fronting(certificate) as url:
            for key in (a, b):
                assert (await ask_relay(url, key.public)).life_s > 0
            async with dial(url) as one, dial(url) as two, dial(url) as three:
                for key, connection in ((a, one), (b, two)):
                    assert await answer_challenge(connection, key) == b"\x02"
                    assert connection.transport.get_extra_info("ssl_object").version() == "TLSv1.3"
                await Raw(a, one).send(b"\x04" + b.public + b"\x00hello")
                assert await Raw(b, two).receive() == b"\x06" + a.public + b"\x00hello"
                assert (await answer_challenge(three, SigningKey.generate()))[:1] == b"\x03"
                with pytest.raises(ConnectionClosed):
                    await three.recv()

    run(story())


@asynccontextmanager
async def bridge(url):
    """Run what iroh dials without TLS, and what goes on with TLS to a relay."""
    host, port = url.removeprefix("wss://").split(":")
    tasks = set()

    async def carry(reader, writer):
        tasks.add(asyncio.current_task())
        to_reader, to_writer = await asyncio.open_connection(host, int(port), ssl=ssl.create_default_context())
        await asyncio.gather(pump(reader, to_writer), pump(to_reader, writer))

    async with await asyncio.start_server(carry, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await asyncio.gather(*tasks)


def test_irohs_own_client_meets_another_at_a_relay_whose_bytes_come_over_tls(certificate):
    async def story():
        async with own_tls(certificate) as url, bridge(url) as there, peers(2) as (host, owner):
            for transport in (host, owner):
                await ask_relay(url, transport.transport_id)
            await host.use_relay(there)
            await until(lambda: host.home_relay)
            dialled, accepted = await asyncio.gather(owner.dial(host.transport_id, [], relay=there), host.accept())
            out = await dialled.open_stream()
            await out.write(b"x" * 100_000)
            stream = await accepted.accept_stream()
            assert await stream.read_exact(100_000) == b"x" * 100_000

    run(story())


@contextmanager
def listener(context):
    """A TLS listener that only shakes hands; gives its port, and the reasons why clients broke off."""
    reasons, is_heard = [], threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def shake():
            try:
                while True:
                    connection, _ = server.accept()
                    connection.settimeout(5)
                    try:
                        with context.wrap_socket(connection, server_side=True) as held:
                            held.recv(1)  # TLS 1.3: the alert of a client comes after our part is over
                            reasons.append("trusted")
                    except ssl.SSLError as exc:
                        reasons.append(exc.reason or str(exc))
                    is_heard.set()
            except OSError:
                return

        thread = threading.Thread(target=shake)
        thread.start()
        yield server.getsockname()[1], reasons, is_heard
        server.shutdown(2)
    thread.join(10)


def test_iroh_trusts_no_authority_of_ones_own_and_is_found_at_no_such_relay(certificate):
    async def story(port, is_heard):
        transport = await open_iroh(os.urandom(32), bind=["127.0.0.1:0"])
        try:
            await transport.use_relay(f"https://127.0.0.1:{port}")
            assert await asyncio.to_thread(is_heard.wait, 15)
            assert not transport.home_relay
        finally:
            await transport.close()

    with listener(certificate) as (port, reasons, is_heard):
        run(story(port, is_heard))
    assert set(reasons) & {"TLSV1_ALERT_UNKNOWN_CA", "SSLV3_ALERT_BAD_CERTIFICATE", "SSLV3_ALERT_CERTIFICATE_UNKNOWN"}
    assert "trusted" not in reasons
