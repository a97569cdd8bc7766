"""The local side of this home's repository: keys, index, tree cache, ledger, what was proven, all opened together.

Knows: where they lie and how they are made anew. Must not know: sessions. All databases can be rebuilt from the hosts'
packs, or done without, so a damaged one is moved aside and named, never trusted.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from backuppeer.agent.home.aside import open_or_set_aside
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.backup.streams import PackSource
from backuppeer.crypto.keys import RepositoryKeys, derive_repository_keys
from backuppeer.crypto.seal import Suite, preferred_suite
from backuppeer.db import LOGS, mark_place
from backuppeer.errors import AuthenticationFault, IntegrityFault
from backuppeer.ids import BlobId, RepositoryId
from backuppeer.limits import TREE_CACHE_BYTES
from backuppeer.repo.cache import TreeCache
from backuppeer.repo.index import Index
from backuppeer.repo.layout import parse_header
from backuppeer.repo.pack import PackOpener
from backuppeer.repo.partial import PartialTree
from backuppeer.shares.ledger import Ledger
from backuppeer.shares.proven import Proven

_INDEX: Final = "index.db"
_CACHE: Final = "trees.db"
_LEDGER: Final = "ledger.db"
_PARTIAL: Final = "partial.db"
_PROVEN: Final = "proven.db"
_FILES: Final = {_INDEX: "index", _CACHE: "trees", _LEDGER: "ledger", _PARTIAL: "partial", _PROVEN: "proven"}
_log = structlog.get_logger()


class Repository:
    """One repository of this home, open."""

    def __init__(
        self, home: Home, keys: HomeKeys, repository: RepositoryId, *, before: "Repository | None" = None
    ) -> None:
        """Open or create the databases; a damaged one is moved aside and made anew, to be filled from the hosts.

        `before`: what this takes the place of, while somebody may still read in it; it is closed with this one.

        Raises:
            NewerFormatError: one was written by a newer version.

        """
        self.id = repository
        self.folder = home.repository / repository.hex()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.keys = derive_repository_keys(keys.working, repository)
        self.suite: Suite = preferred_suite()
        self.notes: list[tuple[str, str]] = []
        """(about, text) of what was moved aside on opening; about: index, trees, ledger, partial, proven."""
        was_there = all((self.folder / name).exists() for name in (_INDEX, _LEDGER))
        self.index = open_or_set_aside(self.folder / _INDEX, Index, note=self._note("index"))
        self.cache = open_or_set_aside(
            self.folder / _CACHE, lambda path: TreeCache(path, TREE_CACHE_BYTES), note=self._note("trees")
        )
        self.ledger = open_or_set_aside(self.folder / _LEDGER, Ledger, note=self._note("ledger"))
        self.partial = open_or_set_aside(self.folder / _PARTIAL, PartialTree, note=self._note("partial"))
        self.proven = open_or_set_aside(self.folder / _PROVEN, Proven, note=self._note("proven"))
        self.is_anew = not was_there or any(about in {"index", "ledger"} for about, _ in self.notes)
        """Whether where blobs and packs lie is to be learnt anew: what was counted by it before may be wrong."""
        self._home, self._home_keys, self._before = home, keys, before
        self._marks = {name: mark_place(self.folder / name) for name in _FILES}

    def _note(self, about: str) -> Callable[[str], None]:
        return lambda text: self.notes.append((about, text))

    def database(self, about: str) -> Path:
        """Return where one of the databases lies: index, trees or ledger."""
        return self.folder / {"index": _INDEX, "trees": _CACHE, "ledger": _LEDGER}[about]

    def renewed(self) -> "Repository":
        """Return this repository, or one opened anew when files were deleted or replaced under it: as a restart would.

        Raises:
            NewerFormatError: what stands there now was written by a newer version.

        """
        displaced = [name for name, mark in self._marks.items() if mark_place(self.folder / name) != mark]
        if not displaced:
            return self
        _log.warning("databases were deleted or replaced, and are opened anew", files=displaced)
        for name in displaced:
            for suffix in LOGS:
                # The log of the file that is gone, and still open here: a new file must not be read together with it.
                # At worst a copy that was put there lacks its last commits, which hosts and files can tell again.
                (self.folder / (name + suffix)).unlink(missing_ok=True)
        fresh = Repository(self._home, self._home_keys, self.id, before=self)
        fresh.is_anew = True
        for name in displaced:
            fresh.notes.append((_FILES[name], f"{self.folder / name} was deleted or replaced while the agent ran"))
        return fresh

    def close(self) -> None:
        """Close the databases."""
        if self._before is not None:
            self._before.close()
        self.index.close()
        self.cache.close()
        self.ledger.close()
        self.partial.close()
        self.proven.close()

    def keys_for(self, repository: RepositoryId, generation: int) -> RepositoryKeys:
        """Return the keys of a pack's header: those of this home open the packs of every generation that it had.

        Raises:
            AuthenticationFault: the pack belongs to another repository, or to a generation that is none of ours.

        """
        if not self.keys.may_open(repository, generation):
            raise AuthenticationFault("a pack is of another repository or generation of keys")
        return self.keys

    def generation_of(self, source: PackSource, blob: BlobId) -> int:
        """Return the generation of the keys under which a blob is sealed, checked by opening it.

        Raises:
            as `read_blob`.

        """
        return parse_header(self._open(source, blob)[0]).generation

    def read_blob(self, source: PackSource, blob: BlobId) -> bytes:
        """Return the checked plaintext of a blob, from the cache or the hosts.

        Raises:
            IntegrityFault: it is not in the index, or no host returns it whole.
            Unavailable: no host with a copy can be reached.

        """
        cached = self.cache.get(blob)
        if cached is not None:
            return cached
        return self._open(source, blob)[1]

    def _open(self, source: PackSource, blob: BlobId) -> tuple[bytes, bytes]:
        location = self.index.find(blob)
        if location is None:
            raise IntegrityFault(
                f"blob {blob.hex()[:8]} is in no known pack",
                hint="`backup-peer check` says whether the index is stale or a host lost a pack",
            )
        header, (sealed,) = source.fetch(location.pack, [(location.offset, location.sealed_bytes)])
        opener = PackOpener(self.keys, header)
        return header, opener.open_entry(location.entry, sealed)
