"""A worker process of a restore: opens and writes what it is told, one order at a time, with an interpreter of its own.

Knows: frames, orders, the memory it shares with the agent. Must not know: hosts, trees, what the whole restore is.
Run by `pool` as `python -P -m backuppeer.backup.worker SOCKET MEMORY` (numbers of inherited descriptors). The keys come
over the socket, never by argument or environment. It ends when the socket does: with the restore, or with the agent.
"""

import gc
import mmap
import os
import socket
import sys
import traceback
from contextlib import suppress
from functools import partial
from typing import Any, Final

import msgspec

from backuppeer.backup.frames import receive_frame, send_frame
from backuppeer.backup.orders import Order, Report, carry_out
from backuppeer.crypto.keys import RepositoryKeys
from backuppeer.files.sparse import LentFile
from backuppeer.files.write import RestoreTarget
from backuppeer.limits import PACK_TARGET_BYTES

MEMORY_BYTES: Final = PACK_TARGET_BYTES + mmap.PAGESIZE
"""What one worker shares with the agent: the ranges of one pack, one after the other, and the flag."""
STOP_AT: Final = MEMORY_BYTES - 1
"""The byte that the agent sets when nobody wants the order any more."""
READY: Final = b"ready"


class Start(msgspec.Struct, array_like=True, frozen=True):
    """The first message; with it comes the descriptor of the target. `keys`: what `RepositoryKeys.export` gave."""

    keys: bytes
    overwrite: bool


class Task(msgspec.Struct, array_like=True, frozen=True):
    """An order, the lengths of its pieces in the shared memory, and with it the descriptors of files in the making."""

    order: Order
    pieces: list[int]


class _StoppedError(Exception):
    """The agent wants no more, or is gone."""


def main() -> None:
    """Work until the socket ends."""
    sock, memory = socket.socket(fileno=int(sys.argv[1])), _map(int(sys.argv[2]))
    agent = os.getppid()
    sys.excepthook = partial(_tell_fault, sock)
    try:
        _work(sock, memory, agent)
    except (EOFError, OSError, _StoppedError):
        # Nothing is left to flush or to give back, and the agent waits.
        os._exit(0)


def _work(sock: socket.socket, memory: memoryview, agent: int) -> None:
    payload, descriptors = receive_frame(sock)
    start = msgspec.msgpack.decode(payload, type=Start)
    keys = RepositoryKeys.from_export(start.keys)
    # What is left of the start stays until the end: the collector need not look at it again.
    gc.freeze()
    decode, encode = msgspec.msgpack.Decoder(Task).decode, msgspec.msgpack.Encoder().encode
    with RestoreTarget(descriptors[0], overwrite=start.overwrite) as target:
        send_frame(sock, READY)
        while True:
            payload, descriptors = receive_frame(sock)
            files = [LentFile(fd) for fd in descriptors]
            try:
                task = decode(payload)
                pieces = _cut(memory, task.pieces)
                check = partial(_check, memory, agent)
                report = carry_out(task.order, pieces, files, keys=keys, target=target, check=check)
            finally:
                for file in files:
                    file.close()
            report.notes = target.take_notes()
            send_frame(sock, encode(report))


def _tell_fault(sock: socket.socket, *fault: Any) -> None:
    """Tell the agent what this process ends of: its log is the only place where anybody can read it."""
    with suppress(OSError):
        send_frame(sock, msgspec.msgpack.encode(Report(fault="".join(traceback.format_exception(*fault)))))


def _check(memory: memoryview, agent: int) -> None:
    if memory[STOP_AT] or os.getppid() != agent:
        raise _StoppedError


def _map(fd: int) -> memoryview:
    memory = memoryview(mmap.mmap(fd, MEMORY_BYTES))
    os.close(fd)
    return memory


def _cut(memory: memoryview, lengths: list[int]) -> list[memoryview]:
    pieces, start = [], 0
    for length in lengths:
        pieces.append(memory[start : start + length])
        start += length
    return pieces


if __name__ == "__main__":
    main()
