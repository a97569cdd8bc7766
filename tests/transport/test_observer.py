"""Observers: their places are for who is surely at the address that it asks from; and what they are sent."""

import asyncio
import os
import socket

from backuppeer.transport.iroh import observer as observer_module
from backuppeer.transport.iroh import open_iroh, open_observer
from backuppeer.transport.iroh.asking import OBSERVER_ALPN
from backuppeer.transport.iroh.connection import IROH_ERRORS
from backuppeer.transport.iroh.endpoint import bind_endpoint, close_endpoint

PLACES = 2


async def capture_greetings(asker, observer):
    """Return the first datagrams of some dials to the observer, which never got there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.setblocking(False)
        loop, there = asyncio.get_running_loop(), f"127.0.0.1:{deaf.getsockname()[1]}"
        found = []
        for _ in range(PLACES + 1):
            dialling = asyncio.create_task(asker.observe(observer.transport_id, there))
            found.append(await loop.sock_recv(deaf, 2048))
            dialling.cancel()
            await asyncio.gather(dialling, return_exceptions=True)
        return found


async def observer_scene(greet):
    observer = await open_observer("127.0.0.1:0", may_ask=lambda _: True)
    asker, noisy = [await open_iroh(os.urandom(32), bind=["127.0.0.1:0"]) for _ in range(2)]
    try:
        await greet(await capture_greetings(noisy, observer), observer.port)
        assert await asker.observe(observer.transport_id, f"127.0.0.1:{observer.port}") in asker.bound()
    finally:
        await asyncio.gather(asker.close(), noisy.close(), observer.close())


def test_datagrams_of_somebody_who_may_be_anywhere_take_no_place(monkeypatch):
    monkeypatch.setattr(observer_module, "OBSERVER_CONNECTIONS", PLACES)

    async def greet(greetings, port):
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as spoofed:
            spoofed.setblocking(False)
            for greeting in greetings:
                await loop.sock_sendto(spoofed, greeting, ("127.0.0.1", port))
                answer = await loop.sock_recv(spoofed, 2048)
                assert len(answer) < len(greeting) / 3  # nor is anybody flooded by what is answered

    asyncio.run(asyncio.wait_for(observer_scene(greet), 20))


async def write_down(endpoint, answer):
    """Answer one asker as an observer does; return its key and all that it sent, until it was gone."""
    incoming = await endpoint.accept_next()
    connection = await (await incoming.accept()).connect()
    stream = await connection.accept_bi()
    more = [
        asyncio.ensure_future(wait())
        for wait in (connection.accept_bi, connection.accept_uni, connection.read_datagram)
    ]
    question = await stream.recv().read(1)
    await stream.send().write_all(answer)
    await stream.send().finish()
    rest = asyncio.ensure_future(stream.recv().read(4096))
    reason = await connection.closed()
    brought = await asyncio.gather(rest, *more, return_exceptions=True)
    return connection.remote_id().to_bytes(), question, reason, [one for one in brought if one]


def test_an_observer_is_sent_a_transport_key_and_one_byte_and_nothing_else():
    async def scene():
        asker = await open_iroh(os.urandom(32), bind=["127.0.0.1:0"])  # which also has iroh's calls come to this loop
        endpoint = await bind_endpoint(os.urandom(32), ["127.0.0.1:0"], [OBSERVER_ALPN])
        try:
            recording = asyncio.ensure_future(write_down(endpoint, b"192.0.2.1:1"))
            there = endpoint.bound_sockets()[0]
            assert await asker.observe(endpoint.id().to_bytes(), there) == "192.0.2.1:1"
            key, question, reason, brought = await recording
            assert key == asker.transport_id
            assert question == b"?"
            assert "ApplicationClosed" in reason or "closed by peer" in reason, reason
            assert all(isinstance(one, IROH_ERRORS) for one in brought), brought
        finally:
            await asyncio.gather(asker.close(), close_endpoint(endpoint))

    asyncio.run(asyncio.wait_for(scene(), 20))
