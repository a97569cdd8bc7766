"""Card: what a slot says to those alone who were invited, sealed, in the shape of a note (ADR 75).

Knows: a listing's fields under a signature of another purpose, and the envelope. Must not know: sockets, invites' uses.

A card is a listing that no server can show: it is signed for another purpose, so that whoever bears an invite can't
publish it either. It lies in an inbox of the invite (`crypto.invitation`) as a recovery note does, of the same size and
left and found by the same messages: a server can't tell one from the other, nor whose it is.
"""

from typing import Final

import msgspec

from backuppeer.crypto.envelope import ENVELOPE_OVERHEAD_BYTES, EnvelopeKey, seal_envelope
from backuppeer.crypto.identity import Purpose, SigningKey, verify_signature
from backuppeer.errors import AuthenticationFault, LocalError, ProtocolViolation
from backuppeer.ids import PeerId
from backuppeer.limits import CARD_LIFE_S, LISTING_BYTES, NOTE_BYTES
from backuppeer.signaling.container import sign_blob, split_container
from backuppeer.signaling.listing import Listing, ListingKind, VerifiedListing, check_listing, decode_listing

GIFT: Final = "invite"
"""The field of a card's `ext` that says what its invite gives without a question: u64be, bytes."""
_GIFT_BYTES: Final = 8
_PLAIN_BYTES: Final = NOTE_BYTES - ENVELOPE_OVERHEAD_BYTES
_LABEL: Final = b"backuppeer/v1/invite-card\0"


def seal_card(listing: Listing, host: SigningKey, *, key: bytes, inbox: bytes) -> bytes:
    """Sign a slot for an invite, and seal it to the invite's 1216-byte `key` for one inbox: NOTE_BYTES.

    Raises:
        LocalError: a field breaks a rule, it is too long, or the key is not the host's.

    """
    if host.public != listing.peer:
        raise LocalError("a card must be signed by the host that it names")
    try:
        _check(listing, listing.issued_ms)
    except ProtocolViolation as exc:
        raise LocalError(f"refused to sign: {exc.message}") from exc
    signed = sign_blob(msgspec.msgpack.encode(listing), Purpose.INVITE_CARD, key=host, cap_bytes=LISTING_BYTES)
    return seal_envelope(key, signed.ljust(_PLAIN_BYTES, b"\0"), _LABEL + inbox)


def open_card(sealed: bytes, opener: EnvelopeKey, *, inbox: bytes, host: PeerId, now_ms: int) -> VerifiedListing:
    """Open what was found in an inbox of an invite to the slot of `host`.

    Raises:
        IntegrityFault: it is not sealed to this invite: also what a server says where nothing is.
        AuthenticationFault: it is, and shows another peer, or the host did not sign it: whoever wrote it bears the
            invite, and is not the host.
        ProtocolViolation: the host's, and over, from the future, or against the rules of its format.

    """
    if len(sealed) != NOTE_BYTES:
        raise ProtocolViolation(f"a card has {NOTE_BYTES} bytes, not {len(sealed)}")
    plain = opener.open(sealed, _LABEL + inbox)
    try:
        blob, signature, rest = split_container(plain, cap_bytes=_PLAIN_BYTES, what="card")
        listing = decode_listing(blob)
    except ProtocolViolation as exc:
        raise AuthenticationFault("what lies at the place of this invite was not written by its host") from exc
    if listing.peer != host:
        raise AuthenticationFault("another peer shows itself at the place of this invite")
    verify_signature(listing.peer, Purpose.INVITE_CARD, blob, signature)
    if any(rest) or len(plain) - len(rest) > LISTING_BYTES:
        raise ProtocolViolation("a card is too long, or its padding is not zero")
    _check(listing, now_ms)
    return VerifiedListing(peer=host, listing=listing, signed=plain[: len(plain) - len(rest)])


def write_gift(size_bytes: int) -> dict[str, bytes]:
    """Return `ext` of a card whose invite gives so much without a question."""
    return {GIFT: size_bytes.to_bytes(_GIFT_BYTES, "big")}


def read_gift(listing: Listing) -> int:
    """Return how many bytes the invite of a card gives without a question; 0 if it does not say."""
    raw = listing.ext.get(GIFT, b"")
    return int.from_bytes(raw, "big") if len(raw) == _GIFT_BYTES else 0


def _check(listing: Listing, now_ms: int) -> None:
    check_listing(listing, now_ms, life_s=CARD_LIFE_S)
    if listing.kind is not ListingKind.SLOT:
        raise ProtocolViolation("a card shows no slot")
