"""New blobs of one backup: told from known ones, gathered into packs, handed to the sink.

Knows: what is pending in this run, two open packs, how the last packs and the inventory fit together. Must not know:
files, the walk, hosts.

A blob is known when the index holds it (then it is durable somewhere) or when this run has claimed it. `claim` decides
under a lock, so of two threads with the same content one compresses it. Data and metadata (trees, lists) go to
separate packs, since browsing reads only the latter; their rests share the last pack.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from backuppeer.backup.streams import PackSink
from backuppeer.ids import BlobId, LogicalId
from backuppeer.repo.blob import Blob, BlobKind
from backuppeer.repo.index import Index
from backuppeer.repo.pack import PackDraft


class _OpenPack:
    """A draft beside the blobs in it, which the last pack needs again."""

    __slots__ = ("blobs", "draft")

    def __init__(self) -> None:
        self.draft = PackDraft()
        self.blobs: list[Blob] = []

    def add(self, blob: Blob) -> bool:
        if not self.draft.add(blob):
            return False
        self.blobs.append(blob)
        return True


class Packer:
    """Collects the new blobs of one run; thread-safe. Without a sink (dry run) it only counts."""

    def __init__(self, index: Index, sink: PackSink | None) -> None:
        self._index = index
        self._sink = sink
        self._claims = threading.Lock()
        self._claimed: set[BlobId] = set()
        self._packs = threading.Lock()
        self._storing = threading.Lock()
        self._data = _OpenPack()
        self._meta = _OpenPack()
        self._outstanding: deque[list[BlobId]] = deque()
        self._stored: list[LogicalId] = []
        self.new_bytes = 0
        """Plain bytes of file content that no earlier backup held."""
        self.stored_bytes = 0
        """Bytes of the packs handed over, padding included, one copy."""

    @property
    def is_empty(self) -> bool:
        """Say whether nothing waits for a pack."""
        with self._packs:
            return self._data.draft.is_empty and self._meta.draft.is_empty

    def claim(self, blobs: Sequence[BlobId]) -> set[BlobId]:
        """Return those of `blobs` that nobody has yet; the caller must add each of them, once."""
        with self._claims:
            fresh = {blob for blob in blobs if blob not in self._claimed}
            self._claimed |= fresh
        if not fresh:
            return fresh
        # Outside the lock: meanwhile others take these for pending in this run, which is as good as known.
        known = self._index.known(fresh)
        if known:
            fresh -= known
            with self._claims:
                self._claimed -= known
        return fresh

    def count_plain(self, size_bytes: int) -> None:
        """Count new file content in a dry run, where nothing is added."""
        with self._packs:
            self.new_bytes += size_bytes

    def add(self, blobs: Iterable[Blob]) -> None:
        """Take claimed blobs; hands a full pack to the sink, which may block.

        Raises:
            BackupPeerError: the sink can't take packs any more.

        """
        left = iter(blobs)
        while (full := self._fill(left)) is not None:
            # Others fill the next pack meanwhile. Just one: whoever fills that too waits in `_fill`, and all with it.
            try:
                self._store(full)
            finally:
                self._storing.release()
                del full  # and with it the payloads: while this waits for its turn nobody needs them

    def _fill(self, left: Iterator[Blob]) -> _OpenPack | None:
        """Put blobs into open packs until one is full, and return that, `_storing` taken; None: all are in."""
        with self._packs:
            for blob in left:
                is_data = blob.kind is BlobKind.DATA
                self.new_bytes += blob.plain_bytes if is_data else 0
                pack = self._data if is_data else self._meta
                if pack.add(blob):
                    continue
                self._storing.acquire()
                fresh = _OpenPack()
                fresh.add(blob)  # a blob is at most 4 MiB, an empty pack takes it
                self._data, self._meta = (fresh, self._meta) if is_data else (self._data, fresh)
                return pack
        return None

    def _store(self, pack: _OpenPack) -> None:
        if self._sink is None:
            return
        closed = pack.draft.close()
        self._stored.append(closed.logical)
        self.stored_bytes += closed.length
        self._sink.store(closed)
        # Ids only: the payloads are the sink's now, and it lets go of them once they are sealed.
        self._outstanding.append([blob.blob for blob in pack.blobs])
        self._forget_durable()

    def _forget_durable(self) -> None:
        """Let go of claims that the index has taken over, so that memory follows packs in flight, not the backup."""
        while self._outstanding and self._index.has(self._outstanding[0][0]):
            blobs = self._outstanding.popleft()
            with self._claims:
                self._claimed.difference_update(blobs)

    def flush(self) -> None:
        """Wait until all packs handed over so far are durable.

        Raises:
            BackupPeerError: one never will be.

        """
        if self._sink is not None and self._stored:
            self._sink.flush()

    def flush_content(self) -> None:
        """Wait until all file content added so far is durable, the last of it in a pack that may not be full.

        Raises:
            BackupPeerError: it never will be.

        """
        with self._packs:
            if not self._data.draft.is_empty:
                data, self._data = self._data, _OpenPack()
                with self._storing:
                    self._store(data)
        self.flush()

    def finish(self, last: Sequence[Blob], make_inventory: Callable[[Sequence[LogicalId]], list[Blob]]) -> None:
        """Store what is open, with `last` and the inventory, as few packs as can be; return when all are durable.

        `make_inventory` gives the inventory's blobs, root last, for the packs of this run in order: it names
        the very packs that it lies in, so their number is found by trying.

        Raises:
            BackupPeerError: the sink can't take them.

        """
        if self._sink is None:
            return
        rest = [*self._data.blobs, *self._meta.blobs, *last]
        count = 1
        while (packs := self._try_packs(rest, make_inventory, count)) is None:
            count += 1
        for pack in packs:
            self._store(pack)
        self._sink.flush()

    def _try_packs(
        self, rest: list[Blob], make_inventory: Callable[[Sequence[LogicalId]], list[Blob]], count: int
    ) -> list[_OpenPack] | None:
        """Fill `count` packs in order, the inventory's root in the last of them; None when they don't suffice."""
        packs = [_OpenPack() for _ in range(count)]
        *pieces, root = make_inventory([*self._stored, *(pack.draft.logical for pack in packs)])
        at = 0
        for blob in [*rest, *pieces]:
            while at < count and not packs[at].add(blob):
                at += 1
            if at == count:
                return None
        return packs if packs[-1].add(root) and not any(pack.draft.is_empty for pack in packs) else None
