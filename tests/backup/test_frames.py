"""Frames between agent and worker: bytes and descriptors arrive whole, or it is said that they don't."""

import os
import socket
import threading

import pytest

from backuppeer.backup import frames
from backuppeer.backup.frames import receive_frame, send_frame
from backuppeer.limits import WORKER_DESCRIPTORS
from files.descriptors import count_open


@pytest.fixture
def ends():
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.mark.parametrize("size", [0, 1, 4 << 20])
def test_a_message_of_any_size_arrives_whole(ends, size):
    one, other = ends
    payload = os.urandom(size)
    sender = threading.Thread(target=send_frame, args=(one, payload))
    sender.start()
    assert receive_frame(other) == (payload, [])
    sender.join()


def test_descriptors_arrive_with_their_message_as_descriptors_of_ones_own(ends, tmp_path):
    one, other = ends
    with (tmp_path / "file").open("wb") as file:
        send_frame(one, b"write", [file.fileno()] * WORKER_DESCRIPTORS)
    payload, descriptors = receive_frame(other)
    assert (payload, len(descriptors)) == (b"write", WORKER_DESCRIPTORS)
    for fd in descriptors:
        os.write(fd, b"x")
        os.close(fd)
    assert (tmp_path / "file").read_bytes() == b"x" * WORKER_DESCRIPTORS


def test_more_than_may_be_sent_is_not_begun(ends, monkeypatch):
    one, other = ends
    with pytest.raises(ValueError, match="descriptors"):
        send_frame(one, b"", [0] * (WORKER_DESCRIPTORS + 1))
    monkeypatch.setattr(frames, "WORKER_FRAME_BYTES", 3)
    with pytest.raises(ValueError, match="4 bytes"):
        send_frame(one, b"four")
    one.close()
    with pytest.raises(EOFError):
        receive_frame(other)


@pytest.mark.parametrize("sent", [b"", b"\0\0", b"\0\0\0\5four"], ids=["nothing", "half a head", "half a payload"])
def test_an_end_in_the_middle_is_said_and_keeps_no_descriptor(ends, sent):
    one, other = ends
    before = count_open()
    if sent:
        socket.send_fds(one, [sent], [0])
    one.close()
    with pytest.raises(EOFError):
        receive_frame(other)
    assert count_open() == before - 1  # the end that was closed


def test_descriptors_that_came_with_a_broken_message_are_closed(ends):
    one, other = ends
    before = count_open()
    socket.send_fds(one, [b"\xff\xff\xff\xff"], [0, 0, 0])
    with pytest.raises(EOFError, match="4294967295"):
        receive_frame(other)
    assert count_open() == before


def test_a_length_over_the_cap_is_not_allocated(ends):
    one, other = ends
    one.send(b"\xff\xff\xff\xff")
    with pytest.raises(EOFError, match="4294967295"):
        receive_frame(other)
