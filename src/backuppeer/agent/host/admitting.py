"""Which wishes for space are heard at all: those that fit the offer, of owners whom its person wants (`--min-trust`).

Knows: the offer. Must not know: how a wish came, scores, what is decided on those that wait.
"""

from backuppeer.agent.peers.offers import Offer
from backuppeer.agent.peers.wishes import wish_of_knock
from backuppeer.errors import RefusedError, UntrustedError
from backuppeer.proof.promises import check_promises
from backuppeer.signaling.knock import Knock


def check_wish(knock: Knock, offer: Offer | None) -> None:
    """Refuse a wish that is for more than is on offer.

    Raises:
        RefusedError: it is, or nothing is.

    """
    if offer is None or knock.size_bytes == 0:
        raise RefusedError("nothing is on offer here")
    if knock.term_s > offer.term_s or knock.lock_s > offer.lock_s:
        raise RefusedError("the wanted term or lock is longer than offered")
    check_promises(wish_of_knock(knock).promises)


def refuse_untrusted() -> UntrustedError:
    """Return the no to an owner that is not known as a good host. Its score isn't told."""
    return UntrustedError(
        "this host gives space to those alone that it knows as good hosts themselves",
        hint="ask its person; or keep some of its data first: `backup-peer host --storage 50GB` offers that; or choose "
        "another one: `backup-peer browse`",
    )
