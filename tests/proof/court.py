"""An owner and a host with real keys, and all that they sign until the owner accuses the host."""

from dataclasses import dataclass, field

import msgspec

from backuppeer.crypto.identity import SigningKey
from backuppeer.ids import AgreementId, BlobId, DeviceId, PeerId, RepositoryId, StoredId
from backuppeer.limits import LEAF_BYTES
from backuppeer.proof.audits import AuditAnswer, Sample, Shown, hash_shown, sign_answer, sign_challenge
from backuppeer.proof.charges import LostPack, OlderHead, ShownRemoval, TwoHeads, WrongAnswer
from backuppeer.proof.custody import LossCause, Standing, sign_ack, sign_held, sign_loss
from backuppeer.proof.merkle import find_path, hash_leaves, stored_id_of_leaves
from backuppeer.proof.removals import PackDelete, sign_removal
from backuppeer.proof.statements import (
    ZERO_HASH,
    Agreement,
    Head,
    HeadReceipt,
    WriterGrant,
    sign_statement,
    statement_hash,
)
from noise import noise

ID, REPOSITORY = AgreementId(b"A" * 16), RepositoryId(b"R" * 16)
NOW_MS = 1_795_000_000_000
DAY_MS = 86_400_000
TERM_S = 365 * 86_400
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
class Court:
    """One owner, one host, one agreement of two revisions; heads 1 to 9 of one device."""

    owner: SigningKey = field(default_factory=lambda: SigningKey.from_seed(b"o" * 32))
    host: SigningKey = field(default_factory=lambda: SigningKey.from_seed(b"h" * 32))
    authority: SigningKey = field(default_factory=lambda: SigningKey.from_seed(b"a" * 32))
    device: SigningKey = field(default_factory=lambda: SigningKey.from_seed(b"d" * 32))
    agreement: AgreementId = ID
    repository: RepositoryId = REPOSITORY

    def agree(self, revision: int = 1, **changes: object) -> bytes:
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
        device = DeviceId(self.device.public)
        grant = WriterGrant(repository=self.repository, epoch=epoch, device=device, time_ms=NOW_MS)
        return sign_statement(grant, self.authority)

    def head(self, number: int = 7, *, mark: bytes = b"i", **changes: object) -> bytes:
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
        said = HeadReceipt(
            agreement=self.agreement,
            head_hash=statement_hash(head or self.head(number)),
            number=number,
            time_ms=NOW_MS + number,
        )
        return sign_statement(msgspec.structs.replace(said, **changes), self.host)

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

    def two_heads(self, **changes: object) -> TwoHeads:
        other = self.head(mark=b"j")
        charge = TwoHeads(
            **self.common(),
            other_head=other,
            other_grant=self.grant(),
            other_receipt=self.receipt(other, time_ms=NOW_MS),
        )
        return msgspec.structs.replace(charge, **changes)

    def charges(self) -> dict:
        """Return one charge of each kind that holds, by the name of the crime."""
        return {
            "wrong-answer": self.wrong_answer(),
            "lost-pack": self.lost_pack(),
            "older-head": self.older_head(),
            "two-heads": self.two_heads(),
        }
