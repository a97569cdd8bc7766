"""Observers: their places are for who is surely at the address that it asks from."""

import asyncio
import os
import socket

from backuppeer.transport.iroh import observer as observer_module
from backuppeer.transport.iroh import open_iroh, open_observer

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
