"""Pages for packs that come in: lent again and again, and seen by worker processes without a copy.

Knows: shared memory, when a buffer is in use no more. Must not know: packs, who fills the pages.

Why not fresh memory for each pack: the system would clear it first, which cost a restore more than decryption, and it
had to be copied into what a worker sees. A buffer mirrors its pack: what lies at an offset there lies at the same here.
"""

import mmap
import os
import threading
from typing import Final, Self

from backuppeer.limits import PACK_TARGET_BYTES, PAGES_KEPT

_IS_SHARED: Final = hasattr(os, "memfd_create")


class Pages(mmap.mmap):
    """Room for one pack. `fd`: by which a worker process maps the same memory; -1 where the system can't."""

    fd: int

    def __new__(cls) -> Self:
        """Map them.

        Raises:
            OSError: the system refused memory or a descriptor.

        """
        fd = os.memfd_create("backup-peer pages", os.MFD_CLOEXEC) if _IS_SHARED else -1
        try:
            if _IS_SHARED:
                os.ftruncate(fd, PACK_TARGET_BYTES)
            pages = super().__new__(cls, fd, PACK_TARGET_BYTES)
        except BaseException:
            if _IS_SHARED:
                os.close(fd)
            raise
        pages.fd = fd
        return pages

    def __del__(self) -> None:
        """Let go of the descriptor: nobody has a view of the pages any more."""
        if getattr(self, "fd", -1) >= 0:
            os.close(self.fd)

    def are_free(self) -> bool:
        """Say whether nobody has a view of them: to the same size they can be brought only then."""
        try:
            self.resize(PACK_TARGET_BYTES)
        except BufferError:
            return False
        except (OSError, SystemError, ValueError):  # a system that can't; then nothing is lent twice
            return False
        return True


class PagePool:
    """Lends pages; thread-safe. They come back by themselves when the last view of them is gone."""

    def __init__(self) -> None:
        self._kept: list[Pages] = []
        self._lock = threading.Lock()

    def take(self) -> memoryview:
        """Return PACK_TARGET_BYTES that nobody else has; what is in them is whatever was there before.

        Raises:
            OSError: the system refused memory.

        """
        with self._lock:
            for pages in self._kept:
                if pages.are_free():
                    return memoryview(pages)
            pages = Pages()
            if len(self._kept) < PAGES_KEPT:
                self._kept.append(pages)
            return memoryview(pages)


def find_pages(piece: bytes | memoryview) -> Pages | None:
    """Return the pages that a piece lies in, if a worker can see them."""
    owner = piece.obj if isinstance(piece, memoryview) else None
    return owner if isinstance(owner, Pages) and owner.fd >= 0 else None
