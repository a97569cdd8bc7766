"""How fast an inbox is heard, however fast its server sends."""

import asyncio

from backuppeer import limits
from backuppeer.crypto.identity import SigningKey
from backuppeer.signaling import pace
from backuppeer.signaling.client import InboxReader
from backuppeer.signaling.depositing import deposit_at
from backuppeer.signaling.pace import Pace
from signaling.kit import NoJitter, run, serving
from signaling.test_attend import until


def test_an_inbox_is_heard_as_fast_as_an_honest_server_hands_on_and_no_faster():
    kept = Pace()
    assert limits.INBOX_HEARD >= limits.INBOX_DEPOSITS
    assert limits.INBOX_HEARD_PER_S >= limits.INBOX_DEPOSITS_PER_S
    assert [kept.take(5.0) for _ in range(limits.INBOX_HEARD)] == [0.0] * limits.INBOX_HEARD
    assert kept.take(5.0) == 1 / limits.INBOX_HEARD_PER_S
    assert kept.take(5.0 + 2 / limits.INBOX_HEARD_PER_S) == 0.0
    assert [kept.take(1e6) for _ in range(limits.INBOX_HEARD + 1)][-2:] == [0.0, 1 / limits.INBOX_HEARD_PER_S]


def test_what_a_server_sends_too_fast_waits_with_it(monkeypatch):
    monkeypatch.setattr(pace, "INBOX_HEARD", 2)
    monkeypatch.setattr(pace, "INBOX_HEARD_PER_S", 0.001)
    inbox, heard = SigningKey.generate(), []

    async def hear(sealed, _server):
        heard.append(sealed[:1])

    async def story():
        async with serving() as server:
            for letter in b"abcdef":
                await server.engine.open_inbox(inbox.public)
                await deposit_at(server.url, inbox.public, bytes([letter]).ljust(limits.KNOCK_BYTES))
            reader = InboxReader(server.url, inbox, on_message=hear, on_state=lambda *_: None, randomness=NoJitter())
            reading = asyncio.create_task(reader.run())
            # The last one is heard at once, and then waited after.
            await until(lambda: len(heard) == 3)
            for _ in range(3):
                await deposit_at(server.url, inbox.public, b"x" * limits.KNOCK_BYTES)
            assert heard == [b"a", b"b", b"c"]
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    run(story())
