"""Pages for bytes on their way: lent again and again, and if shared, seen by worker processes without a copy.

Knows: memory of the system, when a buffer is in use no more. Must not know: packs, files, who fills the pages.

Why not fresh memory each time: the system would clear it first, which cost a restore more than decryption. And what a
worker sees need not be copied: a buffer mirrors its pack, so what lies at an offset there lies at the same here.
"""

import mmap
import os
import threading
from contextlib import ExitStack
from typing import Final, Self

_HAS_SHARED: Final = hasattr(os, "memfd_create")


class Pages(mmap.mmap):
    """A buffer of its own pages. `fd`: by which a worker process maps the same memory; -1: not at all."""

    fd: int

    def __new__(cls, size_bytes: int, *, is_shared: bool) -> Self:
        """Map them; shared where the system can.

        Raises:
            OSError: the system refused memory or a descriptor.

        """
        is_shared = is_shared and _HAS_SHARED
        # Private ones, else: shared pages are dearer, and would not count as this process's memory.
        private = (
            {} if is_shared or not hasattr(mmap, "MAP_PRIVATE") else {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS}
        )
        with ExitStack() as failed:
            fd = -1
            if is_shared:
                fd = os.memfd_create("backup-peer pages", os.MFD_CLOEXEC)
                failed.callback(os.close, fd)
                os.ftruncate(fd, size_bytes)
            pages = super().__new__(cls, fd, size_bytes, **private)
            failed.pop_all()  # the pages' own now
        pages.fd = fd
        return pages

    def __del__(self) -> None:
        """Let go of the descriptor: nobody has a view of the pages any more."""
        if getattr(self, "fd", -1) >= 0:
            os.close(self.fd)

    def are_free(self) -> bool:
        """Say whether nobody has a view of them: to the same size they can be brought only then."""
        try:
            self.resize(len(self))
        except BufferError:
            return False
        except (OSError, SystemError, ValueError):  # a system that can't; then nothing is lent twice
            return False
        return True


class PagePool:
    """Lends buffers of one size; thread-safe. They come back by themselves when the last view of them is gone.

    `kept`: how many are lent again. `is_shared`: worker processes can see them.
    """

    def __init__(self, size_bytes: int, kept: int, *, is_shared: bool) -> None:
        self._size_bytes, self._most, self._is_shared = size_bytes, kept, is_shared
        self._kept: list[Pages] = []
        self._lock = threading.Lock()

    def find(self) -> memoryview | None:
        """Return a buffer that nobody has, None while all that may be kept are lent; its content is what was there.

        Raises:
            OSError: the system refused memory.

        """
        with self._lock:
            for pages in self._kept:
                if pages.are_free():
                    return memoryview(pages)
            if len(self._kept) == self._most:
                return None
            self._kept.append(Pages(self._size_bytes, is_shared=self._is_shared))
            return memoryview(self._kept[-1])

    def take(self) -> memoryview:
        """Return a buffer that nobody has; one more, that is not kept, when all others are lent.

        Raises:
            OSError: the system refused memory.

        """
        found = self.find()
        return found if found is not None else memoryview(Pages(self._size_bytes, is_shared=self._is_shared))


def find_pages(piece: bytes | memoryview) -> Pages | None:
    """Return the pages that a piece lies in, if a worker can see them."""
    owner = piece.obj if isinstance(piece, memoryview) else None
    return owner if isinstance(owner, Pages) and owner.fd >= 0 else None
