"""How one knock reaches its host: at one server, at the next if no reply comes, and by work where all are flooded.

Knows: the pool, how long a reply is waited for. Must not know: what a knock says, what the answer leads to.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from backuppeer.errors import NoSignaling
from backuppeer.limits import KNOCK_NEXT_S, KNOCK_REPLY_S, KNOCK_WORK_S
from backuppeer.signaling.depositing import OnWork
from backuppeer.signaling.knock import KnockReply
from backuppeer.signaling.pool import Pool


async def deliver(
    pool: Pool,
    places: Sequence[str],
    inbox: bytes,
    sealed: bytes,
    *,
    answered: "asyncio.Future[KnockReply]",
    on_work: OnWork,
) -> KnockReply | None:
    """Leave a knock at one server, and at the next if no reply comes; return the reply, None if there is none.

    These are the same bytes: a host that gets both hears the second as a replay, and answers once. Work for a flooded
    server is no part of the time that a reply may take.

    Raises:
        NoSignaling: no server took it.

    """

    async def work(url: str, seconds: float) -> None:
        within_s = KNOCK_REPLY_S + (KNOCK_WORK_S if seconds else 0.0)
        if not answered.done():
            waiting.reschedule(asyncio.get_running_loop().time() + within_s)
        await on_work(url, seconds)

    spreading = asyncio.create_task(_spread(pool, places, inbox, sealed, on_work=work))
    try:
        async with asyncio.timeout(KNOCK_REPLY_S) as waiting:
            both: list[asyncio.Future[Any]] = [spreading, answered]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not answered.done():
                spreading.result()
            return await answered
    except TimeoutError:
        return None
    finally:
        spreading.cancel()
        await asyncio.gather(spreading, return_exceptions=True)


async def do_unseen(url: str, seconds: float) -> None:
    """Tell nobody that there is work: nobody watches."""
    del url, seconds


async def _spread(pool: Pool, places: Sequence[str], inbox: bytes, sealed: bytes, *, on_work: OnWork) -> None:
    """Leave a message at each of the places, one after the other with a pause; those that want work last.

    Raises:
        NoSignaling: none of them took it.

    """
    left, failure = list(places), None
    while left:
        try:
            left.remove(await pool.deposit(left, inbox, sealed, on_work=on_work))
        except NoSignaling as exc:
            failure = exc
            break
        await asyncio.sleep(KNOCK_NEXT_S)
    if failure is not None and len(left) == len(places):
        raise failure
