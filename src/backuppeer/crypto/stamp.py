"""Stamps: work that whoever brings a new key to a server shows once a day at most (ADR 68); and work for one message.

Knows: puzzles over (key, server, day) or (challenge, inbox, server), how they are solved and checked. Must not know:
listings, sockets, threads. Work limits a rate and proves nothing of anybody: no score takes it for anything.

Theory of operation. A stamp answers PUZZLES puzzles. The trial of a nonce hashes one block of 4 KiB that begins with
the nonce, so that nothing of it can be hashed beforehand: most of a trial is SHA-256 itself, and whoever writes the
rest in C gains a quarter over us. Several easy puzzles instead of one hard one: the time for one varies by its mean,
that for eight is within twice the mean. The check is eight trials, 70 µs.
"""

import hashlib
import struct
from collections.abc import Callable
from typing import Final

PUZZLES: Final = 8
_DAY: Final = struct.Struct(">I")
_NONCE: Final = struct.Struct(">Q")
STAMP_BYTES: Final = _DAY.size + PUZZLES * _NONCE.size
WORK_BYTES: Final = PUZZLES * _NONCE.size
NO_WORK: Final = bytes(WORK_BYTES)
"""In the place of work where none was asked for, so that a message has one size."""
_BLOCK_BYTES: Final = 4096
"""Above 2,047 bytes hashlib lets other threads run."""
_LABEL: Final = b"backuppeer/v1/stamp\0"
_MESSAGE_LABEL: Final = b"backuppeer/v1/message-work\0"
TRIALS_A_LOOK: Final = 256
"""Trials between two looks at whether the work is still wanted: a millisecond."""
DAY_MS: Final = 86_400_000
BITS_MOST: Final = 64
"""Of a puzzle that can be written down; far beyond any that can be solved."""


def stamp_context(peer: bytes, server: str, day: int) -> bytes:
    """Return what a stamp is for, 32 bytes. server: as the client dials it; day: since 1970 UTC."""
    return hashlib.sha256(_LABEL + peer + _DAY.pack(day) + server.encode("utf-8", "backslashreplace")).digest()


def message_context(challenge: bytes, inbox: bytes, server: str) -> bytes:
    """Return what work for one message is for, 32 bytes. challenge: 32 bytes of the server, good for one message."""
    return hashlib.sha256(_MESSAGE_LABEL + challenge + inbox + server.encode("utf-8", "backslashreplace")).digest()


def solve_puzzle(
    context: bytes, number: int, bits: int, *, is_wanted: Callable[[int], bool], start: int = 0
) -> int | None:
    """Return the least nonce that solves one puzzle, by 2^bits trials of some 5 µs on average; None: it is not wanted.

    is_wanted: called with the nonce that is tried next; none below it solves the puzzle. start: the first one tried.
    """
    block, limit, pack, digest_of = _block(context, number), _limit(bits), _NONCE.pack_into, hashlib.sha256
    while is_wanted(start):
        for nonce in range(start, start + TRIALS_A_LOOK):
            pack(block, 0, nonce)
            if digest_of(block).digest() < limit:
                return nonce
        start += TRIALS_A_LOOK
    return None


def join_stamp(day: int, nonces: list[int]) -> bytes:
    """Return a stamp of STAMP_BYTES: day u32be ‖ nonces u64be."""
    return _DAY.pack(day) + join_work(nonces)


def join_work(nonces: list[int]) -> bytes:
    """Return work of WORK_BYTES: nonces u64be."""
    return b"".join(_NONCE.pack(nonce) for nonce in nonces)


def day_of(stamp: bytes) -> int:
    """Return the day that a stamp says it is for."""
    return int(_DAY.unpack_from(stamp)[0])


def holds(stamp: bytes, peer: bytes, server: str, bits: int) -> bool:
    """Return whether all puzzles of a stamp are solved for this key, this server and the day that it names."""
    if len(stamp) != STAMP_BYTES:
        return False
    return solves(stamp[_DAY.size :], stamp_context(peer, server, day_of(stamp)), bits)


def solves(work: bytes, context: bytes, bits: int) -> bool:
    """Return whether nonces, u64be each, solve all puzzles of a context."""
    if len(work) != WORK_BYTES:
        return False
    limit = _limit(bits)
    for number in range(PUZZLES):
        block, start = _block(context, number), number * _NONCE.size
        block[: _NONCE.size] = work[start : start + _NONCE.size]
        if hashlib.sha256(block).digest() >= limit:
            return False
    return True


def _block(context: bytes, number: int) -> bytearray:
    """Return the block of a trial, its first 8 bytes left for the nonce."""
    head = bytes(_NONCE.size) + context + bytes([number])
    return bytearray(head.ljust(_BLOCK_BYTES, b"\0"))


def _limit(bits: int) -> bytes:
    """Return what a digest must be below to begin with `bits` zero bits; for none nothing is too great."""
    return (1 << (256 - bits)).to_bytes(33, "big")[1:] if bits else b"\xff" * 33
