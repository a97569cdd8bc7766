"""What an owner and a host of real processes signed, and the charges that come of it when the host lies."""

from dataclasses import dataclass

from backuppeer.agent.home.home import Home as HomeFolder
from backuppeer.agent.home.keyring import load_keys
from backuppeer.clock import SystemClock
from backuppeer.crypto.identity import SigningKey
from backuppeer.host import heads
from backuppeer.ids import AgreementId, StoredId
from backuppeer.limits import LEAF_BYTES
from backuppeer.proof.audits import AuditAnswer, Sample, Shown, hash_shown, sign_answer, sign_challenge
from backuppeer.proof.charges import LostPack, OlderHead, Rebuttal, ShownRemoval, WrongAnswer
from backuppeer.proof.custody import LossCause, Standing, sign_ack, sign_held, sign_loss
from backuppeer.proof.merkle import find_path, hash_leaves
from backuppeer.proof.removals import PackDelete, sign_removal
from backuppeer.proof.statements import (
    ZERO_HASH,
    Agreement,
    HeadReceipt,
    peek_statement,
    sign_statement,
    statement_hash,
)
from e2e.harness import Pair

NOW_MS = SystemClock().now_ms()


@dataclass
class Case:
    """What a real owner and a real host have after a real backup: keys, agreement, head, and the bytes of a pack."""

    owner: SigningKey
    host: SigningKey
    agreement: bytes
    head: bytes
    grant: bytes
    stored: StoredId
    pack: bytes

    @property
    def terms(self) -> Agreement:
        return peek_statement(Agreement, self.agreement)

    def standing(self, number: int) -> Standing:
        head = statement_hash(self.head) if number else ZERO_HASH
        return Standing(AgreementId(self.terms.agreement), statement_hash(self.agreement), head, number)

    def common(self) -> dict:
        receipt = HeadReceipt(
            agreement=self.terms.agreement, head_hash=statement_hash(self.head), number=1, time_ms=NOW_MS
        )
        ack = sign_ack([self.stored], self.host, standing=self.standing(0), time_ms=NOW_MS)
        receipt_signed = sign_statement(receipt, self.host)
        parts = {"agreements": [self.agreement], "head": self.head, "grant": self.grant, "receipt": receipt_signed}
        return parts | {"ack": ack, "acked": [self.stored]}

    def wrong_answer(self) -> WrongAnswer:
        """The host's disk flipped a bit, and the host signs what it has instead of reporting the loss."""
        challenge = sign_challenge(
            [Sample(self.stored, 3, 1)], self.owner, standing=self.standing(1), nonce=b"n" * 16, time_ms=NOW_MS
        )
        data = bytearray(self.pack[3 * LEAF_BYTES : 4 * LEAF_BYTES])
        data[77] ^= 4
        shown = Shown(len(self.pack), bytes(data), tuple(find_path(hash_leaves(self.pack), 3, 1)))
        said = AuditAnswer(
            agreement=self.terms.agreement,
            terms=statement_hash(self.agreement),
            challenge=statement_hash(challenge),
            answers=[hash_shown(shown)],
            time_ms=NOW_MS + 1000,
        )
        return WrongAnswer(
            **self.common(),
            challenge=challenge,
            answer=sign_statement(said, self.host),
            sample=0,
            length=shown.length,
            path=list(shown.path),
            data=bytes(shown.data),
        )

    def right_answer(self) -> WrongAnswer:
        """What an owner can make of an honest answer."""
        lie = self.wrong_answer()
        shown = Shown(lie.length, self.pack[3 * LEAF_BYTES : 4 * LEAF_BYTES], tuple(lie.path))
        answer = sign_answer(
            lie.challenge,
            [shown],
            self.host,
            owner=self.owner.public,
            standing=self.standing(1),
            time_ms=NOW_MS + 1000,
        )
        return WrongAnswer(
            **self.common(),
            challenge=lie.challenge,
            answer=answer,
            sample=0,
            length=shown.length,
            path=list(shown.path),
            data=bytes(shown.data),
        )

    def lost_pack(self) -> LostPack:
        report = sign_loss(
            [self.stored], self.host, standing=self.standing(1), cause=LossCause.MISSING, time_ms=NOW_MS + 1000
        )
        return LostPack(**self.common(), report=report, lost=[self.stored], stored=self.stored)

    def older_head(self) -> OlderHead:
        parts = {name: value for name, value in self.common().items() if name not in {"ack", "acked"}}
        held = sign_held(
            self.host,
            standing=self.standing(0),
            receipt=parts["receipt"],
            nonce=b"n" * 16,
            time_ms=NOW_MS + 1000,
        )
        return OlderHead(**parts, held=held)

    def rebuttal(self) -> Rebuttal:
        head = (statement_hash(self.head), 1)
        signed = sign_removal(
            PackDelete, [self.stored], self.owner, agreement=self.terms.agreement, head=head, time_ms=NOW_MS
        )
        return Rebuttal(removals=[ShownRemoval(signed, [self.stored])])


def read_case(pair: Pair) -> Case:
    """Return what the two have after a backup."""
    pack = pair.packs()[0]
    folder = pack.parents[2]
    agreement, kept = (folder / "agreement").read_bytes(), (folder / "head").read_bytes()
    head, grant = heads._split(kept)
    keys = [load_keys(HomeFolder(home.path)).identity for home in (pair.owner, pair.host)]
    return Case(*keys, agreement, head, grant, StoredId(bytes.fromhex(pack.name)), pack.read_bytes())
