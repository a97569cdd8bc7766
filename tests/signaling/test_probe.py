"""A look at one server, and what each way to fail advises."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from backuppeer import limits
from backuppeer.clock import SystemClock
from backuppeer.signaling import probe
from backuppeer.signaling.probe import advise, probe_server
from signaling.kit import TurnedClock, dead_url, hanging, run, serving
from signaling.test_tls import behind_tls, make_certificate


def test_a_server_that_works_tells_its_clock_its_speed_and_how_many_offers(monkeypatch):
    async def story():
        async with serving() as server:
            found = await probe_server(server.url, SystemClock())
        assert (found.error, found.hint, found.offers, found.certificate_ends_ms) == ("", "", 0, None)
        assert (found.relay, found.observes) == (False, False)
        assert found.connect_ms > 0
        assert found.round_trip_ms > 0
        assert abs(found.skew_s) < 5

    run(story())


@pytest.mark.parametrize(("days", "word"), [(1, "behind"), (-1, "ahead of")])
def test_a_clock_that_listings_would_not_survive_is_an_error_with_what_to_do(days, word):
    async def story():
        clock = TurnedClock(SystemClock().now_ms() + days * 86_400_000)
        async with serving() as server:
            found = await probe_server(server.url, clock)
        assert f"24.0 h {word}" in found.error
        assert "clock" in found.hint

    run(story())


def test_a_certificate_tells_its_end(tmp_path, monkeypatch):
    path, context = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))

    async def story():
        async with behind_tls(context) as server:
            found = await probe_server(server.url, SystemClock())
        left_s = found.certificate_ends_ms / 1000 - datetime.now(UTC).timestamp()
        assert 0 < left_s <= timedelta(days=1).total_seconds()
        assert found.error == ""

    run(story())


def test_a_certificate_nobody_vouches_for_is_not_trusted(tmp_path, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    _, context = make_certificate(tmp_path)

    async def story():
        async with behind_tls(context) as server:
            found = await probe_server(server.url, SystemClock())
        assert "not trusted" in found.error
        assert "posing" in found.hint
        assert found.connect_ms is None

    run(story())


def test_nothing_there_and_a_server_that_hangs_are_told_apart(monkeypatch):
    monkeypatch.setattr(limits, "SERVER_CONNECT_S", 0.05)

    async def story():
        async with hanging() as stuck:
            # the default of open_link is bound when it is defined
            link = probe.open_link
            monkeypatch.setattr(probe, "open_link", lambda url: link(url, timeout_s=0.05))
            slow, gone = await asyncio.gather(
                probe_server(stuck, SystemClock()), probe_server(dead_url(), SystemClock())
            )
        assert "hangs" in slow.hint
        assert "nothing listens there" in gone.hint

    run(story())


def answering(head):
    """A web server whose every answer is this."""

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        writer.close()

    return asyncio.start_server(answer, "127.0.0.1", 0)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDate: yesterday\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDate: Fri, 32 Foo 99999 99:99:99 GMT\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2 * limits.HEALTH_BYTES + b"\r\n\r\n",
    ],
)
def test_a_web_server_without_a_time_leaves_the_clock_unknown(head):
    async def story():
        async with await answering(head) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            assert (await probe._look(url, SystemClock())).skew_s is None

    run(story())


def test_the_time_of_an_answer_is_compared_with_the_middle_of_the_question():
    async def story():
        now = datetime.now(UTC)
        head = f"HTTP/1.1 200 OK\r\nDATE: {format_datetime(now, usegmt=True)}\r\n\r\n".encode()
        async with await answering(head) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            clock = TurnedClock(int(now.timestamp() * 1000) + 60_000)
            assert (await probe._look(url, clock)).skew_s == pytest.approx(-59.5, abs=1.1)

    run(story())


@pytest.mark.parametrize(
    ("error", "part"),
    [
        ("ws://x: HTTP status 404", "is this the address"),
        ("ws://x answered Challenge, not Page", "is this the address"),
        ("ws://x: the server does not know itself by this name (…)", "--origin"),
        ("ws://x: name or service not known", "spelling"),
        ("ws://x: the server hung up", "TLS"),
        ("ws://x: the server is of another version: it speaks backup-peer.v2, …", "the older of the two"),
        ("ws://x: did not receive a valid HTTP response", "is it wss://"),
        ("ws://x: what nobody foresaw", "check the address"),
    ],
)
def test_each_failure_has_an_advice(error, part):
    assert part in advise(error)
