"""Requests of peers about the terms of agreements, answered (docs/protocol.md, "Terms").

Knows: which request calls which part. Must not know: sessions, how terms are decided on. Each names an agreement, and
the agreement must be the asking peer's own.
"""

import asyncio

from backuppeer.agent.host.revising import Revising
from backuppeer.agent.peers.channel import Channel
from backuppeer.ids import PeerId
from backuppeer.wire.terms import GetTerms, PutTerms, TermsAre, TermsPut

TermsRequest = GetTerms | PutTerms


class TermsDesk:
    """Answers as the host of an agreement."""

    def __init__(self, revising: Revising) -> None:
        self._revising = revising

    async def answer(self, peer: PeerId, channel: Channel, message: TermsRequest) -> None:
        """Answer one request.

        Raises:
            as `Revising.list_terms` and `take`.

        """
        match message:
            case GetTerms():
                await self._tell(peer, channel, message)
            case PutTerms():
                number = await asyncio.to_thread(self._revising.take, peer, message.agreement, message.signed)
                await channel.send(TermsPut(revision=number))

    async def _tell(self, peer: PeerId, channel: Channel, message: GetTerms) -> None:
        page, more = await asyncio.to_thread(self._revising.list_terms, peer, message.agreement, message.after)
        await channel.send(TermsAre(revisions=tuple(page), more=more))
