"""An owner and a host with real keys, and all that they sign until the owner accuses the host: a charge of each kind.

Knows: `parties`, audits, reports, requests. Must not know: stores, sessions. For tests and the simulator.
"""

from dataclasses import dataclass

import msgspec
from blake3 import blake3
from parties import NOW_MS, Parties

from backuppeer.crypto.identity import SigningKey
from backuppeer.ids import StoredId
from backuppeer.limits import LEAF_BYTES
from backuppeer.proof.audits import AuditAnswer, Sample, Shown, hash_shown, sign_answer, sign_challenge
from backuppeer.proof.charges import AnyCharge, LostPack, OlderHead, ShownRemoval, WrongAnswer
from backuppeer.proof.custody import LossCause, Standing, sign_ack, sign_held, sign_loss
from backuppeer.proof.merkle import find_path, hash_leaves, stored_id_of_leaves
from backuppeer.proof.removals import PackDelete, PackWithdraw, sign_removal
from backuppeer.proof.statements import ZERO_HASH, sign_statement, statement_hash

DAY_MS = 86_400_000
PACK = blake3(b"5").digest(length=9 * LEAF_BYTES + 3)
LEAVES = hash_leaves(PACK)
STORED = stored_id_of_leaves(LEAVES, len(PACK))
OTHER_PACK = StoredId(b"p" * 32)


def show(first: int = 2, count: int = 1, data: bytes = b"") -> Shown:
    """Return what an honest host shows of PACK; `data` in the place of the bytes, from a host that is not."""
    true = PACK[first * LEAF_BYTES : (first + count) * LEAF_BYTES]
    return Shown(len(PACK), data or true, tuple(find_path(LEAVES, first, count)))


LIE = show(data=b"x" * LEAF_BYTES)


@dataclass
class Court(Parties):
    """One owner, one host, one agreement of two revisions; heads 1 to 9 of one device.

    `by`, of what a host is convicted by: somebody else who signs it.
    """

    def standing(self, number: int = 7, revision: int = 1) -> Standing:
        """Return revision and head, as statements name them; number 0: no head."""
        head = statement_hash(self.head(number)) if number else ZERO_HASH
        return Standing(self.agreement, statement_hash(self.agree(revision)), head, number)

    def ack(self, packs: tuple[StoredId, ...] = (STORED, OTHER_PACK), number: int = 5, revision: int = 1) -> bytes:
        """Return the host's acknowledgement of some packs."""
        return sign_ack(packs, self.host, standing=self.standing(number, revision), time_ms=NOW_MS + DAY_MS)

    def loss(
        self,
        packs: tuple[StoredId, ...] = (STORED,),
        number: int = 8,
        time_ms: int = NOW_MS + 9 * DAY_MS,
        by: SigningKey | None = None,
    ) -> bytes:
        """Return a host's report that it lost some packs."""
        standing = self.standing(number)
        return sign_loss(packs, by or self.host, standing=standing, cause=LossCause.DAMAGED, time_ms=time_ms)

    def challenge(self, *samples: Sample, standing: Standing | None = None) -> bytes:
        """Return the owner's challenge; unless told otherwise for two packs."""
        return sign_challenge(
            samples or (Sample(OTHER_PACK, 0, 1), Sample(STORED, 2, 1)),
            self.owner,
            standing=standing or self.standing(),
            nonce=b"n" * 16,
            time_ms=NOW_MS + 8 * DAY_MS,
        )

    def answer(self, challenge: bytes, *shown: Shown | None) -> bytes:
        """Return an honest host's answer."""
        return sign_answer(
            challenge,
            shown,
            self.host,
            owner=self.owner.public,
            standing=self.standing(),
            time_ms=NOW_MS + 9 * DAY_MS,
        )

    def lie(self, challenge: bytes, *shown: Shown | None, by: SigningKey | None = None, **changes: object) -> bytes:
        """Return the answer of a host that signs whatever it shows."""
        said = AuditAnswer(
            agreement=self.agreement,
            terms=statement_hash(self.agree()),
            challenge=statement_hash(challenge),
            answers=[ZERO_HASH if one is None else hash_shown(one) for one in shown],
            time_ms=NOW_MS + 9 * DAY_MS,
        )
        return sign_statement(msgspec.structs.replace(said, **changes), by or self.host)

    def held(
        self,
        number: int = 6,
        receipt: bytes | None = None,
        head: bytes = b"",
        time_ms: int = NOW_MS + DAY_MS,
        by: SigningKey | None = None,
    ) -> bytes:
        """Return a host's word, upon its countersignature, that it holds a head; unless told otherwise an older one."""
        standing = self.standing(number)
        if head:
            standing = Standing(standing.agreement, standing.terms, statement_hash(head), number)
        shown = self.receipt() if receipt is None else receipt
        return sign_held(by or self.host, standing=standing, receipt=shown, nonce=b"n" * 16, time_ms=time_ms)

    def delete(
        self,
        number: int = 6,
        packs: tuple[StoredId, ...] = (STORED,),
        kind: type[PackDelete] | type[PackWithdraw] = PackDelete,
        by: SigningKey | None = None,
    ) -> ShownRemoval:
        """Return the owner's request to remove some packs."""
        head = (statement_hash(self.head(number)), number)
        signed = sign_removal(
            kind, packs, by or self.owner, agreement=self.agreement, head=head, time_ms=NOW_MS + 2 * DAY_MS
        )
        return ShownRemoval(signed, list(packs))

    # --- charges that hold
    def wrong_answer(self, lie: Shown = LIE, **changes: object) -> WrongAnswer:
        """Return the charge that the host signed other bytes than those of a pack."""
        challenge = self.challenge()
        charge = WrongAnswer(
            agreements=[self.agree()],
            head=self.head(),
            grant=self.grant(),
            receipt=self.receipt(),
            ack=self.ack(),
            acked=[STORED, OTHER_PACK],
            challenge=challenge,
            answer=self.lie(challenge, None, lie),
            sample=1,
            length=lie.length,
            path=list(lie.path),
            data=bytes(lie.data),
        )
        return msgspec.structs.replace(charge, **changes)

    def lost_pack(self, **changes: object) -> LostPack:
        """Return the charge that the host lost a pack, by its own report."""
        charge = LostPack(
            agreements=[self.agree()],
            head=self.head(),
            grant=self.grant(),
            receipt=self.receipt(),
            ack=self.ack(),
            acked=[STORED, OTHER_PACK],
            report=self.loss(),
            lost=[STORED],
            stored=STORED,
        )
        return msgspec.structs.replace(charge, **changes)

    def older_head(self, **changes: object) -> OlderHead:
        """Return the charge that the host holds an older head than it countersigned."""
        charge = OlderHead(
            agreements=[self.agree()],
            head=self.head(),
            grant=self.grant(),
            receipt=self.receipt(),
            held=self.held(),
        )
        return msgspec.structs.replace(charge, **changes)

    def charges(self) -> dict[str, AnyCharge]:
        """Return one charge of each kind that holds, by the name of the crime."""
        return {
            "wrong-answer": self.wrong_answer(),
            "lost-pack": self.lost_pack(),
            "older-head": self.older_head(),
            "two-heads": self.two_heads(),
        }
