"""Blocks of packs that were read lately: neighbours of what was wanted are wanted next.

Knows: blocks, headers. Must not know: hosts, blobs. A host is asked for whole blocks of 1 MiB anyway (DESIGN 4), and
what was saved together lies in the same packs in a shuffled order: so ten thousand small files of one folder, read one
by one, are fetched once and not ten thousand times. What is kept is sealed bytes that the source has verified.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from backuppeer.backup.recent import Recent
from backuppeer.backup.streams import PackSource
from backuppeer.ids import LogicalId
from backuppeer.limits import BLOCK_BYTES

_LOCKS: Final = 64
"""Packs fetched side by side: one of two that want the same block waits for the other."""
Range = tuple[int, int]


class Blocks:
    """A PackSource that remembers blocks of another, up to `cap_bytes`; `measure` tells how long a pack is."""

    def __init__(self, source: PackSource, measure: Callable[[LogicalId], int], cap_bytes: int) -> None:
        self._source, self._measure = source, measure
        self._kept: Recent[tuple[LogicalId, bytes, int], bytes] = Recent(cap_bytes)
        self._headers: Recent[LogicalId, bytes] = Recent(max(1, cap_bytes // BLOCK_BYTES))
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def fetch(self, pack: LogicalId, ranges: Sequence[Range]) -> tuple[bytes, Sequence[bytes | memoryview]]:
        """Return the clear header and the bytes of each (offset, length), all from the same copy; as a PackSource."""
        size = self._measure(pack)
        if any(offset < 0 or length <= 0 or offset + length > size for offset, length in ranges):
            return self._source.fetch(pack, ranges)  # it knows what to say of these
        wanted = sorted({block for offset, length in ranges for block in _blocks_of(offset, length)})
        with self._locks[hash(pack) % _LOCKS]:
            header, blocks = self._gather(pack, wanted, size)
        return header, [_cut(blocks, offset, length) for offset, length in ranges]

    def _gather(self, pack: LogicalId, wanted: Sequence[int], size: int) -> tuple[bytes, Mapping[int, bytes]]:
        header = self._headers.get(pack)
        if header is not None:
            kept = {block: self._kept.get((pack, header, block)) for block in wanted}
            found = {block: data for block, data in kept.items() if data is not None}
            missing = [block for block in wanted if block not in found]
            if not missing:
                return header, found
            fresh, read = self._read(pack, missing, size)
            if fresh == header:
                return header, found | read
            # Another copy answered now, sealed with a key of its own: the blocks of two can't be mixed.
        return self._read(pack, wanted, size)

    def _read(self, pack: LogicalId, wanted: Sequence[int], size: int) -> tuple[bytes, dict[int, bytes]]:
        runs = _join(wanted)
        spans = [(first * BLOCK_BYTES, min(last * BLOCK_BYTES, size) - first * BLOCK_BYTES) for first, last in runs]
        header, pieces = self._source.fetch(pack, spans)
        self._headers.put(pack, header, 1)
        read: dict[int, bytes] = {}
        for (first, last), piece in zip(runs, pieces, strict=True):
            view = memoryview(piece)
            for block in range(first, last):
                start = (block - first) * BLOCK_BYTES
                # A copy: a part of what was read at once would keep all of it in memory.
                read[block] = bytes(view[start : start + BLOCK_BYTES])
                self._kept.put((pack, header, block), read[block], len(read[block]))
        return header, read


def _blocks_of(offset: int, length: int) -> range:
    return range(offset // BLOCK_BYTES, (offset + length - 1) // BLOCK_BYTES + 1)


def _join(blocks: Sequence[int]) -> list[Range]:
    """Return the (first, behind the last) of neighbours; `blocks` in order."""
    runs: list[Range] = []
    for block in blocks:
        if runs and runs[-1][1] == block:
            runs[-1] = (runs[-1][0], block + 1)
        else:
            runs.append((block, block + 1))
    return runs


def _cut(blocks: Mapping[int, bytes], offset: int, length: int) -> bytes | memoryview:
    wanted = _blocks_of(offset, length)
    start = offset - wanted[0] * BLOCK_BYTES
    if len(wanted) == 1:
        return memoryview(blocks[wanted[0]])[start : start + length]
    return b"".join(blocks[block] for block in wanted)[start : start + length]
