"""Messages between the agent and its worker processes: msgpack in frames over a socket pair, descriptors beside it.

Knows: frames, the passing of descriptors. Must not know: what the messages mean. Both ends are ours, of one version,
and nobody else can reach the socket: the caps only keep a fault from becoming an allocation.
"""

import array
import os
import socket
from collections.abc import Sequence
from typing import Final

from backuppeer.limits import WORKER_DESCRIPTORS, WORKER_FRAME_BYTES

_HEAD_BYTES: Final = 4
_CONTROL_BYTES: Final = socket.CMSG_SPACE(WORKER_DESCRIPTORS * array.array("i").itemsize)
_TRUNCATED, _SOCKET_LEVEL, _RIGHTS = int(socket.MSG_CTRUNC), int(socket.SOL_SOCKET), int(socket.SCM_RIGHTS)
READY: Final = b"ready"
"""What a worker says when it has begun."""
FAULT: Final = b"fault:"
"""How a worker's last message begins when it ends of something that nobody had foreseen."""


def send_frame(sock: socket.socket, payload: bytes, descriptors: Sequence[int] = ()) -> None:
    """Send one message; the receiver gets descriptors of its own.

    Raises:
        OSError: the other process is gone.
        ValueError: too long, or too many descriptors.

    """
    if len(payload) > WORKER_FRAME_BYTES or len(descriptors) > WORKER_DESCRIPTORS:
        raise ValueError(f"a frame of {len(payload)} bytes and {len(descriptors)} descriptors")
    head = len(payload).to_bytes(_HEAD_BYTES, "big")
    # Descriptors travel with the first byte that is sent with them.
    sent = socket.send_fds(sock, [head], list(descriptors)) if descriptors else sock.send(head)
    sock.sendall(head[sent:])
    sock.sendall(payload)


def receive_frame(sock: socket.socket) -> tuple[bytearray, list[int]]:
    """Wait for one message; its descriptors are ours to close.

    Raises:
        EOFError: the other process is gone.
        OSError: as it says.

    """
    head, descriptors, flags = _receive_head(sock)
    try:
        if flags & _TRUNCATED:
            raise EOFError("descriptors were lost: this process may not open so many files")  # noqa: TRY301 - one way out
        return _receive(sock, _parse_head(head + _receive(sock, _HEAD_BYTES - len(head)))), descriptors
    except BaseException:
        for fd in descriptors:
            os.close(fd)
        raise


def _receive_head(sock: socket.socket) -> tuple[bytes, list[int], int]:
    """Do what `socket.recv_fds` does, whose arithmetic of flags takes as long as the rest of a message."""
    head, control, flags, _ = sock.recvmsg(_HEAD_BYTES, _CONTROL_BYTES)
    found = array.array("i")
    for level, kind, data in control:
        if level == _SOCKET_LEVEL and kind == _RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return head, found.tolist(), flags


def _parse_head(head: bytes) -> int:
    size = int.from_bytes(head, "big")
    if size > WORKER_FRAME_BYTES:
        raise EOFError(f"a frame of {size} bytes: the other process has lost its way")
    return size


def _receive(sock: socket.socket, size: int) -> bytearray:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        got = sock.recv_into(view)
        if not got:
            raise EOFError("the other process is gone")
        view = view[got:]
    return data
