"""Proofs of misbehaviour that an owner makes up against its honest host, before the real judge.

Knows: real keys and statements. Must not know: scores. The owner has all that an owner can have: its own keys, an
agreement that the host co-signed, and the host's countersignature of one head. For "two heads of one number" it lacks
the countersignature of another head, and that is what it forges.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import BackupPeerError
from backuppeer.ids import AgreementId, BlobId, DeviceId, PeerId, RepositoryId
from backuppeer.limits import GIB
from backuppeer.proof.charges import TwoHeads, pack_charge, unpack_charge
from backuppeer.proof.misbehaviour import judge
from backuppeer.proof.statements import (
    ZERO_HASH,
    Agreement,
    Head,
    HeadReceipt,
    WriterGrant,
    sign_statement,
    statement_hash,
)

_NOW_MS: Final = 1_795_000_000_000
_DAY_S: Final = 86_400
_SIGNATURE_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class Case:
    """An owner against its host, and a crook whom both know."""

    chance: random.Random
    owner: SigningKey
    host: SigningKey
    crook: SigningKey
    agreement: AgreementId
    repository: RepositoryId

    def charge(self, other_receipt: bytes) -> TwoHeads:
        """Return the charge that the host countersigned two heads of one number, all but the last word real."""
        grant = self._grant()
        return TwoHeads(
            agreements=[self._agree()],
            head=self._head(b"i"),
            grant=grant,
            receipt=self.receipt(self.host),
            other_head=self._head(b"j"),
            other_grant=grant,
            other_receipt=other_receipt,
        )

    def receipt(self, by: SigningKey, mark: bytes = b"i") -> bytes:
        """Return a countersignature of one of the two heads, i or j, by whoever it is."""
        head_hash = statement_hash(self._head(mark))
        said = HeadReceipt(agreement=self.agreement, head_hash=head_hash, number=1, time_ms=_NOW_MS)
        return sign_statement(said, by)

    def _agree(self) -> bytes:
        terms = Agreement(
            agreement=self.agreement,
            revision=1,
            previous=ZERO_HASH,
            owner=PeerId(self.owner.public),
            host=PeerId(self.host.public),
            authority=self.owner.public,
            repository=self.repository,
            size_bytes=GIB,
            start_ms=_NOW_MS,
            term_s=365 * _DAY_S,
            lock_s=30 * _DAY_S,
            availability=900,
            notice_s=_DAY_S,
        )
        return sign_statement(terms, self.owner, self.host)

    def _grant(self) -> bytes:
        device = DeviceId(self.owner.public)
        return sign_statement(
            WriterGrant(repository=self.repository, epoch=1, device=device, time_ms=_NOW_MS), self.owner
        )

    def _head(self, mark: bytes) -> bytes:
        head = Head(
            repository=self.repository,
            epoch=1,
            device=DeviceId(self.owner.public),
            number=1,
            previous=ZERO_HASH,
            index=BlobId(mark * 32),
            snapshots_root=bytes(32),
            packs_root=bytes(32),
            time_ms=_NOW_MS,
        )
        return sign_statement(head, self.owner)


def make_case(chance: random.Random) -> Case:
    """Return a case with fresh keys."""
    owner, host, crook = (SigningKey.from_seed(chance.randbytes(32)) for _ in range(3))
    return Case(chance, owner, host, crook, AgreementId(chance.randbytes(16)), RepositoryId(chance.randbytes(16)))


def forge(case: Case) -> Iterator[bytes]:
    """Yield countersignatures that the host never gave: by the owner, by a crook, by chance, of another head."""
    yield case.receipt(case.owner, b"j")
    yield case.receipt(case.crook, b"j")
    words = case.receipt(case.owner, b"j")[:-_SIGNATURE_BYTES]
    yield words + case.chance.randbytes(_SIGNATURE_BYTES)
    yield words + case.receipt(case.host)[-_SIGNATURE_BYTES:]
    flipped = bytearray(case.receipt(case.host))
    flipped[case.chance.randrange(len(flipped))] ^= 1 << case.chance.randrange(8)
    yield bytes(flipped)


def is_convicted(case: Case, other_receipt: bytes) -> bool:
    """Return whether a viewer who gets the file would believe it."""
    try:
        return judge(unpack_charge(pack_charge(case.charge(other_receipt)))).is_proven
    except BackupPeerError:
        return False


def count_accepted(chance: random.Random, forgeries: int) -> tuple[int, int]:
    """Return how many of so many forged proofs are accepted, and how many true ones are not, one beside each five."""
    accepted = refused = made = 0
    while made < forgeries:
        case = make_case(chance)
        for forged in forge(case):
            made += 1
            accepted += is_convicted(case, forged)
        refused += not is_convicted(case, case.receipt(case.host, b"j"))
    return accepted, refused
