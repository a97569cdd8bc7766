"""Parties with real keys, and the statements they sign."""

from pathlib import Path

from backuppeer.crypto.identity import SigningKey
from backuppeer.host.store import Store, open_store
from backuppeer.ids import AgreementId, BlobId, DeviceId, PeerId, RepositoryId, StoredId
from backuppeer.limits import MIB
from backuppeer.proof.merkle import compute_stored_id
from backuppeer.proof.statements import Agreement, Head, WriterGrant, sign_statement, statement_hash

NOW_MS = 1_795_000_000_000
ZERO = bytes(32)


class World:
    """One owner with authority and device, one host."""

    def __init__(self) -> None:
        self.owner = SigningKey.from_seed(b"o" * 32)
        self.host = SigningKey.from_seed(b"h" * 32)
        self.authority = SigningKey.from_seed(b"a" * 32)
        self.device = SigningKey.from_seed(b"d" * 32)
        self.peer = PeerId(self.host.public)
        self.repository = RepositoryId(b"R" * 16)

    def agree(
        self,
        number: int = 1,
        *,
        size_bytes: int = 8 * MIB,
        after: bytes = b"",
        revision: int = 1,
        lock_s: int = 100,
        owner: SigningKey | None = None,
        host: SigningKey | None = None,
        authority: SigningKey | None = None,
        ext: dict[str, bytes] | None = None,
    ) -> bytes:
        owner, host, authority = owner or self.owner, host or self.host, authority or self.authority
        terms = Agreement(
            agreement=agreement_id(number),
            revision=revision,
            previous=statement_hash(after) if after else ZERO,
            owner=PeerId(owner.public),
            host=PeerId(host.public),
            authority=authority.public,
            repository=self.repository,
            size_bytes=size_bytes,
            ext=ext or {},
            start_ms=NOW_MS,
            term_s=1000,
            lock_s=lock_s,
            availability=900,
            notice_s=10,
        )
        return sign_statement(terms, owner, host)

    def grant(self, epoch: int = 1, *, device: SigningKey | None = None, by: SigningKey | None = None) -> bytes:
        named = DeviceId((device or self.device).public)
        grant = WriterGrant(repository=self.repository, epoch=epoch, device=named, time_ms=NOW_MS)
        return sign_statement(grant, by or self.authority)

    def head(
        self, number: int, after: bytes = b"", *, epoch: int = 1, device: SigningKey | None = None, mark: bytes = b"i"
    ) -> bytes:
        device = device or self.device
        head = Head(
            repository=self.repository,
            epoch=epoch,
            device=DeviceId(device.public),
            number=number,
            previous=statement_hash(after) if after else (ZERO if number == 1 else b"\x01" * 32),
            index=BlobId(mark * 32),
            snapshots_root=ZERO,
            packs_root=ZERO,
            time_ms=NOW_MS,
        )
        return sign_statement(head, device)


def agreement_id(number: int = 1) -> AgreementId:
    return AgreementId(bytes([number]) * 16)


def put_pack(store: Store, data: bytes, agreement: AgreementId | None = None, *, piece: int = MIB) -> StoredId:
    """Store a pack the way the agent does, and return its id."""
    stored = compute_stored_id(data)
    with store.receive(agreement or agreement_id(), stored, len(data)) as incoming:
        for start in range(0, len(data), piece):
            incoming.write(memoryview(data)[start : start + piece])
        incoming.commit()
    return stored


class Kept:
    """A store with one agreement, its packs here or not, looked at as its agent does."""

    def __init__(self, store: Store, world: World, *, lock_s: int) -> None:
        self.store, self.world = store, world
        store.leases.put(world.agree(lock_s=lock_s))

    def look(self) -> list[AgreementId]:
        """Do what the agent does at each look; return which agreements ended."""
        self.store.endings.doom()
        while self.store.sweep.run().packs:
            pass
        return [lease.agreement for lease in self.store.endings.finish()]

    def reopen(self, *, without_catalogue: bool = False) -> None:
        directory = self.store.directory
        self.store.close()
        if without_catalogue:
            for path in directory.glob("catalogue.db*"):
                path.unlink()
        self.store = open_store(directory, self.world.peer, floor_bytes=0)

    def files(self) -> list[Path]:
        folder = self.store.directory / "agreements" / agreement_id().hex() / "packs"
        return [path for path in folder.rglob("*") if path.is_file()]
