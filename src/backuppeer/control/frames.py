"""The stream of a bulk route: events and raw bytes in one order, each in a frame.

Knows: a frame's head. Must not know: HTTP, routes. A frame is its kind (1 byte: 0 = an event as JSON, 1 = bytes), the
length of what follows (4 bytes, big-endian), and that. The last frame is the event `done` or `error`; a stream that
ends without it broke off, and the bytes are not all there.
"""

import struct
from enum import IntEnum
from typing import Final

from backuppeer.limits import CONTROL_LINE_BYTES, CONTROL_PIECE_BYTES

PROXY_HEADER: Final = "backup-peer-proxy"
"""Of a request: the proxy that its signaling goes through; empty = none. Without it that of the agent's settings."""
MEDIA_TYPE: Final = "application/vnd.backuppeer.frames"
_HEAD: Final = struct.Struct(">BI")
HEAD_BYTES: Final = _HEAD.size


class FrameKind(IntEnum):
    """What a frame holds."""

    EVENT = 0
    BYTES = 1


_MOST: Final = {FrameKind.EVENT: CONTROL_LINE_BYTES, FrameKind.BYTES: CONTROL_PIECE_BYTES}


def encode_frame(kind: FrameKind, data: bytes) -> bytes:
    """Return a frame; `data`: at most 4 MiB of an event, 1 MiB of bytes.

    Raises:
        ValueError: longer.

    """
    if len(data) > _MOST[kind]:
        raise ValueError(f"a frame of {len(data)} bytes")
    return _HEAD.pack(kind, len(data)) + data


def decode_head(head: bytes) -> tuple[FrameKind, int]:
    """Return kind and length of the frame that begins with these 5 bytes.

    Raises:
        ValueError: unknown, too long, or not 5 bytes.

    """
    if len(head) != HEAD_BYTES:
        raise ValueError(f"a frame's head of {len(head)} bytes")
    number, length = _HEAD.unpack(head)
    kind = FrameKind(number)
    if length > _MOST[kind]:
        raise ValueError(f"a frame of {length} bytes")
    return kind, length
