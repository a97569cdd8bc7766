"""Requests of peers about the terms of agreements, answered (docs/protocol.md, "Terms").

Knows: which request calls which part. Must not know: sessions, how terms are decided on. Each names an agreement, and
the agreement must be the asking peer's own.
"""

from collections.abc import Callable

from backuppeer.agent.host.ending import Ending
from backuppeer.agent.host.revising import Revising
from backuppeer.agent.host.threads import in_thread
from backuppeer.agent.host.waiving import Waiving
from backuppeer.agent.peers.channel import Channel
from backuppeer.errors import NotFoundError
from backuppeer.ids import AgreementId, PeerId
from backuppeer.wire.terms import (
    GetTerms,
    GiveNotice,
    GiveWaiver,
    NoticeTaken,
    PutTerms,
    TermsAre,
    TermsPut,
    WaiverTaken,
)

TermsRequest = GetTerms | PutTerms | GiveNotice | GiveWaiver
Hear = Callable[[PeerId, AgreementId, bytes, int], None]
"""(host, agreement, its signed notice, for how many seconds all is kept) of an agreement of ours as owner."""


class TermsDesk:
    """Answers as the host of an agreement, and notices of our own hosts."""

    def __init__(self, revising: Revising, ending: Ending, waiving: Waiving) -> None:
        self._revising, self._ending, self._waiving = revising, ending, waiving
        self.hear: Hear = _know_no_host

    async def answer(self, peer: PeerId, channel: Channel, message: TermsRequest) -> None:
        """Answer one request.

        Raises:
            as `Revising.list_terms` and `take`.

        """
        match message:
            case GetTerms():
                await self._tell(peer, channel, message)
            case PutTerms():
                number = await in_thread(self._revising.take, peer, message.agreement, message.signed)
                await channel.send(TermsPut(revision=number))
            case GiveNotice():
                await channel.send(NoticeTaken(left_s=await self._take(peer, message)))
            case GiveWaiver():
                freed = await in_thread(self._waiving.take, peer, message.agreement, message.signed)
                await channel.send(WaiverTaken(packs=freed.packs, size_bytes=freed.size_bytes))

    async def _tell(self, peer: PeerId, channel: Channel, message: GetTerms) -> None:
        page, more = await in_thread(self._revising.list_terms, peer, message.agreement, message.after)
        told = await in_thread(self._ending.tell, peer, message.agreement)
        notices, left_s = tuple(told.notices), told.left_s or 0
        await channel.send(TermsAre(revisions=tuple(page), more=more, notices=notices, left_s=left_s))

    async def _take(self, peer: PeerId, message: GiveNotice) -> int:
        try:
            self.hear(peer, message.agreement, message.signed, message.left_s)
        except NotFoundError:  # it is no host of ours under this agreement: so it is an owner, or nobody
            return await in_thread(self._ending.take, peer, message.agreement, message.signed, message.device_sig)
        return message.left_s


def _know_no_host(host: PeerId, agreement: AgreementId, signed: bytes, left_s: int) -> None:
    del host, agreement, signed, left_s
    raise NotFoundError("no such agreement with you")
