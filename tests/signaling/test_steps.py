"""Which step towards a server is the broken one."""

import asyncio

import pytest

from backuppeer.clock import SystemClock
from backuppeer.signaling.probe import probe_server
from backuppeer.signaling.steps import Step, find_broken_step
from signaling.kit import dead_url, hanging, run, serving
from signaling.test_tls import behind_tls, make_certificate


def find(url):
    return asyncio.run(find_broken_step(url))


@pytest.mark.parametrize("name", ["nobody.invalid", "a" * 70 + ".example"])
def test_a_name_that_is_not_found_is_the_first_step(name):
    assert find(f"wss://{name}") is Step.NAME


def test_where_nobody_listens_the_connection_is_broken():
    assert find(dead_url()) is Step.CONNECTION


def test_a_certificate_that_nobody_vouches_for_breaks_tls(tmp_path, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    _, context = make_certificate(tmp_path)

    async def scene():
        async with behind_tls(context) as server:
            assert await find_broken_step(server.url) is Step.TLS

    run(scene())


def test_what_accepts_and_says_nothing_breaks_the_protocol_and_a_secure_one_tls():
    async def scene():
        async with hanging() as url:
            assert await find_broken_step(url) is Step.PROTOCOL
            assert await find_broken_step(url.replace("ws://", "wss://")) is Step.TLS

    run(scene())


def test_a_look_names_the_step_and_one_that_works_has_none():
    async def scene():
        assert (await probe_server(dead_url(), SystemClock())).step == "connection"
        async with serving() as server:
            assert (await probe_server(server.url, SystemClock())).step == ""

    run(scene())
