"""What hosts sign about what they keep."""

import json
from pathlib import Path

import msgspec
import pytest
from court import Court
from parties import ID, NOW_MS

from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import AuthenticationFault, LocalError, ProtocolViolation
from backuppeer.ids import AgreementId, StoredId
from backuppeer.limits import ACK_PACKS
from backuppeer.proof.custody import (
    HeadHeld,
    LossCause,
    LossReport,
    Standing,
    StoreAck,
    hash_signed,
    open_bound,
    open_packs,
    sign_ack,
    sign_held,
    sign_loss,
)
from backuppeer.proof.statements import ZERO_HASH, HeadReceipt, open_statement, sign_statement, statement_hash

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "audits.json").read_text())
COURT = Court()
HOST = COURT.host
PACKS = tuple(StoredId(bytes([n]) * 32) for n in range(1, 4))
MOST = [StoredId(n.to_bytes(32, "big")) for n in range(ACK_PACKS)]


def ack(packs=PACKS, standing: Standing | None = None) -> bytes:
    return sign_ack(packs, HOST, standing=standing or COURT.standing(), time_ms=NOW_MS)


def loss(packs=PACKS) -> bytes:
    return sign_loss(packs, HOST, standing=COURT.standing(), cause=LossCause.MISSING, time_ms=NOW_MS)


both = pytest.mark.parametrize(("kind", "sign"), [(StoreAck, ack), (LossReport, loss)])


@both
def test_word_about_packs_names_revision_head_and_packs(kind, sign):
    said = open_packs(kind, sign(), PACKS[::-1], host=HOST.public, agreement=ID)
    assert said.standing == COURT.standing()
    assert (said.packs, said.time_ms) == (3, NOW_MS)


@both
def test_as_many_packs_as_a_message_carries_hang_on_one_signature(kind, sign):
    signed = sign(MOST)
    assert open_packs(kind, signed, MOST, host=HOST.public, agreement=ID).packs == ACK_PACKS
    assert len(signed) < 400


@both
@pytest.mark.parametrize("packs", [(), (PACKS[0], PACKS[0]), [*MOST, PACKS[0]]], ids=["none", "twice", "many"])
def test_none_or_too_many_packs_or_one_twice_are_not_signed(kind, sign, packs):
    with pytest.raises(LocalError):
        sign(packs)


@both
@pytest.mark.parametrize(
    "packs", [(), PACKS[:2], (*PACKS, MOST[0]), (*PACKS[:2], MOST[0]), (*PACKS, PACKS[0])], ids=range(5)
)
def test_other_packs_than_those_signed_for_are_refused(kind, sign, packs):
    with pytest.raises(ProtocolViolation):
        open_packs(kind, sign(), packs, host=HOST.public, agreement=ID)


@both
def test_another_signer_agreement_or_kind_is_refused(kind, sign):
    with pytest.raises(AuthenticationFault):
        open_packs(kind, sign(), PACKS, host=COURT.owner.public, agreement=ID)
    with pytest.raises(ProtocolViolation):
        open_packs(kind, sign(), PACKS, host=HOST.public, agreement=AgreementId(b"B" * 16))
    with pytest.raises(ProtocolViolation):
        open_packs(LossReport if kind is StoreAck else StoreAck, sign(), PACKS, host=HOST.public, agreement=ID)


def test_cause_of_a_loss_is_one_of_those_known():
    said = open_statement(LossReport, loss(), HOST.public)
    blob = msgspec.msgpack.encode(said).replace(b"missing", b"bad\x1bluck"[:7])
    signed = len(blob).to_bytes(4, "big") + blob + HOST.sign(LossReport.purpose, blob)
    with pytest.raises(ProtocolViolation):
        open_statement(LossReport, signed, HOST.public)


@pytest.mark.parametrize(("head_hash", "number"), [(ZERO_HASH, 1), (b"h" * 32, 0)])
def test_head_is_named_by_its_own_hash_or_not_at_all(head_hash, number):
    standing = Standing(ID, b"t" * 32, head_hash, number)
    with pytest.raises(LocalError):
        ack(standing=standing)
    with pytest.raises(LocalError):
        sign_held(HOST, standing=standing, receipt=b"", nonce=bytes(16), time_ms=1)


def test_word_on_a_head_names_the_countersignature_shown_and_the_nonce():
    receipt = COURT.receipt()
    signed = sign_held(HOST, standing=COURT.standing(0), receipt=receipt, nonce=b"n" * 16, time_ms=1)
    said = open_bound(HeadHeld, signed, HOST.public, agreement=ID)
    assert (said.receipt, said.nonce, said.number) == (hash_signed(receipt), b"n" * 16, 0)
    none = sign_held(HOST, standing=COURT.standing(), receipt=b"", nonce=b"n" * 16, time_ms=1)
    assert open_bound(HeadHeld, none, HOST.public, agreement=ID).receipt == ZERO_HASH
    with pytest.raises(LocalError):
        sign_held(HOST, standing=COURT.standing(), receipt=b"", nonce=b"short", time_ms=1)


def test_hash_with_signatures_is_not_known_before_they_are_made():
    """Else an owner could name a countersignature before the host gave it, and prove an order that never was."""
    receipt = COURT.receipt()
    forged = sign_statement(open_statement(HeadReceipt, receipt, HOST.public), SigningKey.from_seed(b"x" * 32))
    assert statement_hash(forged) == statement_hash(receipt)
    assert hash_signed(forged) != hash_signed(receipt)


@pytest.mark.parametrize("vector", VECTORS["signed"])
def test_hash_with_signatures_is_that_of_the_vector(vector):
    assert hash_signed(bytes.fromhex(vector["signed"])).hex() == vector["hash"]
