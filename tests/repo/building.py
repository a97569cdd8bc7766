"""What the tests of the repository room build with: fixed keys, blobs, packs and whole store folders of a host."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from backuppeer.crypto.identity import SigningKey
from backuppeer.crypto.keys import (
    RepositoryKeys,
    derive_authority,
    derive_identity,
    derive_repository_keys,
    derive_working,
)
from backuppeer.crypto.seal import Suite
from backuppeer.ids import AgreementId, BlobId, DeviceId, LogicalId, PeerId, RepositoryId, SnapshotId
from backuppeer.proof.statements import Agreement, WriterGrant, sign_statement
from backuppeer.repo.blob import Blob, BlobKind, Compressor
from backuppeer.repo.head import Inventory, encode_inventory, plan_head
from backuppeer.repo.pack import ClosedDraft, PackDraft, SealedPack, seal_pack
from backuppeer.repo.snapshot import Snapshot, encode_snapshot
from backuppeer.repo.tree import EntryKind, TreeEntry, cut_content, encode_pieces

MASTER = bytes(range(32))
REPOSITORY = RepositoryId(bytes(range(100, 116)))
AGREEMENT = AgreementId(bytes(range(200, 216)))
KEYS = derive_repository_keys(derive_working(MASTER, 1), REPOSITORY)


def keys_for(repository: RepositoryId, generation: int) -> RepositoryKeys:
    return derive_repository_keys(derive_working(MASTER, generation), repository)


def noise(seed: object, size: int) -> bytes:
    """Bytes that don't compress, the same for the same seed."""
    return hashlib.shake_128(repr(seed).encode()).digest(size)


def make_blob(data: bytes, kind: BlobKind = BlobKind.DATA) -> Blob:
    return Compressor(3).pack_blob(KEYS, kind, data)


def close_pack(*datas: bytes) -> ClosedDraft:
    draft = PackDraft()
    for data in datas:
        assert draft.add(make_blob(data))
    return draft.close()


def sealed_entry(pack: SealedPack, entry) -> memoryview:
    return pack.data[entry.offset : entry.offset + entry.sealed_bytes]


@dataclass
class StoreFolder:
    """Writes what a host would hold for MASTER, without any host code: DIR/agreements/<hex>/…"""

    root: Path
    master: bytes = MASTER
    suite: Suite = Suite.AES_256_GCM
    repository: RepositoryId = REPOSITORY
    agreement: AgreementId = AGREEMENT
    host: SigningKey = field(default_factory=lambda: SigningKey.from_seed(b"h" * 32))
    device: SigningKey = field(default_factory=lambda: SigningKey.from_seed(b"d" * 32))

    def __post_init__(self) -> None:
        working = derive_working(self.master, 1)
        self.keys = derive_repository_keys(working, self.repository)
        self.identity = derive_identity(working)
        self.authority = derive_authority(self.master)
        self.folder = self.root / "agreements" / self.agreement.hex()
        self.packs: list[LogicalId] = []
        self.snapshots: list[SnapshotId] = []
        self.paths: dict[LogicalId, Path] = {}
        self._draft = PackDraft()
        self._compressor = Compressor(3)
        self._head = None
        self._head_hash = bytes(32)
        self.folder.mkdir(parents=True, exist_ok=True)

    def add(self, kind: BlobKind, data: bytes) -> BlobId:
        blob = self._compressor.pack_blob(self.keys, kind, data)
        if not self._draft.add(blob):
            self.flush()
            assert self._draft.add(blob)
        return blob.blob

    def flush(self) -> None:
        if self._draft.is_empty:
            return
        pack = seal_pack(self._draft.close(), self.keys, self.suite)
        name = pack.stored.hex()
        path = self.folder / "packs" / name[:2] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pack.data)
        path.with_name(name + ".leaves").write_bytes(pack.leaves)
        if pack.logical not in self.packs:
            self.packs.append(pack.logical)
        self.paths[pack.logical] = path
        self._draft = PackDraft()

    def add_file(self, name: bytes, data: bytes, *, chunk_bytes: int = 1 << 20, **fields) -> TreeEntry:
        chunks = [self.add(BlobKind.DATA, data[i : i + chunk_bytes]) for i in range(0, len(data), chunk_bytes)]
        content, depth = b"".join(chunks), 0
        if lists := cut_content(content):
            content, depth = b"".join(self.add(BlobKind.TREE, part) for part in lists), 1
        return entry(name, EntryKind.FILE, size=len(data), content=content, depth=depth, **fields)

    def add_directory(self, name: bytes, entries: list[TreeEntry], **fields) -> TreeEntry:
        return entry(name, EntryKind.DIRECTORY, content=self.add_tree(entries), **fields)

    def add_tree(self, entries: list[TreeEntry]) -> bytes:
        ordered = sorted(entries, key=lambda e: e.name)
        return b"".join(self.add(BlobKind.TREE, piece) for piece in encode_pieces(ordered))

    def add_snapshot(self, root: bytes, **fields) -> SnapshotId:
        body = encode_snapshot(make_snapshot(root, **fields))
        snapshot = SnapshotId(self.add(BlobKind.SNAPSHOT, body))
        self.snapshots.append(snapshot)
        return snapshot

    def finish(self) -> None:
        """Write inventory, head, grant and agreement."""
        self.flush()
        # The pack that holds the inventory is part of it: its id is chosen before.
        self.packs.append(self._draft.logical)
        inventory = Inventory(tuple(self.snapshots), tuple(self.packs))
        encoded = encode_inventory(self.keys, inventory)
        for piece in encoded.pieces:
            self.add(BlobKind.INDEX, piece)
        self.add(BlobKind.INDEX, encoded.root)
        self.flush()
        grant = WriterGrant(repository=self.repository, epoch=1, device=DeviceId(self.device.public), time_ms=1)
        self._head = plan_head(
            self._head, self._head_hash, grant=grant, index=encoded.index, inventory=inventory, time_ms=2
        )
        self.write_head(sign_statement(self._head, self.device), sign_statement(grant, self.authority))
        (self.folder / "agreement").write_bytes(self._agreement())

    def write_head(self, signed: bytes, grant: bytes) -> None:
        """The file that a host keeps head and grant in, one after the other."""
        self.signed_head, self.signed_grant = signed, grant
        (self.folder / "head").write_bytes(b"BPHEAD1\n" + len(signed).to_bytes(4, "big") + signed + grant)

    def _agreement(self) -> bytes:
        agreement = Agreement(
            agreement=self.agreement,
            revision=1,
            previous=bytes(32),
            owner=PeerId(self.identity.public),
            host=PeerId(self.host.public),
            authority=self.authority.public,
            repository=self.repository,
            size_bytes=1 << 30,
            start_ms=0,
            term_s=1,
            lock_s=1,
            availability=900,
            notice_s=1,
        )
        return sign_statement(agreement, self.identity, self.host)


def entry(name: bytes, kind: EntryKind = EntryKind.FILE, **fields) -> TreeEntry:
    base = {"mode": 0o644, "uid": 0, "gid": 0, "mtime_ns": 1, "ctime_ns": 2, "inode": 3, "size": 0}
    return TreeEntry(kind=kind, name=name, **(base | fields))


def make_snapshot(tree: bytes, **fields) -> Snapshot:
    base = {
        "time_ns": 10**18,
        "paths": [b"/srv"],
        "host": "machine",
        "user": "user",
        "tags": [],
        "set": "default",
        "files": 1,
        "dirs": 1,
        "bytes": 1,
        "program": "backup-peer test",
    }
    return Snapshot(tree=tree, **(base | fields))
