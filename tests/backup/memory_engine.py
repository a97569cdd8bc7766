"""A repository without hosts: packs are really sealed, kept in memory, and opened again with checks.

`MemorySink` and `MemorySource` stand where the agent's upload and fetch stand; they share `Vault`.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backuppeer.backup.archiver import ArchiveOptions, Archiver, ArchiveResult
from backuppeer.backup.restorer import RestoreOptions, Restorer, RestoreResult
from backuppeer.crypto.keys import RepositoryKeys, derive_repository_keys, derive_working
from backuppeer.crypto.seal import preferred_suite
from backuppeer.errors import IntegrityFault, Unavailable
from backuppeer.ids import LogicalId, RepositoryId, StoredId
from backuppeer.proof.merkle import compute_stored_id
from backuppeer.repo.cache import TreeCache
from backuppeer.repo.index import Index
from backuppeer.repo.pack import ClosedDraft, seal_pack
from backuppeer.repo.partial import PartialTree
from backuppeer.repo.snapshot import Snapshot


@dataclass
class Vault:
    """Sealed copies by logical id."""

    packs: dict[LogicalId, bytes] = field(default_factory=dict)
    stored: dict[LogicalId, StoredId] = field(default_factory=dict)


class MemorySink:
    """Seals each pack at once; durable only at `flush` when `late`."""

    def __init__(self, keys, index, vault, *, late=False, fail_after=None):
        self._keys, self._index, self._vault = keys, index, vault
        self._late, self._fail_after = late, fail_after
        self._waiting: list[ClosedDraft] = []
        self.drafts: list[ClosedDraft] = []
        self._lock = threading.Lock()

    def store(self, draft):
        assert self._lock.acquire(blocking=False), "store was called twice at once"
        try:
            if self._fail_after is not None and len(self.drafts) >= self._fail_after:
                raise Unavailable("the only host is gone")
            sealed = seal_pack(draft, self._keys, preferred_suite())
            self._vault.packs[draft.logical] = bytes(sealed.data)
            self._vault.stored[draft.logical] = sealed.stored
            self.drafts.append(draft)
            if self._late:
                self._waiting.append(draft)
            else:
                self._index.register(draft.logical, draft.entries)
        finally:
            self._lock.release()

    def flush(self):
        for draft in self._waiting:
            self._index.register(draft.logical, draft.entries)
        self._waiting.clear()


class MemorySource:
    """Answers from the vault; with `verify` the whole copy is checked against its stored id first."""

    def __init__(self, vault, *, verify=True):
        self._vault, self._verify = vault, verify
        self.fetches: list[tuple[LogicalId, list[tuple[int, int]]]] = []
        self.offline: set[LogicalId] = set()

    def fetch(self, pack, ranges):
        self.fetches.append((pack, list(ranges)))
        if pack in self.offline:
            raise Unavailable("no host that has it can be reached")
        data = self._vault.packs.get(pack)
        if data is None:
            raise IntegrityFault("no copy of the pack is known")
        if self._verify and compute_stored_id(data) != self._vault.stored[pack]:
            raise IntegrityFault("the copy is not what its stored id says")
        return data[:64], [data[offset : offset + length] for offset, length in ranges]


class Recorder:
    """A Progress that remembers; and checks that it is told by one thread only."""

    def __init__(self):
        self.errors: dict[bytes, str] = {}
        self.away = 0
        self.notes: list[str] = []
        self.phases: list[str] = []
        self.counters: dict[str, int] = {}
        self._thread = threading.get_ident()

    def update(self, **counters):
        assert threading.get_ident() == self._thread
        assert all(counters[k] >= self.counters.get(k, 0) for k in counters)
        self.counters.update(counters)

    def enter(self, phase):
        assert threading.get_ident() == self._thread
        self.phases.append(phase)
        self.counters.clear()

    def error_file(self, path, message, *, is_away=False):
        assert threading.get_ident() == self._thread
        self.errors[path] = message
        self.away += is_away

    def note(self, text):
        assert threading.get_ident() == self._thread
        self.notes.append(text)


class Repository:
    """Keys, index, cache and vault in one temporary directory."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.keys: RepositoryKeys = derive_repository_keys(derive_working(bytes(32), 0), RepositoryId(bytes(16)))
        self.index = Index(directory / "index.db")
        self.cache = TreeCache(directory / "cache.db", 256 << 20)
        self.partial = PartialTree(directory / "partial.db")
        self.vault = Vault()
        self.sink = MemorySink(self.keys, self.index, self.vault)
        self.source = MemorySource(self.vault)
        self.progress = Recorder()

    def close(self):
        self.index.close()
        self.cache.close()
        self.partial.close()

    def lose_cache(self):
        """As after a recovery: trees must come out of packs."""
        self.cache.clear()

    def backup(
        self, *paths: bytes | Path, parent: Snapshot | None = None, grafts=None, sink=None, **options
    ) -> ArchiveResult:
        self.progress = Recorder()
        archiver = Archiver(
            self.keys,
            self.index,
            cache=self.cache,
            partial=self.partial,
            sink=sink or self.sink,
            progress=self.progress,
            options=ArchiveOptions(**options),
        )
        result = archiver.run([p if isinstance(p, bytes) else bytes(p) for p in paths], parent, grafts)
        if result.trust is not None:
            self.index.end_walk(result.trust)
        return result

    def restore(
        self, snapshot: Snapshot, target: Path | bytes, path: bytes = b"/", *, source=None, **options
    ) -> RestoreResult:
        self.progress = Recorder()
        restorer = Restorer(
            self.keys,
            self.index,
            cache=self.cache,
            source=source or self.source,
            target=target if isinstance(target, bytes) else bytes(target),
            progress=self.progress,
            options=RestoreOptions(**options),
        )
        return restorer.run(snapshot, path)

    def data_packs(self) -> Sequence[LogicalId]:
        return [draft.logical for draft in self.sink.drafts]
