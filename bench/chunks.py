"""The index with very many chunks: what a backup that looks them all up takes of memory, and how fast it is.

Knows: index and packer. Must not know: files. The chunks are simulated: ids that are hashes of numbers, 16 to a pack,
as of 2 TB of large files. They are registered in one process and looked up in another, so that its memory is of
nothing else.

Run as `chunks.py make|look FOLDER COUNT`; figures on standard output.
"""

import hashlib
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from meter import Meter, read_anonymous
from peer import Report
from process import run_command

from backuppeer.agent.heap import relax_collector
from backuppeer.backup.packer import Packer
from backuppeer.ids import BlobId, LogicalId
from backuppeer.limits import BATCH_FILES, MIB
from backuppeer.repo.blob import BlobKind, Codec
from backuppeer.repo.index import Index
from backuppeer.repo.layout import Entry

PER_PACK = 16
NEW_SHARE = 0.01
"""Of the chunks that a backup asks for, these are in no pack yet."""
_LOOKS = 500
"""Between two looks at the memory, so many batches."""


class SimulatedIndex:
    """One process that registers chunks, another that looks all of them up."""

    name = "index"
    synced = "nothing is sent"
    can_restore = False

    def __init__(self, root: Path, meter: Meter, *, count: int) -> None:
        self._root, self._meter, self._count = root, meter, count
        root.mkdir(parents=True)
        self._run("make")

    def backup(self, paths: list[Path]) -> Report:  # noqa: ARG002 - there are no files
        """Look every chunk up, as a backup of content does that was touched and not changed."""
        found = self._run("look")
        return Report(
            seconds=found["seconds"],
            figures={
                "chunks": self._count,
                "bytes of memory per chunk": found["grown_bytes"] / self._count,
                "look-ups/s": self._count / found["seconds"],
                "index MB on disk": (self._root / "index.db").stat().st_size / 1e6,
            },
        )

    def restore(self, target: Path) -> None:
        """Nothing was kept: there is nothing to restore."""

    def stored_bytes(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing runs."""

    def _run(self, word: str) -> dict[str, float]:
        words = [sys.executable, str(Path(__file__).resolve()), word, str(self._root), str(self._count)]
        found: dict[str, float] = json.loads(run_command(words, os.environ, self._meter))
        return found


def make_id(number: int) -> BlobId:
    """Return the simulated id of chunk `number`: 32 bytes, spread as real ones are."""
    return BlobId(hashlib.blake2b(number.to_bytes(8, "little"), digest_size=32).digest())


def register(index: Index, count: int) -> None:
    """Register chunks 0 to `count`, PER_PACK to a pack."""
    for first in range(0, count, PER_PACK):
        entries = [
            Entry(make_id(n), BlobKind.DATA, Codec.RAW, n - first, 64 + (n - first) * MIB, MIB, MIB - 16)
            for n in range(first, min(first + PER_PACK, count))
        ]
        index.register(LogicalId(make_id(first)[:16]), entries)


def make_batches(count: int, source: random.Random) -> Iterator[list[BlobId]]:
    """Yield all chunks in batches of BATCH_FILES, neighbours together, in random order; some ids are new."""
    starts = list(range(0, count, BATCH_FILES))
    source.shuffle(starts)
    for first in starts:
        numbers = range(first, min(first + BATCH_FILES, count))
        yield [make_id(n + count if source.random() < NEW_SHARE else n) for n in numbers]


def _look(index: Index, count: int) -> dict[str, float]:
    packer = Packer(index, None)
    batches = make_batches(count, random.Random(7))  # noqa: S311 - which chunk comes when, the same in every run
    packer.claim(next(batches))
    before = peak = read_anonymous(os.getpid())
    seconds = 0.0
    for number, batch in enumerate(batches):
        began = time.perf_counter()
        packer.claim(batch)
        seconds += time.perf_counter() - began
        if number % _LOOKS == 0:
            peak = max(peak, read_anonymous(os.getpid()))
    peak = max(peak, read_anonymous(os.getpid()))
    return {"seconds": seconds, "grown_bytes": peak - before}


def _main(word: str, folder: Path, count: int) -> None:
    relax_collector()
    index = Index(folder / "index.db")
    try:
        if word == "make":
            register(index, count)
        print(json.dumps(_look(index, count) if word == "look" else {}))
    finally:
        index.close()


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
