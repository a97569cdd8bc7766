"""A host at a flooded server: who knocks works to be heard, and has an answer; the host works for no reply."""

import pytest

from agent.host.test_inviting import street
from backuppeer.errors import NoSignaling
from backuppeer.limits import KNOCK_BYTES, LOAD_BITS_LEAST, LOAD_WINDOW_S
from backuppeer.signaling import depositing
from backuppeer.signaling.depositing import deposit_at
from backuppeer.signaling.knock import Verdict
from backuppeer.signaling.server.caps import Caps
from signaling.kit import run

FLOODED = Caps(load_messages_per_s=1 / LOAD_WINDOW_S)


def test_a_knock_at_a_flooded_host_is_worked_for_once_and_answered_for_nothing(house, owner, monkeypatch):
    made, make_work = [], depositing.make_work

    async def make(challenge, inbox, server, *, bits):
        made.append((inbox, bits))
        return await make_work(challenge, inbox, server, bits=bits)

    async def story():
        async with street(house, owner, caps=FLOODED) as (served, side, guest):
            text, _ = await side.invite()
            inbox = side.hosting.keys.inbox(side.hosting.offer).public
            assert await deposit_at(served.url, inbox, bytes(KNOCK_BYTES)), "the first one is free"
            assert not await deposit_at(served.url, inbox, bytes(KNOCK_BYTES))
            verdict, _ = await guest.come(text, [served.url])
            assert verdict is Verdict.ACCEPTED
            ((worked_for, bits),) = made
            assert worked_for == inbox
            assert bits > LOAD_BITS_LEAST

    monkeypatch.setattr(depositing, "make_work", make)
    run(story())


def test_a_host_that_is_asked_to_work_for_a_reply_does_not(house, owner, monkeypatch):
    async def story():
        async with street(house, owner, caps=FLOODED) as (served, side, _):
            reply_inbox = b"r" * 32
            assert await deposit_at(served.url, reply_inbox, bytes(KNOCK_BYTES)), "somebody else was there first"
            with pytest.raises(NoSignaling, match="wants work for a message"):
                await side.hosting._pool.deposit([served.url], reply_inbox, bytes(KNOCK_BYTES))

    monkeypatch.setattr(depositing, "make_work", None)
    run(story())
