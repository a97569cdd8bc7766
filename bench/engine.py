"""The engine alone: paths in, sealed packs out, into memory and away; no network, no host, no agent.

Knows: the archiver and what it needs. Must not know: peers. Each pack is sealed as for a host (encrypted, its Merkle
tree computed) into a buffer that is used again, and dropped. Index and tree cache are on the disk, as always.

Run as `engine.py FOLDER PATH…`: one backup, its seconds on standard output.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from meter import Meter
from peer import LEVEL, Report
from process import run_command

from backuppeer.agent.heap import relax_collector
from backuppeer.backup.archiver import ArchiveOptions, Archiver
from backuppeer.crypto.keys import RepositoryKeys, derive_repository_keys, derive_working
from backuppeer.crypto.seal import preferred_suite
from backuppeer.ids import RepositoryId
from backuppeer.limits import PACK_TARGET_BYTES, SWITCH_INTERVAL_S, TREE_CACHE_BYTES
from backuppeer.repo.cache import TreeCache
from backuppeer.repo.index import Index
from backuppeer.repo.pack import ClosedDraft, seal_pack


class EngineAlone:
    """One process that archives into nothing."""

    name = "engine"
    synced = "nothing; packs are dropped"
    can_restore = False

    def __init__(self, root: Path, meter: Meter) -> None:
        self._root, self._meter = root, meter
        root.mkdir(parents=True)

    def backup(self, paths: list[Path]) -> Report:
        """Archive with an empty index."""
        words = [sys.executable, str(Path(__file__).resolve()), str(self._root), *map(str, paths)]
        found = json.loads(run_command(words, os.environ, self._meter))
        return Report(seconds=found["seconds"], figures={"packed MB": found["stored_bytes"] / 1e6})

    def restore(self, target: Path) -> None:
        """Nothing was kept: there is nothing to restore."""

    def stored_bytes(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing runs."""


class _Drop:
    """A PackSink that seals into one buffer and forgets. `store` is never called twice at once."""

    def __init__(self, keys: RepositoryKeys, index: Index) -> None:
        self._keys, self._index, self._suite = keys, index, preferred_suite()
        self._buffer = bytearray(PACK_TARGET_BYTES)

    def store(self, draft: ClosedDraft) -> None:
        """Seal the pack, note it as kept, and let go of it."""
        seal_pack(draft, self._keys, self._suite, self._buffer)
        self._index.register(draft.logical, draft.entries)

    def flush(self) -> None:
        """Nothing is pending."""


def _archive(root: Path, paths: list[bytes]) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=root) as name:
        folder = Path(name)
        keys = derive_repository_keys(derive_working(bytes(32), 0), RepositoryId(bytes(16)))
        index, cache = Index(folder / "index.db"), TreeCache(folder / "trees.db", TREE_CACHE_BYTES)
        archiver = Archiver(keys, index, cache=cache, sink=_Drop(keys, index), options=ArchiveOptions(level=LEVEL))
        began = time.monotonic()
        result = archiver.run(paths)
        seconds = time.monotonic() - began
        index.close()
        cache.close()
    return {"seconds": seconds, "stored_bytes": result.stored_bytes}


if __name__ == "__main__":
    # As an agent sets its interpreter up (ADR 2).
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    relax_collector()
    print(json.dumps(_archive(Path(sys.argv[1]), [os.fsencode(path) for path in sys.argv[2:]])))
