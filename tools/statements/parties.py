"""An owner and a host with real keys, and what they sign until one accuses the other: for tests and the simulator.

Knows: statements, charges. Must not know: stores, sessions, who asks for it. The same keys give the same bytes.
"""

from dataclasses import dataclass, field

import msgspec

from backuppeer.crypto.identity import SigningKey
from backuppeer.ids import AgreementId, BlobId, DeviceId, PeerId, RepositoryId
from backuppeer.proof.charges import TwoHeads
from backuppeer.proof.statements import (
    ZERO_HASH,
    Agreement,
    Head,
    HeadReceipt,
    WriterGrant,
    sign_statement,
    statement_hash,
)

ID, REPOSITORY = AgreementId(b"A" * 16), RepositoryId(b"R" * 16)
NOW_MS = 1_795_000_000_000
TERM_S = 365 * 86_400


@dataclass
class Parties:
    """One owner, one host, one agreement; heads of one device. `changes`: other values for fields of a statement."""

    owner: SigningKey = field(default_factory=lambda: SigningKey.from_seed(b"o" * 32))
    host: SigningKey = field(default_factory=lambda: SigningKey.from_seed(b"h" * 32))
    authority: SigningKey = field(default_factory=lambda: SigningKey.from_seed(b"a" * 32))
    device: SigningKey = field(default_factory=lambda: SigningKey.from_seed(b"d" * 32))
    agreement: AgreementId = ID
    repository: RepositoryId = REPOSITORY

    def agree(self, revision: int = 1, **changes: object) -> bytes:
        """Return a revision of the agreement, signed by both."""
        previous = ZERO_HASH if revision == 1 else statement_hash(self.agree(revision - 1))
        terms = Agreement(
            agreement=self.agreement,
            revision=revision,
            previous=previous,
            owner=PeerId(self.owner.public),
            host=PeerId(self.host.public),
            authority=self.authority.public,
            repository=self.repository,
            size_bytes=10**10,
            start_ms=NOW_MS,
            term_s=TERM_S,
            lock_s=30 * 86_400,
            availability=900,
            notice_s=86_400,
        )
        return sign_statement(msgspec.structs.replace(terms, **changes), self.owner, self.host)

    def grant(self, epoch: int = 1) -> bytes:
        """Return the authority's grant to the device."""
        device = DeviceId(self.device.public)
        grant = WriterGrant(repository=self.repository, epoch=epoch, device=device, time_ms=NOW_MS)
        return sign_statement(grant, self.authority)

    def head(self, number: int = 7, *, mark: bytes = b"i", **changes: object) -> bytes:
        """Return a head of the device; another `mark`, another head of the same number."""
        head = Head(
            repository=self.repository,
            epoch=1,
            device=DeviceId(self.device.public),
            number=number,
            previous=ZERO_HASH if number == 1 else b"\1" * 32,
            index=BlobId(mark * 32),
            snapshots_root=bytes(32),
            packs_root=bytes(32),
            time_ms=NOW_MS + number,
        )
        return sign_statement(msgspec.structs.replace(head, **changes), self.device)

    def receipt(self, head: bytes = b"", number: int = 7, **changes: object) -> bytes:
        """Return the host's countersignature of a head."""
        said = HeadReceipt(
            agreement=self.agreement,
            head_hash=statement_hash(head or self.head(number)),
            number=number,
            time_ms=NOW_MS + number,
        )
        return sign_statement(msgspec.structs.replace(said, **changes), self.host)

    def two_heads(self, **changes: object) -> TwoHeads:
        """Return the charge, which holds, that the host countersigned two heads of one number."""
        other = self.head(mark=b"j")
        charge = TwoHeads(
            agreements=[self.agree()],
            head=self.head(),
            grant=self.grant(),
            receipt=self.receipt(),
            other_head=other,
            other_grant=self.grant(),
            other_receipt=self.receipt(other, time_ms=NOW_MS),
        )
        return msgspec.structs.replace(charge, **changes)
