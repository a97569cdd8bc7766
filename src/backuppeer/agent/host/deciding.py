"""Deciding: what a host says to a knock that it opened, whatever that says (DESIGN 7).

Knows: the verdicts and their codes, the words for a no. Must not know: how a knock came, how the reply goes back.
"""

from collections.abc import Callable
from typing import Final

import structlog

from backuppeer.agent.host.invites import InviteRefused
from backuppeer.agent.host.requests import Requests
from backuppeer.agent.host.telling import tell_peer
from backuppeer.agent.peers.offers import Offer
from backuppeer.agent.peers.wishes import wish_of_knock
from backuppeer.errors import BackupPeerError, RejectedError, UntrustedError
from backuppeer.ids import PeerId
from backuppeer.proof.promises import write_promises
from backuppeer.signaling.knock import (
    INVITE_OVER,
    OFFERS_OTHER,
    REJECTED_BY_PERSON,
    UNTRUSTED,
    Knock,
    KnockReply,
    Verdict,
)

_log = structlog.get_logger()
_CODES: Final = ((RejectedError, REJECTED_BY_PERSON), (UntrustedError, UNTRUSTED), (InviteRefused, INVITE_OVER))
"""What the reply to a knock calls a no; any other is "refused"."""
_MESSAGE_CHARS: Final = 160


def make_reply(
    requests: Requests, knock: Knock, offer: Offer | None, *, check: Callable[[PeerId], None], now_ms: int
) -> KnockReply:
    """Decide on a knock, and return the reply; of one that is accepted, whereabouts are still to be added.

    check: raises for an owner that is never granted a wish.
    """
    terms, code, message = wish_of_knock(knock), "", ""
    try:
        if knock.size_bytes:
            check(PeerId(knock.owner))
        verdict = requests.consider_knock(knock, offer)
        if verdict is Verdict.PENDING and (other := requests.offer_to(knock)):
            code, terms = OFFERS_OTHER, other
    except BackupPeerError as exc:
        code = next((code for sort, code in _CODES if isinstance(exc, sort)), "refused")
        verdict, message = Verdict.REJECTED, tell_peer(exc)[:_MESSAGE_CHARS]
        _log.info("wish refused", peer=knock.owner.hex()[:8], reason=exc.message)
    return KnockReply(
        host=knock.recipient,
        owner=knock.owner,
        nonce=knock.nonce,
        verdict=verdict,
        code=code,
        message=message,
        size_bytes=terms.size_bytes,
        term_s=terms.term_s,
        lock_s=terms.lock_s,
        ext=write_promises(terms.promises),
        issued_ms=now_ms,
    )
