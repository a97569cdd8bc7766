"""A shaped line is as slow as it says, keeps the order, and drops what a full queue can't hold."""

import os
import socket

import pytest
import shaping
from shaping import QUEUE_S, Way


class Clock:
    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(shaping, "time", made)
    return made


@pytest.fixture
def line():
    """A way between two pairs of sockets that keep packets apart, as TUN devices do; with its two outer ends."""
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)]
    ends = [end for pair in pairs for end in pair]
    for end in ends:
        end.setblocking(False)
    (sender, source), (target, receiver) = pairs
    yield Way(source.fileno(), target.fileno(), rate_bytes_s=100_000.0, delay_s=0.025), sender, receiver
    for end in ends:
        end.close()


def read_all(receiver):
    found = []
    while True:
        try:
            found.append(os.read(receiver.fileno(), 2000))
        except BlockingIOError:
            return found


def send(way, sender, *packets):
    """Hand packets over, fewer at once than a socket holds."""
    for packet in packets:
        sender.send(packet)
        way.take()


def test_a_packet_arrives_when_it_was_sent_whole_and_the_delay_is_over(clock, line):
    way, sender, receiver = line
    send(way, sender, b"a" * 1000)
    clock.now += 0.0349
    way.deliver()
    assert read_all(receiver) == []
    clock.now += 0.0002
    way.deliver()
    assert read_all(receiver) == [b"a" * 1000]


def test_packets_go_one_after_another_in_their_order(clock, line):
    way, sender, receiver = line
    send(way, sender, b"a" * 1000, b"b" * 1000)
    clock.now += 0.036
    way.deliver()
    assert read_all(receiver) == [b"a" * 1000]
    clock.now += 0.010
    way.deliver()
    assert read_all(receiver) == [b"b" * 1000]


def test_what_would_wait_longer_than_the_queue_holds_is_dropped_and_the_line_goes_on(clock, line):
    way, sender, receiver = line
    most = round(QUEUE_S * 100)  # of 10 ms each
    send(way, sender, *(b"a" * 1000 for _ in range(3 * most)))
    held = len(way.under_way)
    assert held in (most, most + 1)
    clock.now += 1.0
    send(way, sender, b"z")
    clock.now += 1.0
    way.deliver()
    arrived = read_all(receiver)
    assert (len(arrived), arrived[-1]) == (held + 1, b"z")
