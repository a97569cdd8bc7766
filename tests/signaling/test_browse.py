"""How long and how much a browse takes from servers that are slow or never come to an end."""

import asyncio

import pytest
from websockets.asyncio.server import serve

from agent.loops import play
from backuppeer import limits
from backuppeer.clock import SystemClock
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import NoSignaling
from backuppeer.signaling import browse
from backuppeer.signaling.board import Board
from backuppeer.signaling.browse import Browsing
from backuppeer.signaling.merge import SeqMemory
from backuppeer.signaling.messages import SUBPROTOCOL, Page, decode_request, encode
from backuppeer.signaling.pool import Pool
from signaling.kit import run


@pytest.mark.parametrize(
    ("everything", "most"), [(False, limits.BROWSE_PER_SERVER), (True, limits.BROWSE_ALL_PER_SERVER)]
)
def test_a_server_that_never_comes_to_an_end_is_left_after_so_many_rows(monkeypatch, everything, most):
    monkeypatch.setattr(limits, "BROWSE_SOFT_S", 60.0)  # however slow the machine

    async def story():
        async def endless(socket):
            async for data in socket:
                await socket.send(encode(Page([b"junk"] * decode_request(data).limit, b"on", 10**9)))

        async with (
            serve(endless, "127.0.0.1", 0, subprotocols=[SUBPROTOCOL], compression=None) as server,
            Pool([f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"]) as pool,
        ):
            result = await pool.browse(everything=everything)
        assert (result.seen, result.refused) == (most, most)

    run(story())


@pytest.mark.parametrize(("first_s", "ends_s"), [(0.5, limits.BROWSE_SOFT_S), (3.5, 3.5)])
def test_a_browse_waits_for_slow_servers_only_until_the_soft_deadline_or_the_first_answer(monkeypatch, first_s, ends_s):
    async def pages(url, *, limit):
        await asyncio.sleep(first_s if url == "ws://quick" else 1000)  # virtual
        yield Page([], b"", 0)

    monkeypatch.setattr(browse, "browse_server", pages)

    async def story():
        browsing = Browsing(SeqMemory(), SystemClock(), limit=1, on_rows=None)
        result = await browsing.run(["ws://slow", "ws://quick"], spawn=asyncio.create_task, is_patient=False)
        assert result.answered == ["ws://quick"]
        assert asyncio.get_running_loop().time() == ends_s

    play(story())


@pytest.mark.parametrize(
    ("accepted", "within_s", "ends_s"),
    [
        (True, limits.BROWSE_SOFT_S, limits.BROWSE_SOFT_S),
        (False, limits.BROWSE_SOFT_S, limits.SERVER_CONNECT_S),
        (False, 60.0, 60.0),
    ],
)
def test_a_board_with_a_silent_server_settles_at_its_times(accepted, within_s, ends_s):
    async def story():
        board = Board(["ws://silent", "ws://quick"])
        board.put("ws://quick", accepted=accepted, error="" if accepted else "no")
        await board.settle(within_s)
        assert asyncio.get_running_loop().time() == ends_s

    play(story())


def test_a_pool_asks_its_board_to_settle_at_the_soft_deadline(monkeypatch):
    asked = []

    async def settle(_board, within_s):
        asked.append(within_s)

    monkeypatch.setattr(Board, "settle", settle)

    async def story():
        async with Pool(["ws://127.0.0.1:1"]) as pool:
            with pytest.raises(NoSignaling):
                await pool.publish(b"x")
            await pool.withdraw(b"x")
            with pytest.raises(NoSignaling):
                await pool.open_inbox(SigningKey.generate(), print)

    asyncio.run(story())
    assert asked == [limits.BROWSE_SOFT_S] * 3
