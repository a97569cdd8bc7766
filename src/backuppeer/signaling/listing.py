"""Listing: the signed offer of a host, and how it is checked.

Knows: the fields, their buckets and caps, the signature by the peer itself. Must not know: servers' protocol, sockets,
what a viewer thinks of the peer. A listing holds no address, no name and no self-declared reputation; sizes are
rounded down to powers of two and availability to 5 %, so that listings of different peers look alike
(docs/signaling-protocol.md).
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

from backuppeer import limits
from backuppeer.crypto.digest import Domain, hash_bytes
from backuppeer.crypto.identity import Purpose, SigningKey, verify_signature
from backuppeer.errors import LocalError, ProtocolViolation
from backuppeer.ids import PEER_ID_BYTES, PeerId
from backuppeer.signaling.container import OVERHEAD_BYTES, VERSION, decode_blob, sign_blob, split_container
from backuppeer.signaling.servers import is_server_url
from backuppeer.signaling.verified import Verified

INBOX_BYTES: Final = 32
ENVELOPE_KEY_BYTES: Final = 1216
ENVELOPE_ID_BYTES: Final = 8
AVAILABILITY_STEP: Final = 50
_REGION: Final = re.compile(r"(?:[A-Z]{2,3}(?:-[A-Z0-9]{1,3})?)?")
_SIZE_MAX: Final = 1 << 60


class ListingKind(StrEnum):
    """What a listing says."""

    SLOT = "slot"
    TOMBSTONE = "tombstone"


class Listing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One offer. Sizes in bytes, times in milliseconds since 1970 UTC or seconds, availability in permille."""

    v: int = VERSION
    peer: bytes
    seq: int
    issued_ms: int
    expires_ms: int
    kind: ListingKind
    storage_bytes: int = 0
    free_bytes: int = 0
    region: str = ""
    availability: int = 0
    term_s: int = 0
    lock_s: int = 0
    inbox: bytes = b""
    envelope_key: bytes = b""
    envelope_id: bytes = b""
    servers: list[str] = msgspec.field(default_factory=list)
    ext: dict[str, bytes] = msgspec.field(default_factory=dict)


class VerifiedListing(msgspec.Struct, frozen=True, kw_only=True):
    """A listing whose signature, times and buckets were checked here, with the bytes it came as."""

    peer: PeerId
    listing: Listing
    signed: bytes
    servers: tuple[str, ...] = ()
    """Servers that handed it out, in the order they answered."""
    is_equivocating: bool = False
    """The peer signed different listings under one number."""


_DECODER: Final = msgspec.msgpack.Decoder(Listing)


def bucket_bytes(size_bytes: int) -> int:
    """Return the greatest power of two that is not above `size_bytes`; 0 for 0."""
    return 1 << (min(size_bytes, _SIZE_MAX).bit_length() - 1) if size_bytes > 0 else 0


def bucket_availability(permille: int) -> int:
    """Return availability rounded down to a multiple of 50 permille, within 0..1000."""
    return max(0, min(1000, permille)) // AVAILABILITY_STEP * AVAILABILITY_STEP


def is_region(text: str) -> bool:
    """Tell whether `text` can stand as the region of a listing: empty, or like EU or US-W."""
    return _REGION.fullmatch(text) is not None


def envelope_id(envelope_key: bytes) -> bytes:
    """Return the id of an envelope public key: 8 bytes of its hash, so that id and key can't disagree."""
    return hash_bytes(Domain.STATEMENT, b"envelope key id\0" + envelope_key)[:ENVELOPE_ID_BYTES]


def next_seq(last: int, now_ms: int) -> int:
    """Return the number of the next listing: above the last one, and the time in milliseconds where that is greater."""
    return max(last + 1, now_ms)


def make_tombstone(peer: PeerId, seq: int, *, now_ms: int) -> Listing:
    """Return the listing that takes back every earlier one; it lives as long as any of them could."""
    expires_ms = now_ms + limits.LISTING_LIFE_S * 1000
    return Listing(peer=peer, seq=seq, issued_ms=now_ms, expires_ms=expires_ms, kind=ListingKind.TOMBSTONE)


def name_servers(listing: Listing, urls: Sequence[str]) -> Listing:
    """Return the listing naming as many of the servers, in order, as 4 places and 2 KiB hold."""
    for count in range(min(len(urls), limits.LISTING_SERVERS), 0, -1):
        named = msgspec.structs.replace(listing, servers=list(urls[:count]))
        if len(msgspec.msgpack.encode(named)) + OVERHEAD_BYTES <= limits.LISTING_BYTES:
            return named
    return msgspec.structs.replace(listing, servers=[])


def sign_listing(listing: Listing, key: SigningKey) -> bytes:
    """Return the signed bytes of a listing; they are never re-encoded afterwards.

    Raises:
        LocalError: the listing breaks a rule of its format, is too long, or `key` is not the peer's.

    """
    if key.public != listing.peer:
        raise LocalError("a listing must be signed by the peer it names")
    try:
        _check_shape(listing)
    except ProtocolViolation as exc:
        raise LocalError(f"refused to sign: {exc.message}") from exc
    return sign_blob(msgspec.msgpack.encode(listing), Purpose.LISTING, key=key, cap_bytes=limits.LISTING_BYTES)


def open_listing(signed: bytes, now_ms: int, verified: Verified | None = None) -> VerifiedListing:
    """Check a signed listing against its own peer's key and the time, and return it.

    verified: what was before, to the last byte, is not again but for its times and buckets; what is now is put there.

    Raises:
        ProtocolViolation: too long, malformed, unknown version or field, not in its buckets, expired, or from the
            future. Times are checked with 2 h of skew in the viewer's and the publisher's favour.
        AuthenticationFault: the signature is not the peer's.

    """
    blob, signature, rest = split_container(signed, cap_bytes=limits.LISTING_BYTES, what="listing")
    if rest:
        raise ProtocolViolation("listing has bytes after its signature")
    listing = decode_listing(blob)
    check_listing(listing, now_ms)
    digest = hash_bytes(Domain.STATEMENT, signed)
    if verified is None or not verified.has(digest):
        verify_signature(listing.peer, Purpose.LISTING, blob, signature)
    if verified is not None:
        verified.put(digest)
    return VerifiedListing(peer=PeerId(listing.peer), listing=listing, signed=signed)


def peek_listing(signed: bytes) -> Listing:
    """Return what a listing says, unchecked: for those of our own.

    Raises:
        ProtocolViolation: it can't be read.

    """
    blob, _, _ = split_container(signed, cap_bytes=limits.LISTING_BYTES, what="listing")
    return decode_listing(blob)


def decode_listing(blob: bytes) -> Listing:
    """Return what a blob says, unchecked.

    Raises:
        ProtocolViolation: it can't be read.

    """
    return decode_blob(_DECODER, blob, what="listing")


def check_listing(listing: Listing, now_ms: int, *, life_s: int = limits.LISTING_LIFE_S) -> None:
    """Refuse a listing that breaks a rule of its format, is over or from the future, or lives longer than `life_s`.

    Raises:
        ProtocolViolation: it does.

    """
    _check_shape(listing, life_s)
    _check_time(listing, now_ms)


def _check_time(listing: Listing, now_ms: int) -> None:
    skew_ms = limits.CLOCK_SKEW_S * 1000
    if listing.expires_ms + skew_ms <= now_ms:
        raise ProtocolViolation("listing has expired")
    if listing.issued_ms > now_ms + skew_ms:
        raise ProtocolViolation("listing is from the future")
    # A number far ahead would silence the peer's honest listings for as long; 48 h bounds what a broken clock costs.
    if listing.seq > now_ms + limits.LISTING_FUTURE_S * 1000:
        raise ProtocolViolation("listing's number is too far in the future")


def _check_shape(listing: Listing, life_s: int = limits.LISTING_LIFE_S) -> None:
    _require(len(listing.peer) == PEER_ID_BYTES, "peer must have 32 bytes")
    _require(0 < listing.seq < 1 << 63, "number out of range")
    life_ms = listing.expires_ms - listing.issued_ms
    _require(listing.issued_ms >= 0 and 0 < life_ms <= life_s * 1000, f"lives at most {life_s // 3600} hours")
    if listing.kind is ListingKind.TOMBSTONE:
        bare = make_tombstone(PeerId(listing.peer), listing.seq, now_ms=listing.issued_ms)
        _require(msgspec.structs.replace(listing, expires_ms=bare.expires_ms) == bare, "a tombstone offers nothing")
        return
    _check_offer(listing)
    _check_reach(listing)


def _check_offer(listing: Listing) -> None:
    storage, free = listing.storage_bytes, listing.free_bytes
    _require(0 < storage <= _SIZE_MAX and bucket_bytes(storage) == storage, "storage is not a power of two")
    _require(0 <= free <= storage and bucket_bytes(free) == free, "free space is not a power of two below storage")
    _require(0 <= listing.availability <= 1000, "availability is not a permille")
    _require(listing.availability % AVAILABILITY_STEP == 0, "availability is not a multiple of 50 permille")
    _require(0 <= listing.term_s <= limits.LISTING_TERM_S, "term out of range")
    _require(0 <= listing.lock_s <= limits.LISTING_TERM_S, "lock out of range")
    _require(is_region(listing.region), "region is not like EU or US-W")


def _check_reach(listing: Listing) -> None:
    _require(len(listing.inbox) == INBOX_BYTES, "inbox must have 32 bytes")
    _require(len(listing.envelope_key) == ENVELOPE_KEY_BYTES, "envelope key must have 1,216 bytes")
    _require(listing.envelope_id == envelope_id(listing.envelope_key), "envelope key id is not the key's")
    _require(len(listing.servers) <= limits.LISTING_SERVERS, "names too many servers")
    _require(all(is_server_url(url) for url in listing.servers), "names a server that is no ws or wss address")


def _require(holds: bool, what: str) -> None:  # noqa: FBT001 - reads as a sentence: require (condition, rule)
    if not holds:
        raise ProtocolViolation(f"listing refused: {what}")
