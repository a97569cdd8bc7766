"""Note: what a host leaves for an owner who may have lost everything, sealed, always of one size (ADR 46).

Knows: the fields, the signature inside, the envelope outside. Must not know: servers, sockets, what the statements in
it say: whoever opens a note checks them, and counts it only with the co-signed agreement in it.

Layout: HPKE(`u32be(len) ‖ blob ‖ signature` ‖ zeros), NOTE_BYTES in all, and nothing in the clear: not even which key
opens it, as that would link the inboxes of one slot. HPKE's info repeats the label and the inbox, so a note can't be
moved to another server, quarter or slot; the host's signature holds its parts together.
"""

from typing import Final, NamedTuple

import msgspec

from backuppeer.crypto.envelope import ENVELOPE_OVERHEAD_BYTES, EnvelopeKey, seal_envelope
from backuppeer.crypto.identity import Purpose, SigningKey, verify_signature
from backuppeer.errors import LocalError, ProtocolViolation
from backuppeer.ids import PEER_ID_BYTES
from backuppeer.limits import NOTE_BYTES, NOTE_SERVERS, SERVER_URL_CHARS, SIGNED_BYTES
from backuppeer.signaling.container import OVERHEAD_BYTES, VERSION, decode_blob, sign_blob, split_container
from backuppeer.signaling.servers import is_server_url

PLAIN_BYTES: Final = NOTE_BYTES - ENVELOPE_OVERHEAD_BYTES
_BLOB_BYTES: Final = PLAIN_BYTES - OVERHEAD_BYTES
_LABEL: Final = b"backuppeer/v1/recovery-note\0"
_LARGEST: Final = 1 << 63


class Note(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One host's word to its owner. Statements are exact signed bytes; `time_ms`: when it was written."""

    v: int = VERSION
    host: bytes
    agreement: bytes
    """Signed by both: without it a note counts for nothing."""
    head: bytes = b""
    grant: bytes = b""
    receipt: bytes = b""
    """The newest head that the host holds, the grant that it rests on, the host's receipt for it; empty without one."""
    binding: bytes
    """Signed TransportBinding: where the host can be dialled."""
    servers: list[str]
    """Where else it leaves notes, at most NOTE_SERVERS: the word of a peer."""
    time_ms: int
    ext: dict[str, bytes] = msgspec.field(default_factory=dict)


class Deposit(NamedTuple):
    """What a server is given: `number` ascends, so that an older note never replaces a newer one."""

    inbox: bytes
    number: int
    sealed: bytes
    signature: bytes


_DECODER: Final = msgspec.msgpack.Decoder(Note)


def seal_note(note: Note, host: SigningKey, *, key: bytes, inbox: bytes) -> bytes:
    """Sign a note with the host's identity and seal it to the 1216-byte `key` of a slot, for one inbox: NOTE_BYTES.

    Servers are left out from the end where they don't fit.

    Raises:
        LocalError: a field breaks a rule, the key is not the host's, or the rest does not fit.
        ProtocolViolation: `key` is malformed.

    """
    if host.public != note.host:
        raise LocalError("a note must be signed by the host that it names")
    try:
        _check(note)
    except ProtocolViolation as exc:
        raise LocalError(f"refused to sign: {exc.message}") from exc
    blob = msgspec.msgpack.encode(note)
    while len(blob) > _BLOB_BYTES and note.servers:
        note = msgspec.structs.replace(note, servers=note.servers[:-1])
        blob = msgspec.msgpack.encode(note)
    plain = sign_blob(blob, Purpose.RECOVERY_NOTE, key=host, cap_bytes=PLAIN_BYTES).ljust(PLAIN_BYTES, b"\0")
    return seal_envelope(key, plain, _LABEL + inbox)


def open_note(sealed: bytes, opener: EnvelopeKey, *, inbox: bytes) -> Note:
    """Open a note that was found in `inbox`; the statements in it are still to be checked.

    Raises:
        ProtocolViolation: wrong length, or malformed.
        IntegrityFault: it is not sealed to this slot, or not for this inbox: also what a server makes up.
        AuthenticationFault: the host that it names did not sign it.

    """
    _require(len(sealed) == NOTE_BYTES, "wrong length")
    plain = opener.open(sealed, _LABEL + inbox)
    blob, signature, rest = split_container(plain, cap_bytes=PLAIN_BYTES, what="note")
    _require(not any(rest), "its padding is not zero")
    note = decode_blob(_DECODER, blob, what="note")
    _check(note)
    verify_signature(note.host, Purpose.RECOVERY_NOTE, blob, signature)
    return note


def sign_deposit(key: SigningKey, number: int, sealed: bytes) -> Deposit:
    """Return what leaves a sealed note in the inbox of `key`."""
    return Deposit(
        key.public, number, sealed, key.sign(Purpose.RECOVERY_DEPOSIT, deposit_blob(key.public, number, sealed))
    )


def deposit_blob(inbox: bytes, number: int, sealed: bytes) -> bytes:
    """Return what a deposit signs: inbox 32 ‖ u64be(number) ‖ note. The server knows the key by its name: the inbox."""
    return inbox + number.to_bytes(8, "big") + sealed


def _check(note: Note) -> None:
    _require(len(note.host) == PEER_ID_BYTES, "a peer id has a wrong length")
    statements = (note.agreement, note.head, note.grant, note.receipt, note.binding)
    _require(max(map(len, statements)) <= SIGNED_BYTES, "a statement is too long")
    _require(bool(note.agreement and note.binding), "it has no agreement or no address")
    _require(bool(note.head) == bool(note.grant) == bool(note.receipt), "a head without its grant or receipt")
    _require(len(note.servers) <= NOTE_SERVERS, "too many servers")
    named = all(len(url) <= SERVER_URL_CHARS and is_server_url(url) for url in note.servers)
    _require(named, "names a server that is no ws or wss address")
    _require(0 <= note.time_ms < _LARGEST, "time out of range")


def _require(holds: bool, what: str) -> None:  # noqa: FBT001 - reads as a sentence: require (condition, rule)
    if not holds:
        raise ProtocolViolation(f"note refused: {what}")
