"""A worker process: reads for a backup or writes for a restore, one thing at a time, with an interpreter of its own.

Knows: frames, the memory it shares with the agent, who does the work. Must not know: hosts, trees, what the whole job
is. Run by `processes` as `python -P -m backuppeer.backup.worker SOCKET MEMORY` (numbers of inherited descriptors). The
keys come over the socket, never by argument or environment. It ends when the socket does: with the job, or the agent.
"""

import gc
import mmap
import os
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from backuppeer.backup.frames import FAULT, READY, receive_frame, send_frame
from backuppeer.backup.orders import Order, carry_out
from backuppeer.backup.reading import Met, PackTask, Reader, Reading, ReadTask, lay_out
from backuppeer.crypto.keys import RepositoryKeys
from backuppeer.files.sparse import LentFile
from backuppeer.files.write import RestoreTarget
from backuppeer.limits import PACK_TARGET_BYTES

RESTORE_MEMORY_BYTES: Final = PACK_TARGET_BYTES + mmap.PAGESIZE
"""What a restore's worker shares with the agent: the ranges of one pack, one after the other, and the flag."""
Answer = Callable[[bytearray, list[int]], bytes]
Check = Callable[[], None]


class RestoreStart(msgspec.Struct, tag="restore", frozen=True):
    """The first message to a restore's worker; with it comes the descriptor of the target. `keys`: an export."""

    keys: bytes
    overwrite: bool


class ReadStart(msgspec.Struct, tag="read", frozen=True):
    """The first message to a backup's worker. `keys`: an export; `level`: of compression."""

    keys: bytes
    level: int


class Task(msgspec.Struct, array_like=True, frozen=True):
    """An order, where its pieces lie, and with it the descriptors of files in the making.

    `pieces`: start and length; in the pages whose descriptor is the last one (`is_lent`), or in the shared memory.
    """

    order: Order
    pieces: list[tuple[int, int]]
    is_lent: bool


class _StoppedError(Exception):
    """The agent wants no more, or is gone."""


def main() -> None:
    """Work until the socket ends."""
    sock, memory = socket.socket(fileno=int(sys.argv[1])), _map(int(sys.argv[2]))
    sys.excepthook = partial(_tell_fault, sock)
    try:
        _work(sock, memory, partial(_check, memory, os.getppid()))
    except (EOFError, OSError, _StoppedError):
        # Nothing is left to flush or to give back, and the agent waits.
        os._exit(0)


def _work(sock: socket.socket, memory: memoryview, check: Check) -> None:
    payload, descriptors = receive_frame(sock)
    start = msgspec.msgpack.decode(payload, type=RestoreStart | ReadStart)
    keys = RepositoryKeys.from_export(start.keys)
    # What is left of the start stays until the end: the collector need not look at it again.
    gc.freeze()
    if isinstance(start, ReadStart):
        _serve(sock, _make_reading(Reader(keys, start.level, check), memory, Met(_map(descriptors[0]))))
    else:
        with RestoreTarget(descriptors[0], overwrite=start.overwrite) as target:
            _serve(sock, _make_restoring(keys, target, memory, check))


def _serve(sock: socket.socket, answer: Answer) -> None:
    send_frame(sock, READY)
    while True:
        send_frame(sock, answer(*receive_frame(sock)))


def _make_restoring(keys: RepositoryKeys, target: RestoreTarget, memory: memoryview, check: Check) -> Answer:
    decode, encode = msgspec.msgpack.Decoder(Task).decode, msgspec.msgpack.Encoder().encode

    def answer(payload: bytearray, descriptors: list[int]) -> bytes:
        task = decode(payload)
        lent = _map(descriptors.pop()) if task.is_lent else None
        files = [LentFile(fd) for fd in descriptors]
        try:
            pieces = _cut(memory if lent is None else lent, task.pieces)
            report = carry_out(task.order, pieces, files, keys=keys, target=target, check=check)
        finally:
            for file in files:
                file.close()
        report.notes = target.take_notes()
        return encode(report)

    return answer


def _pack_eagerly(reader: Reader, reading: Reading, memory: memoryview, met: Met) -> Reading:
    numbers = [number for number, blob in enumerate(reading.blobs) if met.is_new(blob)]
    return replace(reading, numbers=numbers, packed=lay_out(reader.pack(numbers), memory))


def _make_reading(reader: Reader, memory: memoryview, met: Met) -> Answer:
    decode, encode = msgspec.msgpack.Decoder(ReadTask | PackTask).decode, msgspec.msgpack.Encoder().encode

    def answer(payload: bytearray, descriptors: list[int]) -> bytes:
        try:
            task = decode(payload)
            if isinstance(task, ReadTask):
                reading = reader.read(task.files, descriptors)
                return encode(_pack_eagerly(reader, reading, memory, met) if task.is_eager else reading)
            return encode(lay_out(reader.pack(task.numbers), memory))
        finally:
            for fd in descriptors:
                os.close(fd)

    return answer


def _tell_fault(sock: socket.socket, *fault: Any) -> None:
    """Tell the agent what this process ends of: its log is the only place where anybody can read it."""
    with suppress(OSError):
        send_frame(sock, FAULT + "".join(traceback.format_exception(*fault)).encode())


def _check(memory: memoryview, agent: int) -> None:
    if memory[-1] or os.getppid() != agent:
        raise _StoppedError


def _map(fd: int) -> memoryview:
    memory = memoryview(mmap.mmap(fd, os.fstat(fd).st_size))
    os.close(fd)
    return memory


def _cut(memory: memoryview, places: list[tuple[int, int]]) -> list[memoryview]:
    return [memory[start : start + length] for start, length in places]


if __name__ == "__main__":
    main()
