"""Frames: length ‖ type ‖ msgpack body, read and written without IO (docs/protocol.md, "Frames").

Knows: the frame layout, caps, how msgspec fails. Must not know: states, streams, who talks. Bytes from outside end in a
frame, a message, or one of our errors; never in an exception of the library, and never in a buffer beyond the cap.

A frame's length is checked as soon as its four bytes are there, before anything of its body is kept. A driver reads
at most `wanted_bytes` at a time and so never takes raw bulk bytes that follow a frame.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from msgspec import MsgspecError, msgpack

from backuppeer.errors import LocalError, ProtocolViolation
from backuppeer.limits import FRAME_BYTES
from backuppeer.wire.fields import Message
from backuppeer.wire.numbers import NUMBERS, TYPES

LENGTH_BYTES: Final = 4
_DECODERS: Final[Mapping[int, msgpack.Decoder[Message]]] = MappingProxyType(
    {number: msgpack.Decoder(kind) for number, kind in TYPES.items()}
)
_ENCODER: Final = msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it came: type number, and the body still undecoded."""

    number: int
    body: bytes


@dataclass(frozen=True, slots=True)
class UnknownMessage:
    """A well-framed message whose number this version does not know; to be answered with Unsupported."""

    number: int


def encode(message: Message, *, cap: int = FRAME_BYTES) -> bytes:
    """Return the frame of a message; `cap` is the most bytes that may follow the length.

    Raises:
        LocalError: not a message of the table, or a frame the peer would refuse.

    """
    number = NUMBERS.get(type(message))
    if number is None:
        raise LocalError(f"no message type: {type(message).__name__}")
    body = _ENCODER.encode(message)
    if 1 + len(body) > cap:
        raise LocalError(f"a {type(message).__name__} of {len(body)} bytes is over the frame cap of {cap}")
    return (1 + len(body)).to_bytes(LENGTH_BYTES, "big") + bytes([number]) + body


def decode(frame: Frame) -> Message | UnknownMessage:
    """Return the message of a frame, or UnknownMessage if its number is not in the table.

    Raises:
        ProtocolViolation: the body is not a msgpack map with the fields of its type, within their caps.

    """
    decoder = _DECODERS.get(frame.number)
    if decoder is None:
        return UnknownMessage(frame.number)
    try:
        return decoder.decode(frame.body)
    # UnicodeDecodeError: a text field that is not UTF-8. RecursionError: arrays nested without end in an ignored field.
    except (MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise ProtocolViolation(f"malformed {TYPES[frame.number].__name__} message") from exc


class FrameReader:
    """Cuts fed bytes into frames; holds less than one frame and one feed."""

    def __init__(self, *, cap: int = FRAME_BYTES) -> None:
        self._buffer = bytearray()
        self._cap = cap

    def raise_cap(self, cap: int = FRAME_BYTES) -> None:
        """Allow frames of up to `cap` bytes from the next one on: for a peer that is proven now."""
        self._cap = max(self._cap, cap)

    def wanted_bytes(self) -> int:
        """Return how many more bytes complete the length or, once that is known, the frame; 0 if a frame is there.

        Raises:
            ProtocolViolation: the next frame is empty or over the cap.

        """
        held = len(self._buffer)
        return LENGTH_BYTES - held if held < LENGTH_BYTES else max(0, LENGTH_BYTES + self._length() - held)

    def feed(self, data: bytes) -> None:
        """Take bytes from the stream.

        Raises:
            ProtocolViolation: the frame that they begin or continue is empty or over the cap.
            LocalError: a whole frame is waiting to be taken; taking it first is what bounds the buffer.

        """
        if self._buffer and self.wanted_bytes() == 0:
            raise LocalError("frame reader fed while a frame was waiting")
        head = bytes(self._buffer[:LENGTH_BYTES]) + data[: max(0, LENGTH_BYTES - len(self._buffer))]
        if len(head) >= LENGTH_BYTES:
            self._check(int.from_bytes(head[:LENGTH_BYTES], "big"))
        self._buffer += data

    def next_frame(self) -> Frame | None:
        """Return the next whole frame, or None if more bytes are wanted.

        Raises:
            ProtocolViolation: the next frame is empty or over the cap.

        """
        if self.wanted_bytes():
            return None
        end = LENGTH_BYTES + self._length()
        frame = Frame(self._buffer[LENGTH_BYTES], bytes(self._buffer[LENGTH_BYTES + 1 : end]))
        del self._buffer[:end]
        return frame

    def take_rest(self) -> bytes:
        """Return and forget what is held beyond the frames taken: the start of raw bytes, if the driver over-read."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def finish(self) -> None:
        """Say that the peer finished its direction.

        Raises:
            ProtocolViolation: in the middle of a frame.

        """
        if self._buffer:
            raise ProtocolViolation("the stream ended in the middle of a message")

    def _length(self) -> int:
        length = int.from_bytes(self._buffer[:LENGTH_BYTES], "big")
        self._check(length)
        return length

    def _check(self, length: int) -> None:
        if not 1 <= length <= self._cap:
            raise ProtocolViolation(f"a message of {length} bytes, allowed are 1 to {self._cap}")
