"""Replies to knocks: what one server that hangs may cost those who knock by way of another."""

import asyncio
from types import SimpleNamespace

import pytest

from agent.host.test_hosting import until
from backuppeer.agent.host import replies
from backuppeer.agent.host.replies import Replies
from backuppeer.errors import Unavailable
from backuppeer.limits import KNOCK_REPLIES
from signaling.kit import run

KNOCK = SimpleNamespace(servers=["wss://other.example"], reply_inbox=bytes(32))


class Servers:
    """One of them hangs, the others take what they get."""

    def __init__(self, hangs):
        self.hangs, self.asked = hangs, []

    async def deposit(self, servers, inbox, sealed):
        self.asked.append(servers[0])
        if servers[0] == self.hangs:
            await asyncio.Event().wait()


def leave(kept, servers, server):
    return kept.leave(servers, KNOCK, b"sealed", server=server)


def test_a_server_that_takes_no_replies_holds_up_none_that_are_left_at_another():
    async def story():
        kept, servers = Replies(), Servers("ws://hangs")
        for _ in range(3 * KNOCK_REPLIES):
            kept.begin(leave(kept, servers, "ws://hangs"))
        await until(lambda: len(servers.asked) == KNOCK_REPLIES)
        await asyncio.wait_for(leave(kept, servers, "ws://takes"), 5)
        assert servers.asked[-1] == "ws://takes"
        kept.cancel()
        await until(lambda: not kept.count)

    run(story())


def test_a_reply_for_which_nobody_waits_any_more_is_not_kept(monkeypatch):
    async def story():
        kept, servers = Replies(), Servers("ws://hangs")
        waiting = [leave(kept, servers, "ws://hangs") for _ in range(KNOCK_REPLIES + 1)]
        outcomes = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)
        assert {type(outcome) for outcome in outcomes} == {Unavailable}
        with pytest.raises(Unavailable, match=r"within 0\.05 s"):
            await leave(kept, servers, "ws://hangs")

    monkeypatch.setattr(replies, "KNOCK_REPLY_S", 0.05)
    run(story())
