"""Which wishes for space are heard at all: those that fit the offer, of owners whom its person wants (`--min-trust`).

Knows: the offer, invites. Must not know: how a wish came, scores, what is decided on those that wait.
"""

from collections.abc import Sequence
from typing import Final

from backuppeer.agent.home.records import RequestRecord, RequestState
from backuppeer.agent.home.state import State
from backuppeer.agent.host.invites import InviteRefused, Invites, IssuedInvite, read_claim
from backuppeer.agent.peers.choosing import is_listed
from backuppeer.agent.peers.names import check_alias
from backuppeer.agent.peers.offers import Offer, is_within
from backuppeer.agent.peers.wishes import INVITE, wish_of_knock
from backuppeer.errors import RefusedError, RejectedError, UntrustedError, UserError
from backuppeer.ids import PeerId
from backuppeer.limits import REJECTED_WISHES_PER_DAY, REQUEST_KEPT_S
from backuppeer.proof.promises import check_promises
from backuppeer.proof.revisions import Wish, check_spans, wish_of
from backuppeer.proof.statements import Agreement
from backuppeer.signaling.knock import Knock

_SKEW_MS: Final = 2 * 3600 * 1000
_DAY_MS: Final = 86400 * 1000
_NOTHING: Final = "nothing is on offer here"


def check_wish(knock: Knock, offer: Offer | None) -> None:
    """Refuse a wish that is for more than is on offer.

    Raises:
        RefusedError: it is, or nothing is.

    """
    if offer is None or knock.size_bytes == 0:
        raise RefusedError(_NOTHING)
    if knock.term_s > offer.term_s or knock.lock_s > offer.lock_s:
        raise RefusedError("the wanted term or lock is longer than offered")
    check_promises(wish_of_knock(knock).promises)


def take_invite(invites: Invites, knock: Knock, offer: Offer | None, *, is_partner: bool) -> IssuedInvite | None:
    """Have the owner of a knock take a use of the invite that it names; None where it names none.

    Raises:
        InviteRefused: it gives nothing to this owner, or not that.
        RefusedError: it names none, and the slot is for those who do and for partners.

    """
    raw = knock.ext.get(INVITE)
    if raw is None:
        if offer is not None and offer.unlisted and not is_partner:
            raise RefusedError(_NOTHING)  # the words for one who found no slot: it was shown to nobody else
        return None
    if offer is not None and not is_within(wish_of_knock(knock).promises, offer):
        raise InviteRefused("this invite is for the terms that the slot shows, and other ones were asked for")
    name, proof = read_claim(raw)
    return invites.take(name, proof, owner=PeerId(knock.owner), nonce=knock.nonce, size_bytes=knock.size_bytes)


def name_guest(state: State, invite: IssuedInvite, owner: PeerId) -> str:
    """Return the name for whoever came by an invite: that of the invite, if only one can come by it."""
    if invite.uses > 1:
        return ""
    try:
        check_alias(state, invite.label, owner)
    except UserError:  # somebody has it since
        return ""
    return invite.label


def refuse_untrusted() -> UntrustedError:
    """Return the no to an owner that is not known as a good host. Its score isn't told."""
    return UntrustedError(
        "this host gives space to those alone that it knows as good hosts themselves",
        hint="ask its person; or keep some of its data first: `backup-peer host --storage 50GB` offers that; or choose "
        "another one: `backup-peer browse`",
    )


def refuse_rejected(incoming: Sequence[RequestRecord], wish: Wish, revises: bytes, now_ms: int) -> None:
    """Refuse a wish that a person turned down, and any other after too many such in a day. incoming: of its owner.

    Raises:
        RejectedError: it is; in the words of the person.

    """
    rejected = [r for r in incoming if r.state is RequestState.REJECTED and is_listed(r, now_ms)]
    same = [r for r in rejected if (r.wish, r.revises) == (wish, revises)]
    recent = [r for r in rejected if r.since_ms > now_ms - _DAY_MS]
    if same or len(recent) >= REJECTED_WISHES_PER_DAY:
        raise RejectedError((same or recent)[-1].reason or "the host said no")


def check_proposal(proposal: Agreement, known: RequestRecord, now_ms: int) -> None:
    """Refuse an agreement that is not what was accepted, or not of now.

    Raises:
        RefusedError: it is not.

    """
    if (wish_of(proposal), proposal.revision) != (known.wish, 1):
        raise RefusedError(
            "the agreement has other terms than were accepted",
            hint="ask again: `backup-peer connect PEER --storage 10GB`",
        )
    check_spans(known.wish, proposal.notice_s)
    age_ms = now_ms - proposal.start_ms
    if not -_SKEW_MS <= age_ms <= REQUEST_KEPT_S * 1000 + _SKEW_MS:
        raise RefusedError("the agreement starts at another time than now", hint="check the clock of your computer")
