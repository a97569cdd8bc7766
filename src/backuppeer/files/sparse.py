"""Bytes written at any place of a file in the making, and holes left where there were some.

Knows: blocks of zeros. Must not know: which file it is, what it becomes.
"""

import os
from collections.abc import Iterator
from typing import Final, Protocol

from backuppeer.limits import HOLE_BYTES

_ZEROS: Final = bytes(HOLE_BYTES)


class TakesBytes(Protocol):
    """A file in the making that takes bytes at any place, from any thread."""

    def write_at(self, offset: int, data: bytes, *, is_sparse: bool = False) -> None:
        """Write all of `data` at `offset`, but for zeros when `is_sparse`; OSError when the disk refuses."""
        ...


def write_all_at(fd: int, data: bytes, offset: int, *, is_sparse: bool = False) -> None:
    """Write all of `data` at `offset` (bytes from the start); `is_sparse`: whole blocks of zeros are left out.

    Raises:
        OSError: the disk refused.

    """
    for start, end in find_data(data, offset) if is_sparse else ((0, len(data)),):
        view = memoryview(data)[start:end]
        at = offset + start
        while view:
            written = os.pwrite(fd, view, at)
            view = view[written:]
            at += written


def find_data(data: bytes, offset: int) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the stretches of `data`, at `offset` of a file, that are not whole blocks of zeros."""
    start = at = 0
    while at < len(data):
        end = at + HOLE_BYTES - (offset + at) % HOLE_BYTES
        if data[at:end] == _ZEROS:
            if start < at:
                yield start, at
            start = end
        at = end
    if start < len(data):
        yield start, len(data)


class LentFile:
    """A file in the making whose `FileWriter` lives in another process; ours is a descriptor of our own."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write_at(self, offset: int, data: bytes, *, is_sparse: bool = False) -> None:
        """Write all of `data` at `offset`, but for zeros when `is_sparse`.

        Raises:
            OSError: the disk refused.

        """
        write_all_at(self._fd, data, offset, is_sparse=is_sparse)

    def close(self) -> None:
        """Give it back."""
        os.close(self._fd)
