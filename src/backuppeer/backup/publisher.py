"""The end of every change: snapshots made durable together with the inventory that names them.

Knows: how the inventory follows from the index and the packs of this run. Must not know: files, hosts, heads. What is
returned is for the head to commit to; the index learns of the snapshots from the caller, who knows when they stand.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from backuppeer.backup.packer import Packer
from backuppeer.crypto.keys import RepositoryKeys
from backuppeer.ids import BlobId, LogicalId, SnapshotId
from backuppeer.repo.blob import Blob, BlobKind, Compressor
from backuppeer.repo.cache import TreeCache
from backuppeer.repo.head import Inventory, encode_inventory
from backuppeer.repo.index import Index
from backuppeer.repo.snapshot import REPLACED


@dataclass(frozen=True, slots=True)
class Published:
    """What is durable now. `index`: blob id of the inventory's root."""

    inventory: Inventory
    index: BlobId


class Publisher:
    """Stores lists of snapshots of one repository; holds no state of a run."""

    def __init__(
        self,
        keys: RepositoryKeys,
        index: Index,
        *,
        cache: TreeCache,
        level: int,
        named: AbstractSet[LogicalId] | None = None,
    ) -> None:
        """Take the parts. `named`: packs of the newest head; what broke off since is left out, unless it is None."""
        self._keys, self._index, self._cache = keys, index, cache
        self._level, self._before = level, named

    def publish(
        self,
        packer: Packer,
        names: Sequence[SnapshotId],
        bodies: Sequence[bytes],
        *,
        without: AbstractSet[LogicalId] = frozenset(),
        again: Sequence[LogicalId] = (),
    ) -> Published:
        """Make durable what `packer` still holds, then snapshots and inventory; return when all of it is.

        `names`: the snapshots alive from now on, in order. `bodies`: encoded snapshots among them that are new.
        `without`: packs that are no part of it any more. `again`: dropped ones that are part of it again.

        Raises:
            LocalError: more than one inventory holds, or a snapshot named twice.
            BackupPeerError: the sink can't take the packs.

        """
        packer.flush()
        if self._before is not None:
            # Named once, they could go only by a lock. This run made none of them, and found nothing in them.
            without = without | (self._index.turnover.unneeded(has_head=bool(self._before)) - self._before)
        bodies = [*bodies, *self._find_unsaved(names, bodies)]
        compressor = Compressor(self._level)
        made: list[Published] = []
        parts: list[bytes] = []

        def make_inventory(new: Sequence[LogicalId]) -> list[Blob]:
            # Packs of this run may be registered already.
            packs = dict.fromkeys([*self._index.packs(), *again, *new])
            inventory = Inventory(tuple(names), tuple(pack for pack in packs if pack not in without))
            encoded = encode_inventory(self._keys, inventory)
            made.append(Published(inventory, encoded.index))
            parts[:] = [encoded.root, *encoded.pieces]
            known = self._index.known(blob for blob, _ in self._named(encoded.pieces))
            pieces = [piece for blob, piece in self._named(encoded.pieces) if blob not in known]
            return [compressor.pack_blob(self._keys, BlobKind.INDEX, data) for data in [*pieces, encoded.root]]

        blobs = [compressor.pack_blob(self._keys, BlobKind.SNAPSHOT, body) for body in bodies]
        packer.finish(blobs, make_inventory)
        snapshots = [(blob.blob, body) for blob, body in zip(blobs, bodies, strict=True)]
        self._cache.put_many([*snapshots, *self._named(parts)])
        return made[-1]

    def _find_unsaved(self, names: Sequence[SnapshotId], bodies: Sequence[bytes]) -> list[bytes]:
        """Return the snapshots that were tagged when they were found at a host, and are in no pack yet."""
        wanted, mark = set(names), REPLACED.encode()
        tagged = {BlobId(n): body for n, body in self._index.snapshots() if n in wanted and mark in body}
        known = self._index.known(tagged)
        return [body for blob, body in tagged.items() if blob not in known and body not in bodies]

    def _named(self, parts: Sequence[bytes]) -> list[tuple[BlobId, bytes]]:
        return [(self._keys.blob_id(BlobKind.INDEX, part), part) for part in parts]
