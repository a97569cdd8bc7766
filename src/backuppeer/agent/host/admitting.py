"""Which wishes for space are heard at all: those that fit the offer, of owners whom its person wants (`--min-trust`).

Knows: the offer, how an owner stands as a host. Must not know: how a wish came, what is decided on those that wait.
"""

from collections.abc import Callable

from backuppeer.agent.peers.offers import Offer
from backuppeer.agent.peers.wishes import wish_of_knock
from backuppeer.errors import RefusedError
from backuppeer.ids import PeerId
from backuppeer.proof.promises import check_promises
from backuppeer.signaling.knock import Knock

TrustIn = Callable[[PeerId], float]


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


def check_trust(owner: PeerId, offer: Offer | None, *, trust: TrustIn, is_owed: Callable[[], bool]) -> None:
    """Refuse the wish of an owner that does not keep others' data well enough for this host. Its score isn't told.

    `is_owed`: tells whether the space was promised to it in return for what it keeps.

    Raises:
        RefusedError: so it is.

    """
    if offer is None or not offer.min_trust or trust(owner) >= offer.min_trust or is_owed():
        return
    raise RefusedError(
        "this host gives space to those alone that it knows as good hosts themselves",
        hint="ask its person; or keep some of its data first: `backup-peer host --storage 50GB` offers that; or choose "
        "another one: `backup-peer browse`",
    )
