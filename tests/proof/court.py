"""An owner and a host with real keys, and all that they sign until the owner accuses the host."""

from dataclasses import dataclass

import msgspec
from parties import NOW_MS, Parties

from backuppeer.ids import StoredId
from backuppeer.limits import LEAF_BYTES
from backuppeer.proof.audits import AuditAnswer, Sample, Shown, hash_shown, sign_answer, sign_challenge
from backuppeer.proof.charges import LostPack, OlderHead, ShownRemoval, WrongAnswer
from backuppeer.proof.custody import LossCause, Standing, sign_ack, sign_held, sign_loss
from backuppeer.proof.merkle import find_path, hash_leaves, stored_id_of_leaves
from backuppeer.proof.removals import PackDelete, sign_removal
from backuppeer.proof.statements import ZERO_HASH, sign_statement, statement_hash
from noise import noise

DAY_MS = 86_400_000
PACK = noise(5, 9 * LEAF_BYTES + 3)
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
    """One owner, one host, one agreement of two revisions; heads 1 to 9 of one device."""

    def standing(self, number: int = 7, revision: int = 1) -> Standing:
        head = statement_hash(self.head(number)) if number else ZERO_HASH
        return Standing(self.agreement, statement_hash(self.agree(revision)), head, number)

    def ack(self, packs: tuple[StoredId, ...] = (STORED, OTHER_PACK), number: int = 5, revision: int = 1) -> bytes:
        return sign_ack(packs, self.host, standing=self.standing(number, revision), time_ms=NOW_MS + DAY_MS)

    def loss(
        self, packs: tuple[StoredId, ...] = (STORED,), number: int = 8, time_ms: int = NOW_MS + 9 * DAY_MS
    ) -> bytes:
        return sign_loss(packs, self.host, standing=self.standing(number), cause=LossCause.DAMAGED, time_ms=time_ms)

    def challenge(self, *samples: Sample, standing: Standing | None = None) -> bytes:
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

    def lie(self, challenge: bytes, *shown: Shown | None, **changes: object) -> bytes:
        """Return the answer of a host that signs whatever it shows."""
        said = AuditAnswer(
            agreement=self.agreement,
            terms=statement_hash(self.agree()),
            challenge=statement_hash(challenge),
            answers=[ZERO_HASH if one is None else hash_shown(one) for one in shown],
            time_ms=NOW_MS + 9 * DAY_MS,
        )
        return sign_statement(msgspec.structs.replace(said, **changes), self.host)

    def held(
        self, number: int = 6, receipt: bytes | None = None, head: bytes = b"", time_ms: int = NOW_MS + DAY_MS
    ) -> bytes:
        standing = self.standing(number)
        if head:
            standing = Standing(standing.agreement, standing.terms, statement_hash(head), number)
        shown = self.receipt() if receipt is None else receipt
        return sign_held(self.host, standing=standing, receipt=shown, nonce=b"n" * 16, time_ms=time_ms)

    def delete(
        self, number: int = 6, packs: tuple[StoredId, ...] = (STORED,), kind=PackDelete, by=None
    ) -> ShownRemoval:
        head = (statement_hash(self.head(number)), number)
        signed = sign_removal(
            kind, packs, by or self.owner, agreement=self.agreement, head=head, time_ms=NOW_MS + 2 * DAY_MS
        )
        return ShownRemoval(signed, list(packs))

    # --- charges that hold
    def common(self) -> dict:
        return {
            "agreements": [self.agree()],
            "head": self.head(),
            "grant": self.grant(),
            "receipt": self.receipt(),
        }

    def wrong_answer(self, lie: Shown = LIE, **changes: object) -> WrongAnswer:
        challenge = self.challenge()
        charge = WrongAnswer(
            **self.common(),
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
        charge = LostPack(
            **self.common(),
            ack=self.ack(),
            acked=[STORED, OTHER_PACK],
            report=self.loss(),
            lost=[STORED],
            stored=STORED,
        )
        return msgspec.structs.replace(charge, **changes)

    def older_head(self, **changes: object) -> OlderHead:
        return msgspec.structs.replace(OlderHead(**self.common(), held=self.held()), **changes)

    def charges(self) -> dict:
        """Return one charge of each kind that holds, by the name of the crime."""
        return {
            "wrong-answer": self.wrong_answer(),
            "lost-pack": self.lost_pack(),
            "older-head": self.older_head(),
            "two-heads": self.two_heads(),
        }
