"""What is said at a door on the network: one question, one answer, each of one size whatever it is.

Knows: bytes. Must not know: sockets, who asks, what a listing or a knock says.

The door speaks first, so that nothing is sent to a service that is none: `GREETING 8 ‖ challenge 32`. Then the
question: `kind 1 ‖ body 4096`, and the answer: 4096 bytes, or the end of the connection. Whoever watches the network
sees no difference between an offer that is fetched, a knock and a partner that is looked for, but what is in the clear.

    kind       body                                   answer
    1 listing  zeros                                  u16be(length) ‖ signed listing ‖ zeros; length 0 = nothing
    2 knock    the sealed knock                       the sealed reply
    3 seek     nonce 32 ‖ tag 32 ‖ zeros              sealed(u16be(length) ‖ signed binding ‖ zeros), or random bytes
"""

from enum import IntEnum
from typing import Final, NamedTuple

from backuppeer.crypto.recognition import CHALLENGE_BYTES, NONCE_BYTES, RECOGNITION_TAG_BYTES, SEAL_BYTES
from backuppeer.errors import LocalError, ProtocolViolation
from backuppeer.limits import KNOCK_BYTES

GREETING: Final = b"BPLAN\0\0\x01"
HELLO_BYTES: Final = len(GREETING) + CHALLENGE_BYTES
BODY_BYTES: Final = KNOCK_BYTES
QUESTION_BYTES: Final = 1 + BODY_BYTES
ANSWER_BYTES: Final = KNOCK_BYTES
_LENGTH_BYTES: Final = 2


class Kind(IntEnum):
    """What is asked."""

    LISTING = 1
    KNOCK = 2
    SEEK = 3


class Question(NamedTuple):
    """One question as a door hears it; body: BODY_BYTES."""

    kind: Kind
    body: bytes


class Sought(NamedTuple):
    """Who looks for a partner: what it shows, and with what nonce."""

    nonce: bytes
    tag: bytes


def pack_question(kind: Kind, body: bytes = b"") -> bytes:
    """Return QUESTION_BYTES.

    Raises:
        LocalError: the body is too long.

    """
    return bytes([kind]) + _fill(body, BODY_BYTES)


def unpack_question(data: bytes) -> Question:
    """Return what QUESTION_BYTES ask.

    Raises:
        ProtocolViolation: another length, or nothing that is known.

    """
    if len(data) != QUESTION_BYTES or data[0] not in set(Kind):
        raise ProtocolViolation("a neighbour asks what is unknown here")
    return Question(Kind(data[0]), data[1:])


def pack_sought(sought: Sought) -> bytes:
    """Return the body of a question of kind SEEK."""
    return sought.nonce + sought.tag


def unpack_sought(body: bytes) -> Sought:
    """Return what the body of a question of kind SEEK says."""
    return Sought(body[:NONCE_BYTES], body[NONCE_BYTES : NONCE_BYTES + RECOGNITION_TAG_BYTES])


def pack_text(data: bytes, size: int = ANSWER_BYTES) -> bytes:
    """Return `size` bytes that say their content's length first; a sealed answer has SEAL_BYTES less room.

    Raises:
        LocalError: there is no room.

    """
    return _fill(len(data).to_bytes(_LENGTH_BYTES, "big") + data, size)


def unpack_text(data: bytes) -> bytes:
    """Return what `pack_text` packed.

    Raises:
        ProtocolViolation: shorter than it says, or filled up with more than zeros.

    """
    end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "big")
    if end > len(data) or any(data[end:]):
        raise ProtocolViolation("an answer of a neighbour is malformed")
    return data[_LENGTH_BYTES:end]


SEALED_TEXT_BYTES: Final = ANSWER_BYTES - SEAL_BYTES
"""What is sealed in the answer to a partner."""


def read_hello(data: bytes) -> bytes:
    """Return the challenge that a door said.

    Raises:
        ProtocolViolation: it is no door, or one of another version.

    """
    if not data.startswith(GREETING) or len(data) != HELLO_BYTES:
        raise ProtocolViolation("what answers there is no peer's door")
    return data[len(GREETING) :]


def _fill(data: bytes, size: int) -> bytes:
    if len(data) > size:
        raise LocalError(f"{len(data)} bytes do not fit into {size}")
    return data.ljust(size, b"\0")
