"""Knock and its one reply: a sealed request for a connection, and the host's sealed answer, both 4,096 bytes.

Knows: the fields, the signature inside, the envelope outside, the fixed size. Must not know: servers, sockets, policy.

Layout: key id 8 ‖ number 8 ‖ HPKE(`u32be(len) ‖ blob ‖ signature` ‖ zeros), KNOCK_BYTES in all. Key id and number (of a
knock: the listing's; of a reply: random) stand outside so that the recipient knows which key and info to open with;
both are public already in the listing. HPKE's info repeats label, recipient, number and key id, and the signature
inside covers them again: so a knock can neither be sealed anew for another recipient, nor be moved to another listing
or key, and a recipient who passes it on proves nothing to a third party's agent (recipient is checked first).
"""

import os
import struct
from collections.abc import Callable
from enum import StrEnum
from typing import Final, TypeVar

import msgspec

from backuppeer import limits
from backuppeer.crypto.envelope import EnvelopeKey, seal_envelope
from backuppeer.crypto.identity import Purpose, SigningKey, verify_signature
from backuppeer.errors import LocalError, ProtocolViolation
from backuppeer.ids import PEER_ID_BYTES, PeerId
from backuppeer.signaling.container import VERSION, decode_blob, sign_blob, split_container
from backuppeer.signaling.listing import ENVELOPE_ID_BYTES, ENVELOPE_KEY_BYTES, INBOX_BYTES, envelope_id
from backuppeer.signaling.servers import is_server_url

T = TypeVar("T")
NONCE_BYTES: Final = 16
ENVELOPE_OVERHEAD_BYTES: Final = 1136
_HEADER: Final = struct.Struct(">8sQ")
PLAIN_BYTES: Final = limits.KNOCK_BYTES - _HEADER.size - ENVELOPE_OVERHEAD_BYTES
_KNOCK_LABEL: Final = b"backuppeer/v1/knock\0"
_REPLY_LABEL: Final = b"backuppeer/v1/knock-reply\0"
_SIZE_MAX: Final = 1 << 60


class Knock(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request. Ids and keys are raw bytes, sizes bytes, times milliseconds since 1970 UTC or seconds."""

    v: int = VERSION
    recipient: bytes
    listing_seq: int
    envelope_id: bytes
    owner: bytes
    size_bytes: int
    term_s: int
    lock_s: int
    transport: bytes
    addresses: list[str]
    """Where the owner may be dialled, `ip:port`, at most 4."""
    servers: list[str]
    """Where the reply inbox is open, at most 2."""
    reply_inbox: bytes
    reply_key: bytes
    nonce: bytes
    issued_ms: int
    expires_ms: int
    ext: dict[str, bytes] = msgspec.field(default_factory=dict)


class Verdict(StrEnum):
    """What a host answers."""

    ACCEPTED = "accepted"
    PENDING = "pending"
    REJECTED = "rejected"


REJECTED_BY_PERSON: Final = "rejected"
"""`KnockReply.code` of a no that a person said to just this wish, and may take back. Unknown codes read as a no."""

INVITE_OVER: Final = "invite"
"""`KnockReply.code` of a no to an invite: it gives nothing, or not that."""

UNTRUSTED: Final = "untrusted"
"""`KnockReply.code` of a no to an owner that the host does not trust enough, whatever it wants (`host --min-trust`)."""

OFFERS_OTHER: Final = "offer"
"""`KnockReply.code` of a PENDING by a person who offers the terms in the reply instead; owners of before wait on."""


class KnockReply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer to one knock; every verdict has the same size on the wire."""

    v: int = VERSION
    host: bytes
    owner: bytes
    nonce: bytes
    """The knock's."""
    verdict: Verdict
    code: str = ""
    message: str = ""
    size_bytes: int = 0
    term_s: int = 0
    lock_s: int = 0
    binding: bytes = b""
    """The host's signed TransportBinding (proof.statements); empty when rejected. Checked by whoever dials."""
    issued_ms: int
    ext: dict[str, bytes] = msgspec.field(default_factory=dict)


class KnockHeader(msgspec.Struct, frozen=True):
    """The clear 16 bytes of a sealed knock or reply: which key opens it."""

    envelope_id: bytes
    number: int


_KNOCK_DECODER: Final = msgspec.msgpack.Decoder(Knock)
_REPLY_DECODER: Final = msgspec.msgpack.Decoder(KnockReply)


def make_nonce() -> bytes:
    """Return 16 random bytes, which name one knock and let its replay be refused."""
    return os.urandom(NONCE_BYTES)


def read_header(sealed: bytes) -> KnockHeader:
    """Return which envelope key a sealed knock or reply needs; nothing is trusted yet.

    Raises:
        ProtocolViolation: not exactly KNOCK_BYTES long.

    """
    if len(sealed) != limits.KNOCK_BYTES:
        raise ProtocolViolation(f"a knock has {limits.KNOCK_BYTES} bytes, not {len(sealed)}")
    return KnockHeader(*_HEADER.unpack_from(sealed))


def seal_knock(knock: Knock, key: SigningKey, *, envelope_key: bytes) -> bytes:
    """Sign a knock with the owner's identity and seal it to the host's envelope key: KNOCK_BYTES.

    Raises:
        LocalError: a field breaks a rule, the key is not the owner's, or the fields don't fit.

    """
    if key.public != knock.owner or envelope_id(envelope_key) != knock.envelope_id:
        raise LocalError("a knock must be signed by its owner and sealed to the key it names")
    _check_own(_check_knock, knock)
    blob = msgspec.msgpack.encode(knock)
    plain = _pad(sign_blob(blob, Purpose.KNOCK, key=key, cap_bytes=PLAIN_BYTES))
    header = _HEADER.pack(knock.envelope_id, knock.listing_seq)
    return header + seal_envelope(envelope_key, plain, _knock_info(knock.recipient, header))


def open_knock(sealed: bytes, key: EnvelopeKey, *, recipient: PeerId, now_ms: int) -> Knock:
    """Open a knock with the envelope key its header names, and check everything but the replay of its nonce.

    Raises:
        ProtocolViolation: wrong length, malformed, for another recipient, listing or key, expired, or from the future.
        IntegrityFault: the envelope does not open (another key, or altered bytes).
        AuthenticationFault: the signature inside is not the owner's.

    """
    header = read_header(sealed)
    plain = key.open(sealed[_HEADER.size :], _knock_info(recipient, sealed[: _HEADER.size]))
    blob, signature = _unpad(plain, what="knock")
    knock = decode_blob(_KNOCK_DECODER, blob, what="knock")
    _check_knock(knock)
    _require(knock.recipient == recipient, "it is for another host")
    _require((knock.envelope_id, knock.listing_seq) == (header.envelope_id, header.number), "it names another listing")
    verify_signature(knock.owner, Purpose.KNOCK, blob, signature)
    _check_time(knock, now_ms)
    return knock


def seal_reply(reply: KnockReply, key: SigningKey, *, knock: Knock) -> bytes:
    """Sign a reply with the host's identity and seal it to the knock's reply key: KNOCK_BYTES.

    Raises:
        LocalError: a field breaks a rule, or the reply does not belong to the knock.

    """
    if key.public != reply.host or _bound(reply) != (knock.recipient, knock.owner, knock.nonce):
        raise LocalError("a reply must be signed by the host and repeat the knock's owner and nonce")
    _check_own(_check_reply, reply)
    blob = msgspec.msgpack.encode(reply)
    plain = _pad(sign_blob(blob, Purpose.KNOCK_REPLY, key=key, cap_bytes=PLAIN_BYTES))
    # The number is random: were it the listing's, a server could tell which inbox answers which listing.
    header = envelope_id(knock.reply_key) + os.urandom(_HEADER.size - ENVELOPE_ID_BYTES)
    return header + seal_envelope(knock.reply_key, plain, _reply_info(knock, header))


def open_reply(sealed: bytes, key: EnvelopeKey, *, knock: Knock) -> KnockReply:
    """Open the reply to one's own `knock` with its one-time reply key.

    Raises:
        ProtocolViolation: wrong length, malformed, or for another knock.
        IntegrityFault: the envelope does not open.
        AuthenticationFault: the signature inside is not the knocked host's.

    """
    read_header(sealed)
    plain = key.open(sealed[_HEADER.size :], _reply_info(knock, sealed[: _HEADER.size]))
    blob, signature = _unpad(plain, what="reply")
    reply = decode_blob(_REPLY_DECODER, blob, what="reply")
    _check_reply(reply)
    _require(_bound(reply) == (knock.recipient, knock.owner, knock.nonce), "it answers another knock")
    verify_signature(knock.recipient, Purpose.KNOCK_REPLY, blob, signature)
    return reply


def _knock_info(recipient: bytes, header: bytes) -> bytes:
    """Return what the envelope is bound to: label ‖ recipient ‖ key id ‖ listing number."""
    return _KNOCK_LABEL + recipient + header


def _reply_info(knock: Knock, header: bytes) -> bytes:
    return _REPLY_LABEL + knock.recipient + knock.owner + knock.nonce + header


def _bound(reply: KnockReply) -> tuple[bytes, bytes, bytes]:
    return reply.host, reply.owner, reply.nonce


def _pad(signed: bytes) -> bytes:
    return signed.ljust(PLAIN_BYTES, b"\0")


def _unpad(plain: bytes, *, what: str) -> tuple[bytes, bytes]:
    blob, signature, rest = split_container(plain, cap_bytes=PLAIN_BYTES, what=what)
    _require(len(plain) == PLAIN_BYTES and not any(rest), "its padding is not zero")
    return blob, signature


def _check_time(knock: Knock, now_ms: int) -> None:
    skew_ms = limits.CLOCK_SKEW_S * 1000
    _require(knock.expires_ms + skew_ms > now_ms, "it has expired")
    _require(knock.issued_ms <= now_ms + skew_ms, "it is from the future")


def _check_knock(knock: Knock) -> None:
    for value, size in (
        (knock.recipient, PEER_ID_BYTES),
        (knock.owner, PEER_ID_BYTES),
        (knock.transport, PEER_ID_BYTES),
        (knock.envelope_id, ENVELOPE_ID_BYTES),
        (knock.reply_inbox, INBOX_BYTES),
        (knock.reply_key, ENVELOPE_KEY_BYTES),
        (knock.nonce, NONCE_BYTES),
    ):
        _require(len(value) == size, "an id or key has a wrong length")
    _require(0 < knock.listing_seq < 1 << 63, "listing number out of range")
    _check_terms(knock.size_bytes, knock.term_s, lock_s=knock.lock_s)
    _require(len(knock.addresses) <= limits.PEER_ADDRESSES, "too many addresses")
    _require(all(0 < len(a) <= limits.ADDRESS_CHARS for a in knock.addresses), "an address is too long")
    _require(len(knock.servers) <= limits.KNOCK_SERVERS, "too many servers")
    _require(all(is_server_url(url) for url in knock.servers), "names a server that is no ws or wss address")
    life_ms = knock.expires_ms - knock.issued_ms
    _require(knock.issued_ms >= 0 and 0 < life_ms <= limits.KNOCK_LIFE_S * 1000, "lives at most an hour")


def _check_reply(reply: KnockReply) -> None:
    _require(len(reply.host) == PEER_ID_BYTES and len(reply.owner) == PEER_ID_BYTES, "a peer id has a wrong length")
    _require(len(reply.nonce) == NONCE_BYTES, "nonce has a wrong length")
    _require(max(len(reply.code), len(reply.message)) <= limits.KNOCK_TEXT_CHARS, "text is too long")
    _require(len(reply.binding) <= limits.KNOCK_BINDING_BYTES, "transport binding is too long")
    _require(reply.verdict is not Verdict.REJECTED or not reply.binding, "a rejection tells no address")
    _require(0 <= reply.issued_ms < 1 << 63, "time out of range")
    _check_terms(reply.size_bytes, reply.term_s, lock_s=reply.lock_s)


def _check_terms(size_bytes: int, term_s: int, *, lock_s: int) -> None:
    _require(0 <= size_bytes <= _SIZE_MAX, "size out of range")
    _require(0 <= term_s <= limits.LISTING_TERM_S and 0 <= lock_s <= limits.LISTING_TERM_S, "term or lock out of range")


def _check_own(check: Callable[[T], None], value: T) -> None:
    """Run the recipient's check before signing, so that we never send what would be refused."""
    try:
        check(value)
    except ProtocolViolation as exc:
        raise LocalError(f"refused to sign: {exc.message}") from exc


def _require(holds: bool, what: str) -> None:  # noqa: FBT001 - reads as a sentence: require (condition, rule)
    if not holds:
        raise ProtocolViolation(f"knock or reply refused: {what}")
