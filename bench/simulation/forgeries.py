"""Proofs of misbehaviour that an owner makes up against its honest host, before the real judge.

Knows: real keys and statements. Must not know: scores. The owner has all that an owner can have: its own keys, an
agreement that the host co-signed, and what an honest host signs: countersignatures, acknowledgements, answers, its word
on the head that it holds. It lacks the one statement that would convict, of each of the four crimes, and forges that.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec
from court import LIE, OTHER_PACK, Court, show

from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import BackupPeerError
from backuppeer.ids import AgreementId, RepositoryId
from backuppeer.proof.charges import AnyCharge, LostPack, OlderHead, TwoHeads, WrongAnswer, pack_charge, unpack_charge
from backuppeer.proof.misbehaviour import Crime, judge
from backuppeer.proof.statements import HeadReceipt, sign_statement, statement_hash

_SIGNATURE_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class Case:
    """An owner against its host, and a crook whom both know. The owner has the authority, and is its own device.

    charge: holds, as the host did what it says; the forgers have all of it but the statement that convicts.
    """

    chance: random.Random
    court: Court
    crook: SigningKey
    charge: AnyCharge

    def convicting(self, by: SigningKey) -> bytes:
        """Return the statement that convicts, signed by whoever it is."""
        match self.charge:
            case WrongAnswer(challenge=challenge):
                return self.court.lie(challenge, None, LIE, by=by)
            case LostPack():
                return self.court.loss(by=by)
            case OlderHead():
                return self.court.held(by=by)
            case TwoHeads(other_head=head):
                said = HeadReceipt(
                    agreement=self.court.agreement,
                    head_hash=statement_hash(head),
                    number=7,
                    time_ms=self.chance.getrandbits(40),
                )
                return sign_statement(said, by)

    def harmless(self) -> bytes:
        """Return what the host signed, being honest, that is most like it."""
        match self.charge:
            case WrongAnswer(challenge=challenge):
                return self.court.answer(challenge, None, show())
            case LostPack():
                return self.court.loss((OTHER_PACK,))
            case OlderHead():
                return self.court.held(7)
            case TwoHeads():
                return self.court.receipt()

    def accuse(self, signed: bytes) -> AnyCharge:
        """Return the charge with another statement in the place of the one that convicts."""
        return msgspec.structs.replace(self.charge, **{_CONVICTS[type(self.charge)]: signed})


_CONVICTS: Final[dict[type[AnyCharge], str]] = {
    WrongAnswer: "answer",
    LostPack: "report",
    OlderHead: "held",
    TwoHeads: "other_receipt",
}


def make_case(chance: random.Random, crime: Crime) -> Case:
    """Return a case with fresh keys."""
    owner, host, crook = (SigningKey.from_seed(chance.randbytes(32)) for _ in range(3))
    court = Court(owner, host, owner, owner, AgreementId(chance.randbytes(16)), RepositoryId(chance.randbytes(16)))
    return Case(chance, court, crook, court.charges()[crime])


def forge(case: Case) -> Iterator[bytes]:
    """Yield statements that the host never gave: by the owner, by a crook, by chance, with the signature of another."""
    by_owner = case.convicting(case.court.owner)
    yield by_owner
    yield case.convicting(case.crook)
    words = by_owner[:-_SIGNATURE_BYTES]
    yield words + case.chance.randbytes(_SIGNATURE_BYTES)
    true = case.harmless()
    yield words + true[-_SIGNATURE_BYTES:]
    flipped = bytearray(true)
    flipped[case.chance.randrange(len(flipped))] ^= 1 << case.chance.randrange(8)
    yield bytes(flipped)


def is_convicted(charge: AnyCharge) -> bool:
    """Return whether a viewer who gets the file would believe it."""
    try:
        return judge(unpack_charge(pack_charge(charge))).is_proven
    except BackupPeerError:
        return False


def count_accepted(chance: random.Random, forgeries: int) -> tuple[int, int]:
    """Return how many of so many forged proofs are accepted, and how many true ones are not, one beside each five.

    The crimes take turns.
    """
    accepted = refused = made = 0
    while made < forgeries:
        for crime in Crime:
            case = make_case(chance, crime)
            for forged in forge(case):
                made += 1
                accepted += is_convicted(case.accuse(forged))
            refused += not is_convicted(case.accuse(case.convicting(case.court.host)))
    return accepted, refused
