"""Messages left in inboxes, at the first of several servers that takes one; and the work for servers that are flooded.

Knows: the client's half of the protocol, how long we work. Must not know: whose inboxes they are, what a message says.
Work is worth the message at the one server that asked, so who takes it for nothing is tried first (ADR 83).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from backuppeer.crypto.stamp import NO_WORK
from backuppeer.errors import PeerFault, Unavailable
from backuppeer.limits import DEPOSIT_S, KNOCK_BITS_MOST, KNOCK_WORK_S
from backuppeer.signaling.board import Acceptance
from backuppeer.signaling.client import Link, open_link
from backuppeer.signaling.messages import Deposit, Deposited, WorkWanted
from backuppeer.signaling.servers import authority
from backuppeer.signaling.stamping import estimate_s, make_work

OnWork = Callable[[str, float], Awaitable[None]]
"""Called with (server address, seconds that it takes on average) before work begins, and with 0 s when it is done."""
OnOutcome = Callable[[Acceptance], None]
"""Called with how each server did, each time it was tried."""
WANTS_WORK: Final = "it is flooded, and wants work for a message"


async def leave_message(
    urls: Sequence[str], inbox: bytes, sealed: bytes, *, on_work: OnWork | None, on_outcome: OnOutcome
) -> list[Acceptance]:
    """Leave a message at the first server that takes it; return what each said that was tried, the last one last.

    A server that wants work is tried again when all others failed; on_work: None = we do none.
    """
    tried: dict[str, Acceptance] = {}

    async def is_left(url: str, worker: OnWork | None) -> bool:
        try:
            error = "" if await deposit_at(url, inbox, sealed, on_work=worker) else WANTS_WORK
        except (Unavailable, PeerFault) as exc:
            error = exc.message
        tried.pop(url, None)
        tried[url] = Acceptance(url=url, accepted=not error, error=error)
        on_outcome(tried[url])
        return not error

    for url in urls:
        if await is_left(url, None):
            return list(tried.values())
    flooded = [url for url, outcome in tried.items() if outcome.error == WANTS_WORK]
    for url in flooded if on_work else ():
        if await is_left(url, on_work):
            break
    return list(tried.values())


async def deposit_at(url: str, inbox: bytes, sealed: bytes, *, on_work: OnWork | None = None) -> bool:
    """Leave a sealed message at a server; whether the inbox exists is never said. False: it wants work, and we do none.

    Raises:
        Unavailable: the server can't be reached, does not answer, or wants more work than we do.
        ProtocolViolation: it does not keep to the protocol.

    """
    try:
        async with asyncio.timeout(DEPOSIT_S) as waiting, open_link(url) as link:
            answer: Deposited | WorkWanted = await link.ask(Deposit(inbox, sealed, NO_WORK), Deposited, WorkWanted)
            if isinstance(answer, Deposited):
                return True
            if on_work is None:
                return False
            waiting.reschedule(asyncio.get_running_loop().time() + KNOCK_WORK_S + DEPOSIT_S)
            return await _work_for(link, answer, inbox, sealed, on_work)
    except TimeoutError as exc:
        raise Unavailable(f"{url} did not answer within {DEPOSIT_S:g} s") from exc


async def _work_for(link: Link, wanted: WorkWanted, inbox: bytes, sealed: bytes, on_work: OnWork) -> bool:
    """Do what a flooded server asks for, and leave the message.

    Raises:
        Unavailable: it asks for more than we do, or it takes too long, or the server takes no work after all.

    """
    if wanted.bits > KNOCK_BITS_MOST:
        raise Unavailable(f"{link.url} wants more work for a message than this program does")
    await on_work(link.url, await estimate_s(wanted.bits))
    try:
        async with asyncio.timeout(KNOCK_WORK_S):
            work = await make_work(wanted.challenge, inbox, authority(link.url), bits=wanted.bits)
    except TimeoutError as exc:
        raise Unavailable(f"{link.url} wants more work for a message than is done here in {KNOCK_WORK_S:g} s") from exc
    await on_work(link.url, 0.0)
    answer: Deposited | WorkWanted = await link.ask(
        Deposit(inbox, sealed, work), Deposited, WorkWanted, timeout_s=DEPOSIT_S
    )
    if isinstance(answer, WorkWanted):
        raise Unavailable(f"{link.url} does not take the work that it asked for")
    return True
