import struct

import pytest

from backuppeer.control.frames import HEAD_BYTES, FrameKind, decode_head, encode_frame
from backuppeer.limits import CONTROL_LINE_BYTES, CONTROL_PIECE_BYTES


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        (FrameKind.EVENT, 0),
        (FrameKind.EVENT, CONTROL_LINE_BYTES),
        (FrameKind.BYTES, 1),
        (FrameKind.BYTES, CONTROL_PIECE_BYTES),
    ],
)
def test_a_frame_says_what_it_holds_and_how_much(kind, size):
    frame = encode_frame(kind, bytes(size))
    assert decode_head(frame[:HEAD_BYTES]) == (kind, size)
    assert len(frame) == HEAD_BYTES + size


@pytest.mark.parametrize(
    ("kind", "size"), [(FrameKind.EVENT, CONTROL_LINE_BYTES + 1), (FrameKind.BYTES, CONTROL_PIECE_BYTES + 1)]
)
def test_a_frame_longer_than_it_may_be_is_neither_written_nor_read(kind, size):
    with pytest.raises(ValueError, match="bytes"):
        encode_frame(kind, bytes(size))
    with pytest.raises(ValueError, match="bytes"):
        decode_head(struct.pack(">BI", kind, size))


@pytest.mark.parametrize("head", [b"", b"\1\0\0\0", b"\2\0\0\0\1", b"\1\0\0\0\1\0"])
def test_what_is_no_head_is_refused(head):
    with pytest.raises(ValueError, match=r"frame|FrameKind"):
        decode_head(head)
