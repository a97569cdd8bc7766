"""`wss://` from end to end: a real server behind a proxy that terminates TLS, as operators run it."""

import asyncio
import ipaddress
import ssl
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from backuppeer import limits
from backuppeer.errors import ExitCode, NoSignaling, Unavailable
from backuppeer.signaling.client import open_link
from backuppeer.signaling.pool import Pool
from signaling.kit import Host, NoJitter, run, serving

LOOPBACK = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
SEALED = b"s" * limits.KNOCK_BYTES


def make_certificate(folder, *, name=LOOPBACK, is_expired=False):
    """Write a self-signed certificate and its key; return the certificate's file and a context that shows it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a server in a test")])
    end = datetime.now(UTC) + timedelta(days=-1 if is_expired else 1)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"), False
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=2))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True, key_cert_sign=True, encipher_only=False, decipher_only=False, **usage
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret = folder / "key.pem"
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, secret)
    return path, context


@dataclass
class Fronted:
    """A server and the `wss://` address of the proxy before it."""

    url: str
    engine: object
    clock: object


async def pump(reader, writer):
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def behind_tls(context):
    """Run a server that knows itself by the name of a TLS proxy, and the proxy."""
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    tasks = set()

    async def carry(reader, writer):
        tasks.add(asyncio.current_task())
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", await port)
        await asyncio.gather(pump(reader, to_writer), pump(to_reader, writer))

    async with await asyncio.start_server(carry, "127.0.0.1", 0, ssl=context) as proxy:
        url = f"wss://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
        async with serving(origins=[url]) as server:
            port.set_result(server.port)
            yield Fronted(url, server.engine, server.clock)
        await asyncio.gather(*tasks)


async def refusal(url):
    """Return our error for a server that must not be spoken to."""
    async with Pool([url], randomness=NoJitter()) as pool:
        with pytest.raises(NoSignaling) as caught:
            await pool.publish(Host().signed())
        with pytest.raises(NoSignaling):
            await pool.browse()
        with pytest.raises(Unavailable):
            async with open_link(url):
                pass
    return caught.value


def test_a_self_signed_certificate_is_refused_with_what_to_do_about_it(tmp_path, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    _, context = make_certificate(tmp_path)

    async def story():
        async with behind_tls(context) as server:
            error = await refusal(server.url)
            assert error.exit_code is ExitCode.NO_SIGNALING
            assert f"{server.url}: its certificate is not trusted: self-signed certificate" in error.message
            for word in ("posing", "SSL_CERT_FILE", "backup-peer agent stop", "--server"):
                assert word in error.hint
            assert server.engine.record == []

    run(story())


def test_a_certificate_trusted_through_ssl_cert_file_carries_the_whole_protocol(tmp_path, monkeypatch):
    path, context = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))

    async def story():
        host, heard = Host(), asyncio.Queue()

        async def keep(sealed, server):
            heard.put_nowait((sealed, server))

        async with behind_tls(context) as server, Pool([server.url], clock=server.clock) as pool:
            assert [o.accepted for o in await pool.publish(host.signed())] == [True]
            assert [row.peer for row in (await pool.browse()).listings] == [host.peer]
            # The inbox proof is bound to the name dialled: the proxy's, which the server knows as its origin.
            handle = await pool.open_inbox(host.inbox, keep)
            assert handle.open_at() == [server.url]
            await pool.deposit([server.url], host.inbox.public, SEALED)
            assert await heard.get() == (SEALED, server.url)

    run(story())


def test_a_trusted_certificate_of_another_name_is_refused(tmp_path, monkeypatch):
    path, context = make_certificate(tmp_path, name=x509.DNSName("other.example"))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))

    async def story():
        async with behind_tls(context) as server:
            assert "not valid for '127.0.0.1'" in (await refusal(server.url)).message
            assert server.engine.record == []

    run(story())


def test_a_trusted_certificate_that_has_expired_is_refused(tmp_path, monkeypatch):
    path, context = make_certificate(tmp_path, is_expired=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))

    async def story():
        async with behind_tls(context) as server:
            assert "its certificate is not trusted: certificate has expired" in (await refusal(server.url)).message

    run(story())


def test_a_server_without_tls_dialled_as_wss_is_told_as_such():
    async def story():
        async with serving() as server:
            url = server.url.replace("ws:", "wss:")
            error = await refusal(url)
            assert error.message.endswith(f"{url}: the server hung up")
            assert "SSL_CERT_FILE" not in error.hint

    run(story())


def test_a_server_that_answers_tls_with_other_words_is_told_as_such():
    async def story():
        async def chatter(_reader, writer):
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(chatter, "127.0.0.1", 0) as server:
            error = await refusal(f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            assert "no TLS connection: wrong version number" in error.message

    run(story())
