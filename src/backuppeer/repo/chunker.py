"""Where a file's bytes are cut: FastCDC with a key-dependent gear table (DESIGN 4).

Knows: chunk sizes, the library pyfastcdc. Must not know: keys, blobs, files. Cuts decide deduplication only: a reader
of the format joins chunks and never needs this module, so another program may cut differently.

What the library's parameters mean (pyfastcdc 0.3): `min_size` bytes are skipped before the search for a cut starts,
and `avg_size` is the point where the search turns from the strict to the lax mask, so its own documentation gives
the mean as `avg_size + min_size`. Passed are therefore min 256 KiB, avg 768 KiB = 1 MiB - min, max 4 MiB.
"""

from collections.abc import Iterator
from typing import Final, Protocol

from pyfastcdc import FastCDC

from backuppeer.limits import CHUNK_AVERAGE_BYTES, CHUNK_LEVEL, CHUNK_MAX_BYTES, CHUNK_MIN_BYTES

_SEED_MASK: Final = (1 << 63) - 1
"""The library takes seeds below 2^63 only (OverflowError above, in 0.3.1)."""


class Reader(Protocol):
    """What `split_stream` reads from."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill `buffer` from its start; return the bytes written, 0 at the end."""
        ...


class Chunker:
    """Cuts bytes into chunks; one object per thread (the library keeps state while cutting)."""

    def __init__(self, seed: int) -> None:
        self._cdc = FastCDC(
            CHUNK_AVERAGE_BYTES - CHUNK_MIN_BYTES,
            min_size=CHUNK_MIN_BYTES,
            max_size=CHUNK_MAX_BYTES,
            normalized_chunking=CHUNK_LEVEL,
            seed=(seed & _SEED_MASK) or 1,  # 0 would mean the library's public table
        )

    def split(self, data: bytes | bytearray | memoryview) -> Iterator[memoryview]:
        """Yield the chunks of `data` in order, as views into it; nothing for empty data."""
        if len(data) <= CHUNK_MIN_BYTES:
            if len(data):
                yield memoryview(data)
            return
        for chunk in self._cdc.cut_buf(data):
            yield chunk.data

    def split_stream(self, reader: Reader) -> Iterator[memoryview]:
        """Yield the chunks of a stream in order; each view is valid until the next is asked for."""
        for chunk in self._cdc.cut_stream(reader):
            yield chunk.data
