"""Proofs of misbehaviour that an owner makes up against its honest host, before the real judge.

Knows: real keys and statements. Must not know: scores. The owner has all that an owner can have: its own keys, an
agreement that the host co-signed, and the host's countersignature of one head. For "two heads of one number" it lacks
the countersignature of another head, and that is what it forges.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from parties import Parties

from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import BackupPeerError
from backuppeer.ids import AgreementId, RepositoryId
from backuppeer.proof.charges import pack_charge, unpack_charge
from backuppeer.proof.misbehaviour import judge

_SIGNATURE_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class Case:
    """An owner against its host, and a crook whom both know. The owner has the authority, and is its own device."""

    chance: random.Random
    parties: Parties
    crook: SigningKey

    def receipt(self, by: SigningKey, mark: bytes = b"i") -> bytes:
        """Return a countersignature of one of two heads, i or j, by whoever it is."""
        return replace(self.parties, host=by).receipt(self.parties.head(mark=mark))


def make_case(chance: random.Random) -> Case:
    """Return a case with fresh keys."""
    owner, host, crook = (SigningKey.from_seed(chance.randbytes(32)) for _ in range(3))
    ids = AgreementId(chance.randbytes(16)), RepositoryId(chance.randbytes(16))
    return Case(chance, Parties(owner, host, owner, owner, *ids), crook)


def forge(case: Case) -> Iterator[bytes]:
    """Yield countersignatures that the host never gave: by the owner, by a crook, by chance, of another head."""
    by_owner = case.receipt(case.parties.owner, b"j")
    yield by_owner
    yield case.receipt(case.crook, b"j")
    words = by_owner[:-_SIGNATURE_BYTES]
    yield words + case.chance.randbytes(_SIGNATURE_BYTES)
    true = case.receipt(case.parties.host)
    yield words + true[-_SIGNATURE_BYTES:]
    flipped = bytearray(true)
    flipped[case.chance.randrange(len(flipped))] ^= 1 << case.chance.randrange(8)
    yield bytes(flipped)


def is_convicted(case: Case, other_receipt: bytes) -> bool:
    """Return whether a viewer who gets the file would believe it."""
    try:
        return judge(unpack_charge(pack_charge(case.parties.two_heads(other_receipt=other_receipt)))).is_proven
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
        refused += not is_convicted(case, case.receipt(case.parties.host, b"j"))
    return accepted, refused
