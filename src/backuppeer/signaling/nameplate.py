"""Nameplate: the number of a spoken code, and the three messages of those who meet there (ADR 76).

Knows: their fields, sizes, envelopes. Must not know: SPAKE2, words, sockets, what is sealed under the shared key.

    plate   what the host leaves at the number, in the shape of a note: its message, where to answer, until when
    word    the guest's one answer, in the shape of a knock: its message, its confirmation, where it waits
    reply   the host's, in the shape of a knock's reply: its confirmation with the invite, or nothing: the code is burnt

Servers see a note, and two deposits, of the sizes that all of these have. What a plate says anybody can read and
replace who says the number; that tells nothing, and costs the code.
"""

import re
import struct
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from backuppeer.crypto.digest import Domain, hash_bytes
from backuppeer.crypto.envelope import ENVELOPE_OVERHEAD_BYTES, EnvelopeKey, seal_envelope
from backuppeer.crypto.invitation import Invitation, derive_nameplate
from backuppeer.crypto.spoken import MESSAGE_BYTES, SPOKEN_WORDS
from backuppeer.crypto.words import complete_word
from backuppeer.errors import LocalError, ProtocolViolation, UserError
from backuppeer.limits import INVITE_CHARS, KNOCK_BYTES, NAMEPLATES, NOTE_BYTES, SPOKEN_S
from backuppeer.signaling.container import VERSION, decode_blob
from backuppeer.signaling.listing import ENVELOPE_KEY_BYTES, INBOX_BYTES

T = TypeVar("T", "Plate", "Word", "Reply")
_LABEL: Final = b"backuppeer/v1/nameplate\0"
_LENGTH: Final = struct.Struct(">H")
_CODE: Final = re.compile(r"(\d{1,4})[-\s]+([a-z]+)[-\s]+([a-z]+)")
_HALF_CODE: Final = re.compile(r"\d{1,4}[-\s]+[a-z]+[-\s]*")
_SEALED_MOST: Final = INVITE_CHARS + 256


class Plate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the host leaves. Times in milliseconds since 1970 UTC."""

    v: int = VERSION
    message: bytes
    inbox: bytes
    key: bytes
    expires_ms: int


class Word(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the guest answers. confirmation: sealed under the shared key."""

    v: int = VERSION
    message: bytes
    confirmation: bytes
    inbox: bytes
    key: bytes


class Reply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the host replies. confirmation: sealed under the shared key; empty: the words were others, it is burnt."""

    v: int = VERSION
    confirmation: bytes


@dataclass(frozen=True, slots=True)
class SpokenCode:
    """A code as it is said: `7-abandon-ability`."""

    number: int
    words: str

    def __str__(self) -> str:
        """Return it as it is shown."""
        return f"{self.number}-{self.words}"

    def __repr__(self) -> str:
        """Show nothing of the words."""
        return f"SpokenCode({self.number}-…)"

    @property
    def place(self) -> Invitation:
        """Return the keys of the place that the number names."""
        return derive_nameplate(self.number)

    def context(self, server: str) -> bytes:
        """Return what both know of where they meet: host and port of the server, and the number."""
        return server.encode("ascii", "backslashreplace") + b"\0" + self.number.to_bytes(4, "big")


def is_spoken(text: str) -> bool:
    """Tell whether a text looks like a spoken code."""
    return _CODE.fullmatch(text.strip().lower()) is not None


def is_half_code(text: str) -> bool:
    """Tell whether a text looks like a spoken code without its last word; a peer's name may look so, too."""
    return _HALF_CODE.fullmatch(text.strip().lower()) is not None


def parse_code(text: str) -> SpokenCode:
    """Return the code that is meant; the first four letters of a word are enough.

    Raises:
        UserError: no code, or a word that is none of the list: nothing was tried, and the code is as good as before.

    """
    found = _CODE.fullmatch(text.strip().lower())
    if found is None or not 1 <= int(found[1]) <= NAMEPLATES:
        raise UserError(
            f"not a spoken code: {text.strip()[:60]!r}",
            hint=f"it is a number and {SPOKEN_WORDS} words, like 7-abandon-ability",
        )
    return SpokenCode(int(found[1]), "-".join(complete_word(word, n) for n, word in enumerate(found.groups()[1:], 1)))


def seal_plate(plate: Plate, place: Invitation, inbox: bytes) -> bytes:
    """Return a plate in the shape of a note, for the inbox of its number at one server: NOTE_BYTES."""
    return _seal(plate, place.opener().public, inbox, size_bytes=NOTE_BYTES)


def open_plate(sealed: bytes, place: Invitation, inbox: bytes, *, now_ms: int) -> Plate | None:
    """Return what lies at a number; None: nobody waits there any more.

    Raises:
        IntegrityFault: nothing lies there.
        ProtocolViolation: it is malformed.

    """
    plate = _open(Plate, sealed, place.opener(), inbox, size_bytes=NOTE_BYTES)
    _require((len(plate.message), len(plate.inbox), len(plate.key)))
    return plate if now_ms < plate.expires_ms <= now_ms + 2 * SPOKEN_S * 1000 else None


def seal_word(word: Word, plate: Plate) -> bytes:
    """Return the guest's answer for the inbox of a plate: KNOCK_BYTES."""
    return _seal(word, plate.key, plate.inbox, size_bytes=KNOCK_BYTES)


def open_word(sealed: bytes, key: EnvelopeKey, inbox: bytes) -> Word:
    """Return what was answered to a plate.

    Raises:
        IntegrityFault, ProtocolViolation: it is not for it, or malformed; no guess was made.

    """
    word = _open(Word, sealed, key, inbox, size_bytes=KNOCK_BYTES)
    _require((len(word.message), len(word.inbox), len(word.key)))
    return word


def seal_spoken_reply(reply: Reply, word: Word) -> bytes:
    """Return the host's reply for the inbox that the guest named: KNOCK_BYTES.

    Raises:
        ProtocolViolation: the guest's key is malformed.

    """
    return _seal(reply, word.key, word.inbox, size_bytes=KNOCK_BYTES)


def open_spoken_reply(sealed: bytes, key: EnvelopeKey, inbox: bytes) -> Reply:
    """Return what the host replied.

    Raises:
        IntegrityFault, ProtocolViolation: it is not for us, or malformed.

    """
    return _open(Reply, sealed, key, inbox, size_bytes=KNOCK_BYTES)


def transcript_of(plate: Plate, word: Word, context: bytes) -> bytes:
    """Return 32 bytes of all that both have seen before the guest confirmed: place, messages, inboxes, keys."""
    parts = (context, plate.message, plate.inbox, plate.key, word.message, word.inbox, word.key)
    said = b"".join(_LENGTH.pack(len(part)) + part for part in parts)
    return hash_bytes(Domain.INVITE, b"backuppeer spoken transcript\0" + said)


def _seal(value: "Plate | Word | Reply", key: bytes, inbox: bytes, *, size_bytes: int) -> bytes:
    blob, room = msgspec.msgpack.encode(value), size_bytes - ENVELOPE_OVERHEAD_BYTES
    if len(blob) + _LENGTH.size > room:
        raise LocalError("a message of a spoken code is too long")
    return seal_envelope(key, (_LENGTH.pack(len(blob)) + blob).ljust(room, b"\0"), _LABEL + inbox)


def _open(kind: type[T], sealed: bytes, key: EnvelopeKey, inbox: bytes, *, size_bytes: int) -> T:
    if len(sealed) != size_bytes:
        raise ProtocolViolation(f"a message of a spoken code has {size_bytes} bytes, not {len(sealed)}")
    plain = key.open(sealed, _LABEL + inbox)
    (length,) = _LENGTH.unpack_from(plain)
    blob, rest = plain[_LENGTH.size : _LENGTH.size + length], plain[_LENGTH.size + length :]
    if len(blob) != length or any(rest):
        raise ProtocolViolation("a message of a spoken code is cut short, or its padding is not zero")
    value = decode_blob(msgspec.msgpack.Decoder(kind), blob, what="message of a spoken code")
    if not isinstance(value, Plate) and len(value.confirmation) > _SEALED_MOST:
        raise ProtocolViolation("a confirmation is too long")
    return value


def _require(lengths: tuple[int, int, int]) -> None:
    if lengths != (MESSAGE_BYTES, INBOX_BYTES, ENVELOPE_KEY_BYTES):
        raise ProtocolViolation("a message, inbox or key of a spoken code has a wrong length")
