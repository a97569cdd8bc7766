"""Work for a new key: what is checked is what was asked for, and a check costs nothing."""

import hashlib
import time

import pytest

from backuppeer.crypto.stamp import (
    PUZZLES,
    STAMP_BYTES,
    day_of,
    holds,
    join_stamp,
    join_work,
    message_context,
    solve_puzzle,
    solves,
    stamp_context,
)
from backuppeer.limits import STAMP_BITS

PEER, SERVER, DAY = b"p" * 32, "one.example:8443", 20_000
VECTOR = bytes.fromhex(
    "00004e20000000000000001800000000000000bb0000000000000006000000000000000f"
    "00000000000000170000000000000017000000000000000f0000000000000024"
)
"""The first stamp of 6 bits for the values above: nonces are tried from 0 on."""
MESSAGE_VECTOR = bytes.fromhex(
    "00000000000000120000000000000013000000000000000f0000000000000026"
    "000000000000006d0000000000000012000000000000002d0000000000000024"
)


def solve(bits, *, peer=PEER, server=SERVER, day=DAY):
    context = stamp_context(peer, server, day)
    return join_stamp(
        day, [solve_puzzle(context, number, bits, is_wanted=lambda _next: True) for number in range(PUZZLES)]
    )


def test_the_vector_of_the_protocol_comes_out_and_holds():
    assert solve(6) == VECTOR
    assert holds(VECTOR, PEER, SERVER, 6)
    # Written down once more, in the words of docs/signaling-protocol.md.
    context = hashlib.sha256(b"backuppeer/v1/stamp\0" + PEER + DAY.to_bytes(4, "big") + SERVER.encode()).digest()
    for number in range(8):
        nonce = VECTOR[4 + 8 * number : 12 + 8 * number]
        block = (nonce + context + bytes([number])).ljust(4096, b"\0")
        assert hashlib.sha256(block).digest()[0] >> 2 == 0


def test_the_vector_of_work_for_a_message_comes_out_and_holds_for_that_message_alone():
    challenge, inbox = b"c" * 32, b"i" * 32
    context = message_context(challenge, inbox, SERVER)
    assert context == hashlib.sha256(b"backuppeer/v1/message-work\0" + challenge + inbox + SERVER.encode()).digest()
    work = join_work([solve_puzzle(context, number, 6, is_wanted=lambda _next: True) for number in range(PUZZLES)])
    assert work == MESSAGE_VECTOR
    assert solves(work, context, 6)
    for other in ((b"d" * 32, inbox, SERVER), (challenge, b"j" * 32, SERVER), (challenge, inbox, "two.example")):
        assert not solves(work, message_context(*other), 6)
    assert not solves(work[:-8], context, 6)


def test_a_stamp_is_for_one_key_one_server_and_one_day():
    stamp = solve(8)
    assert len(stamp) == STAMP_BYTES
    assert day_of(stamp) == DAY
    assert holds(stamp, PEER, SERVER, 8)
    assert not holds(stamp, b"q" * 32, SERVER, 8)
    assert not holds(stamp, PEER, "two.example:8443", 8)
    assert not holds((DAY + 1).to_bytes(4, "big") + stamp[4:], PEER, SERVER, 8)
    assert not holds(stamp, PEER, SERVER, 24)


@pytest.mark.parametrize("stamp", [b"", bytes(STAMP_BYTES - 1), bytes(STAMP_BYTES + 1), bytes(STAMP_BYTES)])
def test_what_is_no_stamp_holds_for_nobody(stamp):
    assert not holds(stamp, PEER, SERVER, 16)


def test_one_puzzle_solved_eight_times_is_no_stamp():
    stamp = solve(12)
    assert not holds(stamp[:12] + stamp[4:12] * 7, PEER, SERVER, 12)


def test_work_that_is_not_wanted_any_more_ends():
    asked = iter([True, True, False])
    assert solve_puzzle(stamp_context(PEER, SERVER, DAY), 0, 60, is_wanted=lambda _next: next(asked)) is None


@pytest.mark.slow
def test_the_usual_work_takes_seconds_and_its_check_a_thousandth_of_one():
    """The only test of the usual difficulty. Its time is bounded generously: other work runs beside it."""
    started_s = time.thread_time()
    stamp = solve(STAMP_BITS)
    worked_s = time.thread_time() - started_s
    times = []
    for _ in range(20):
        started_s = time.thread_time()
        assert holds(stamp, PEER, SERVER, STAMP_BITS)
        times.append(time.thread_time() - started_s)
    assert min(times) < 0.001
    assert worked_s > 1000 * min(times)
