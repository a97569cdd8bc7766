"""What a new session is used for, in its order: agreements, slots, revisions, endings, then receipts.

Knows: which part talks of what. Must not know: how. A no to one says nothing of the others.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from backuppeer.agent.peers.session import Session
from backuppeer.agent.repute.standing import Standing
from backuppeer.agent.sides import OwnerSide, Repute
from backuppeer.errors import AuthenticationFault, BackupPeerError, PeerFault, ProtocolViolation

_log = structlog.get_logger()


async def talk_over(session: Session, owner: OwnerSide, repute: Repute, standing: Standing) -> None:
    """Settle with a peer all that there is to settle, and go on with its receipts until it leaves."""
    if not await owner.following.go_on(session):
        return  # another goes on in its place, with whom all else is talked of
    for step in (owner.connecting.agree, owner.slots.hand, owner.revising.settle, owner.ending.tell):
        try:
            await step(session)
        except BackupPeerError as exc:
            _log.info("nothing agreed on", reason=exc.message[:200])
    for talk in (repute.countersigning.heal, repute.receipting.settle, repute.exchange.ask):
        await _talk(session, talk, standing)
    await repute.receipting.attend(session, partial(_talk, session, repute.receipting.settle, standing))


async def _talk(session: Session, talk: Callable[[Session], Awaitable[object]], standing: Standing) -> None:
    try:
        await talk(session)
    except PeerFault as exc:
        _log.warning("a peer showed a wrong receipt", reason=exc.message[:200])
        # A signature that does not hold is its own fault here: it has proven who it is.
        fault = ProtocolViolation(exc.message) if isinstance(exc, AuthenticationFault) else exc
        await asyncio.to_thread(standing.blame, session.peer, fault)
    except BackupPeerError as exc:
        _log.info("no receipts", reason=exc.message[:200])
