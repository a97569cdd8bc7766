"""Messages between a client and a signaling server: msgpack maps tagged by `t`, one per binary WebSocket message.

Knows: shapes, caps, the inbox proof's bytes. Must not know: sockets, engines, what is inside a listing or a sealed
message. Sans-IO and shared by both sides, so that they can't drift apart. Unknown fields are ignored (a newer client
may say more); an unknown type, or a field of the wrong shape, is a protocol violation.

A socket does one thing. Its first message decides which (publish, browse, deposit or inbox), and the table below says
what may follow; so even a careless client can't link a knock to a listing by sending both through one socket.
"""

import re
from enum import StrEnum
from typing import Final, TypeVar

import msgspec

from backuppeer import limits
from backuppeer.crypto.stamp import BITS_MOST, STAMP_BYTES, WORK_BYTES
from backuppeer.errors import ProtocolViolation

T = TypeVar("T")
SUBPROTOCOL: Final = "backup-peer.v1"
"""Negotiated in the WebSocket opening; a server of another version refuses there, by name."""
SPEAKS: Final = f"this server speaks {SUBPROTOCOL}\n"
"""What it says then."""
OTHER_VERSION: Final = re.compile(rb"this server speaks (backup-peer\.v[0-9]{1,4})\n")
"""What one of any version says."""
CHALLENGE_BYTES: Final = 32
INBOX_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
TRANSPORT_BYTES: Final = 32
OBSERVER_BYTES: Final = TRANSPORT_BYTES + 2 + 1
"""Transport key ‖ UDP port u16be ‖ IP version, 4 or 6."""


class CloseCode:
    """WebSocket close codes of this protocol (4000-4999 are for applications, RFC 6455 section 7.4.2)."""

    MALFORMED: Final = 4400
    UNPROVEN: Final = 4401
    TOO_MANY: Final = 4429
    SILENT: Final = 4408
    TAKEN_OVER: Final = 4409
    FULL: Final = 4503
    BUSY: Final = 4504
    """Can't now: go elsewhere, or come back."""
    TOO_BIG: Final = 1009


# --- client to server
class Publish(msgspec.Struct, tag="publish", tag_field="t", frozen=True, omit_defaults=True):
    """Put this signed listing (or tombstone) on show while my socket lives.

    stamp: STAMP_BYTES of work for a key that is new here (ADR 68), or none. Beside the listing and not in it, so that
    one listing goes to many servers.
    """

    listing: bytes
    stamp: bytes = b""


class Browse(msgspec.Struct, tag="browse", tag_field="t", frozen=True):
    """Hand out a page; an empty cursor starts a new random order."""

    cursor: bytes
    limit: int


class Deposit(msgspec.Struct, tag="deposit", tag_field="t", frozen=True):
    """Leave exactly KNOCK_BYTES sealed bytes in an inbox.

    work: WORK_BYTES that answer a `WorkWanted`, NO_WORK where nothing was asked for (so that all have one size), or
    nothing in programs of before, which can't work (ADR 83).
    """

    inbox: bytes
    sealed: bytes
    work: bytes = b""


class OpenInbox(msgspec.Struct, tag="open-inbox", tag_field="t", frozen=True):
    """I hold the key of this inbox (Ed25519 public key); challenge me."""

    inbox: bytes


class ProveInbox(msgspec.Struct, tag="prove-inbox", tag_field="t", frozen=True):
    """Signature (Purpose.INBOX) over `inbox_proof_blob`."""

    signature: bytes


class Taken(msgspec.Struct, tag="taken", tag_field="t", frozen=True):
    """I have this message for good; forget it."""

    number: int


class LeaveNote(msgspec.Struct, tag="leave-note", tag_field="t", frozen=True):
    """Leave exactly NOTE_BYTES sealed bytes in a recovery inbox, in place of the note before.

    `signature` (Purpose.RECOVERY_DEPOSIT): by the inbox, which is a public key, over `note.deposit_blob`.
    """

    inbox: bytes
    number: int
    sealed: bytes
    signature: bytes


class OpenNote(msgspec.Struct, tag="open-note", tag_field="t", frozen=True):
    """I hold the key of this recovery inbox; challenge me."""

    inbox: bytes


class ProveNote(msgspec.Struct, tag="prove-note", tag_field="t", frozen=True):
    """Signature (Purpose.RECOVERY_INBOX) over `inbox_proof_blob`."""

    signature: bytes


class AskRelay(msgspec.Struct, tag="ask-relay", tag_field="t", frozen=True):
    """Admit this transport key (32 bytes) to the relay and the observers, or go on admitting it (ADR 77)."""

    transport: bytes


# --- server to client
class Published(msgspec.Struct, tag="published", tag_field="t", frozen=True, omit_defaults=True):
    """Answer to Publish. `code`: empty when accepted, else a `Refusal`. bits: of a puzzle, where a stamp is wanted."""

    accepted: bool
    code: str
    bits: int = 0


class Page(msgspec.Struct, tag="page", tag_field="t", frozen=True):
    """Answer to Browse: signed listings in random order; an empty cursor is the end. `total`: slots on show."""

    rows: list[bytes]
    cursor: bytes
    total: int


class Deposited(msgspec.Struct, tag="deposited", tag_field="t", frozen=True):
    """Answer to every well-formed Deposit, whether the inbox is known, unknown or full: always the same bytes."""


class WorkWanted(msgspec.Struct, tag="work-wanted", tag_field="t", frozen=True):
    """Answer to a Deposit while the server, or the inbox, is flooded: it was not taken; send it again with work.

    bits: of each puzzle. challenge: 32 fresh random bytes, good for this socket, this inbox and one message.
    """

    bits: int
    challenge: bytes


class Challenge(msgspec.Struct, tag="challenge", tag_field="t", frozen=True):
    """Answer to OpenInbox: 32 fresh random bytes, good for this socket only."""

    nonce: bytes


class InboxOpen(msgspec.Struct, tag="inbox-open", tag_field="t", frozen=True):
    """Answer to a proof that holds; messages follow."""


class Message(msgspec.Struct, tag="message", tag_field="t", frozen=True):
    """One sealed message of the inbox; sent again on the next opening unless answered by Taken."""

    number: int
    sealed: bytes


class Noted(msgspec.Struct, tag="noted", tag_field="t", frozen=True):
    """Answer to every LeaveNote whose signature holds, whatever became of the note: always the same bytes."""


class NoteIs(msgspec.Struct, tag="note", tag_field="t", frozen=True):
    """Answer to a proof that holds: the note, or as many random bytes where there is none.

    Only who has the key to open notes can tell the two apart, not who watches the line.
    """

    sealed: bytes


class RelayIs(msgspec.Struct, tag="relay-is", tag_field="t", frozen=True, omit_defaults=True):
    """Answer to AskRelay. life_s: how long the key is admitted; 0 = there is no relay, or it is full.

    observers: OBSERVER_BYTES each, see `pack_observer`; empty: the server tells nobody its address. at: the address of
    this very node, where relay and observers are, when others answer to the name that was dialled; empty: that name.
    """

    life_s: int = 0
    observers: list[bytes] = []
    at: str = ""


class Refusal(StrEnum):
    """Why a well-formed listing was not put on show."""

    INVALID = "invalid"
    """Signature, buckets, or times don't hold."""
    STALE = "stale"
    """A higher number, or another listing of the same number, was published."""
    FULL = "full"
    BUSY = "busy"
    """Not now: the socket is closed with BUSY, and the publisher comes back by itself."""
    STAMP = "a new key needs a stamp: this program is too old to make one"
    """No stamp, or none that holds, for a key that the server has not seen lately. In words, for programs of before."""


WRONG_CLOCK: Final = "the clock of this computer seems wrong"

_EXPLAINED: Final[dict[str, str]] = {
    Refusal.STAMP: "it asked for a stamp, and did not take the one that was made; is this computer's clock right?",
    Refusal.BUSY: "it is busy and can't take offers now; it is asked again by itself",
}


def explain_refusal(code: str) -> str:
    """Return why a listing that we made and signed ourselves was not put on show."""
    # Shape and signature hold, as we made them: what is left are its times, by the server's clock.
    if code == Refusal.INVALID:
        return WRONG_CLOCK
    return _EXPLAINED.get(code, code)


Request = Publish | Browse | Deposit | OpenInbox | ProveInbox | Taken | LeaveNote | OpenNote | ProveNote | AskRelay
Answer = Published | Page | Deposited | WorkWanted | Challenge | InboxOpen | Message | Noted | NoteIs | RelayIs


class Role(StrEnum):
    """What a socket is for."""

    UNDECIDED = "undecided"
    PUBLISHER = "publisher"
    VIEWER = "viewer"
    SENDER = "sender"
    CLAIMANT = "claimant"
    INBOX = "inbox"
    NOTER = "noter"
    SEEKER = "seeker"
    FINDER = "finder"
    CALLER = "caller"


NEXT_ROLE: Final[dict[tuple[Role, type], Role]] = {
    (Role.UNDECIDED, Publish): Role.PUBLISHER,
    (Role.PUBLISHER, Publish): Role.PUBLISHER,
    (Role.UNDECIDED, Browse): Role.VIEWER,
    (Role.VIEWER, Browse): Role.VIEWER,
    (Role.UNDECIDED, Deposit): Role.SENDER,
    (Role.SENDER, Deposit): Role.SENDER,
    (Role.UNDECIDED, OpenInbox): Role.CLAIMANT,
    (Role.CLAIMANT, ProveInbox): Role.INBOX,
    (Role.INBOX, Taken): Role.INBOX,
    # One recovery inbox per socket, and nothing after it: two of them on one socket would be linked.
    (Role.UNDECIDED, LeaveNote): Role.NOTER,
    (Role.UNDECIDED, OpenNote): Role.SEEKER,
    (Role.SEEKER, ProveNote): Role.FINDER,
    # A transport key, which the relay sees anyway, on a socket that says nothing else.
    (Role.UNDECIDED, AskRelay): Role.CALLER,
}
"""An unlisted pair closes the socket."""

_ENCODER: Final = msgspec.msgpack.Encoder()
_REQUESTS: Final[msgspec.msgpack.Decoder[Request]] = msgspec.msgpack.Decoder(Request)
_ANSWERS: Final[msgspec.msgpack.Decoder[Answer]] = msgspec.msgpack.Decoder(Answer)


def next_role(role: Role, request: Request) -> Role:
    """Return what a socket becomes by sending `request`.

    Raises:
        ProtocolViolation: a socket in this role may not send it.

    """
    following = NEXT_ROLE.get((role, type(request)))
    if following is None:
        raise ProtocolViolation(f"a {role} socket may not send {type(request).__name__}")
    return following


def inbox_proof_blob(nonce: bytes, origin: str, inbox: bytes) -> bytes:
    """Return what an inbox proof signs: challenge 32 ‖ inbox 32 ‖ origin (ASCII).

    `origin` is host and port as the client dialled them (`servers.authority`): so a server that passes another
    server's challenge on gets a signature over its own name, which the other refuses.
    """
    return nonce + inbox + origin.encode("ascii", "backslashreplace")


def encode(message: Request | Answer) -> bytes:
    """Return the bytes of one message."""
    return _ENCODER.encode(message)


def decode_request(data: bytes | str) -> Request:
    """Return a client's message, its lengths checked.

    Raises:
        ProtocolViolation: text instead of bytes, too long, unknown type, wrong shape or length.

    """
    request = _decode(_REQUESTS, data, cap_bytes=limits.SIGNALING_CLIENT_FRAME_BYTES)
    match request:
        case Publish(listing=listing, stamp=stamp):
            _require(len(listing) <= limits.LISTING_BYTES, "listing is too long")
            _require(len(stamp) in {0, STAMP_BYTES}, "stamp has a wrong length")
        case Browse(cursor=cursor, limit=limit):
            _require(len(cursor) <= limits.SIGNALING_CURSOR_BYTES, "cursor is too long")
            _require(1 <= limit <= limits.PAGE_LISTINGS, "page size out of range")
        case Deposit(inbox=inbox, sealed=sealed, work=work):
            _require(len(inbox) == INBOX_BYTES, "inbox has a wrong length")
            _require(len(sealed) == limits.KNOCK_BYTES, "sealed message has a wrong length")
            _require(len(work) in {0, WORK_BYTES}, "work has a wrong length")
        case OpenInbox(inbox=inbox) | OpenNote(inbox=inbox):
            _require(len(inbox) == INBOX_BYTES, "inbox has a wrong length")
        case LeaveNote():
            _require(len(request.inbox) == INBOX_BYTES, "inbox has a wrong length")
            _require(0 <= request.number < 1 << 63, "note number out of range")
            _require(len(request.sealed) == limits.NOTE_BYTES, "note has a wrong length")
            _require(len(request.signature) == SIGNATURE_BYTES, "signature has a wrong length")
        case ProveInbox(signature=signature) | ProveNote(signature=signature):
            _require(len(signature) == SIGNATURE_BYTES, "signature has a wrong length")
        case AskRelay(transport=transport):
            _require(len(transport) == TRANSPORT_BYTES, "transport key has a wrong length")
        case Taken(number=number):
            _require(0 <= number < 1 << 63, "message number out of range")
    return request


def decode_answer(data: bytes | str) -> Answer:
    """Return a server's message, its lengths checked.

    Raises:
        ProtocolViolation: text instead of bytes, too long, unknown type, wrong shape or length.

    """
    answer = _decode(_ANSWERS, data, cap_bytes=limits.SIGNALING_FRAME_BYTES)
    match answer:
        case Page(rows=rows, cursor=cursor):
            _require(len(rows) <= limits.PAGE_LISTINGS, "page has too many rows")
            _require(len(cursor) <= limits.SIGNALING_CURSOR_BYTES, "cursor is too long")
        case Challenge(nonce=nonce):
            _require(len(nonce) == CHALLENGE_BYTES, "challenge has a wrong length")
        case WorkWanted(bits=bits, challenge=challenge):
            _require(0 < bits <= BITS_MOST, "bits out of range")
            _require(len(challenge) == CHALLENGE_BYTES, "challenge has a wrong length")
        case Message(sealed=sealed):
            _require(len(sealed) == limits.KNOCK_BYTES, "sealed message has a wrong length")
        case NoteIs(sealed=sealed):
            _require(len(sealed) == limits.NOTE_BYTES, "note has a wrong length")
        case Published(code=code, bits=bits):
            _require(len(code) <= limits.KNOCK_TEXT_CHARS, "code is too long")
            _require(0 <= bits <= BITS_MOST, "bits out of range")
        case RelayIs(life_s=life_s, observers=observers, at=at):
            _require(len(at) <= limits.SERVER_URL_CHARS, "address of a node is too long")
            _require(0 <= life_s <= limits.RELAY_LIFE_MOST_S, "life out of range")
            _require(len(observers) <= limits.OBSERVERS, "too many observers")
            _require(all(len(each) == OBSERVER_BYTES for each in observers), "observer has a wrong length")
        case _:
            pass
    return answer


def _decode(decoder: msgspec.msgpack.Decoder[T], data: bytes | str, *, cap_bytes: int) -> T:
    if isinstance(data, str):
        raise ProtocolViolation("signaling message refused: text instead of bytes")
    _require(len(data) <= cap_bytes, "message is too long")
    try:
        return decoder.decode(data)
    # UnicodeDecodeError: text that is not UTF-8. RecursionError: arrays nested some thousand deep.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ProtocolViolation(f"signaling message can't be read: {exc}") from exc


def _require(holds: bool, what: str) -> None:  # noqa: FBT001 - reads as a sentence: require (condition, rule)
    if not holds:
        raise ProtocolViolation(f"signaling message refused: {what}")
