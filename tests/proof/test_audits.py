"""Challenge and answer."""

import json
from pathlib import Path

import msgspec
import pytest
from blake3 import blake3
from court import LIE, OTHER_PACK, STORED, Court, show
from hypothesis import given
from hypothesis import strategies as st
from parties import ID

from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import AuthenticationFault, IntegrityFault, LocalError, PeerFault, ProtocolViolation
from backuppeer.ids import AgreementId, StoredId
from backuppeer.limits import AUDIT_SAMPLE_BYTES, AUDIT_SAMPLE_LEAVES, AUDIT_SAMPLES, LEAF_BYTES, PACK_TARGET_BYTES
from backuppeer.proof.audits import (
    UNANSWERED,
    AuditChallenge,
    Sample,
    Shown,
    check_shown,
    hash_shown,
    open_answer,
    open_challenge,
    sign_challenge,
)
from backuppeer.proof.custody import Standing
from backuppeer.proof.merkle import find_path, hash_leaves, stored_id_of_leaves
from backuppeer.proof.statements import ZERO_HASH, open_statement

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "audits.json").read_text())
COURT = Court()
OWNER, HOST = COURT.owner.public, COURT.host.public
STRANGER = SigningKey.from_seed(b"s" * 32)
MOST = [Sample(StoredId(bytes([n]) * 32), 2**63 - 1, AUDIT_SAMPLE_LEAVES) for n in range(AUDIT_SAMPLES)]


@pytest.mark.parametrize("vector", VECTORS["shown"], ids=lambda v: str(v["length"]))
def test_hash_of_what_is_shown_follows_from_the_specification_alone(vector):
    data, path = bytes.fromhex(vector["data"]) * vector["times"], [bytes.fromhex(node) for node in vector["path"]]
    key, leaf = (f"backuppeer v1 {name}".encode().ljust(32, b"\0") for name in ("shown", "merkle leaf"))
    leaves = [blake3(data[at : at + 16384], key=leaf).digest() for at in range(0, len(data), 16384)]
    counts = vector["length"].to_bytes(8, "big") + (32 * len(path)).to_bytes(8, "big")
    expected = blake3(counts + b"".join(path) + b"".join(leaves), key=key).hexdigest()
    assert expected == vector["hash"] == hash_shown(Shown(vector["length"], data, tuple(path))).hex()


def test_challenge_opens_for_the_owner_upon_the_head_of_the_moment():
    signed = COURT.challenge()
    said = open_challenge(signed, owner=OWNER, standing=COURT.standing())
    assert said.samples == [Sample(OTHER_PACK, 0, 1), Sample(STORED, 2, 1)]
    with pytest.raises(AuthenticationFault):
        open_challenge(signed, owner=HOST, standing=COURT.standing())


@pytest.mark.parametrize(
    "changes", [{"number": 8}, {"head_hash": b"x" * 32}, {"terms": b"x" * 32}, {"agreement": AgreementId(b"B" * 16)}]
)
def test_challenge_of_another_moment_is_refused(changes):
    true = {name: getattr(COURT.standing(), name) for name in ("agreement", "terms", "head_hash", "number")}
    with pytest.raises(ProtocolViolation):
        open_challenge(COURT.challenge(), owner=OWNER, standing=Standing(**{**true, **changes}))


def test_largest_challenge_is_signed_and_a_larger_one_is_not():
    signed = COURT.challenge(*MOST)
    assert open_challenge(signed, owner=OWNER, standing=COURT.standing()).samples == MOST
    for samples in ([*MOST, MOST[0]], [Sample(STORED, 0, 0)], [Sample(STORED, 0, 65)], [Sample(STORED, -1, 1)]):
        with pytest.raises(LocalError):
            COURT.challenge(*samples)


def test_challenge_without_samples_or_head_or_with_a_short_nonce_is_not_signed():
    said = {"standing": COURT.standing(), "nonce": bytes(16), "time_ms": 1}
    headless = Standing(ID, b"t" * 32, ZERO_HASH, 0)
    for samples, changes in (([], {}), ([MOST[0]], {"standing": headless}), ([MOST[0]], {"nonce": bytes(15)})):
        with pytest.raises(LocalError):
            sign_challenge(samples, COURT.owner, **{**said, **changes})


def test_honest_answer_opens_beside_its_challenge():
    challenge = COURT.challenge()
    answer, asked = open_answer(COURT.answer(challenge, None, show()), challenge, host=HOST, owner=OWNER)
    assert answer.answers == [UNANSWERED, hash_shown(show())]
    assert asked == open_statement(AuditChallenge, challenge, OWNER)


def test_what_is_not_true_is_never_signed():
    challenge = COURT.challenge()
    with pytest.raises(IntegrityFault):
        COURT.answer(challenge, None, LIE)
    with pytest.raises(IntegrityFault):
        COURT.answer(challenge, show(), show())
    with pytest.raises(ProtocolViolation):
        COURT.answer(challenge, None, show(2, 2))
    for shown in ((), (show(),), (None, show(), None)):
        with pytest.raises(LocalError):
            COURT.answer(challenge, *shown)


def test_host_signs_nothing_for_a_challenge_that_its_owner_did_not_make_for_this_moment():
    for challenge in (Court(owner=STRANGER).challenge(), COURT.challenge(standing=COURT.standing(6))):
        with pytest.raises(PeerFault):
            COURT.answer(challenge, None, show())


def test_answer_to_another_challenge_is_refused():
    challenge = COURT.challenge()
    answer = COURT.answer(challenge, None, show())
    again = sign_challenge(
        [Sample(OTHER_PACK, 0, 1), Sample(STORED, 2, 1)],
        COURT.owner,
        standing=COURT.standing(),
        nonce=b"m" * 16,
        time_ms=open_statement(AuditChallenge, challenge, OWNER).time_ms,
    )
    with pytest.raises(ProtocolViolation, match="another challenge"):
        open_answer(answer, again, host=HOST, owner=OWNER)
    with pytest.raises(AuthenticationFault):
        open_answer(answer, challenge, host=OWNER, owner=OWNER)
    for changes in ({"terms": b"x" * 32}, {"agreement": AgreementId(b"B" * 16)}, {"answers": [b"a" * 32]}):
        with pytest.raises(ProtocolViolation):
            open_answer(COURT.lie(challenge, None, LIE, **changes), challenge, host=HOST, owner=OWNER)


@given(first=st.integers(0, 9), count=st.integers(1, 10))
def test_any_range_of_a_pack_is_shown_as_it_is_asked_for(first, count):
    count = min(count, 10 - first)
    check_shown(Sample(STORED, first, count), show(first, count))
    for wrong in (Sample(STORED, first + 1, count), Sample(OTHER_PACK, first, count), Sample(STORED, first, count + 1)):
        with pytest.raises(PeerFault):
            check_shown(wrong, show(first, count))


@given(
    length=st.integers(0, 2**63 - 1),
    path=st.lists(st.binary(min_size=32, max_size=32), max_size=3),
    data=st.binary(max_size=100),
    change=st.integers(0, 2),
)
def test_hash_of_what_is_shown_changes_with_length_path_and_bytes(length, path, data, change):
    other = [
        Shown(length ^ 1, data, tuple(path)),
        Shown(length, data, (*path, bytes(32))),
        Shown(length, data + b"\0", tuple(path)),
    ][change]
    assert hash_shown(other) != hash_shown(Shown(length, data, tuple(path)))


def test_sample_of_a_full_pack_costs_no_more_than_counted():
    """Issue, "Measures": at most 17 KiB on the wire for each sample, its part of challenge and answer included."""
    leaves = hash_leaves(bytes(PACK_TARGET_BYTES))
    stored = stored_id_of_leaves(leaves, PACK_TARGET_BYTES)
    samples = [Sample(stored, 1000 + n % 24, 1) for n in range(AUDIT_SAMPLES)]
    challenge = COURT.challenge(*samples)
    shown = [Shown(PACK_TARGET_BYTES, bytes(LEAF_BYTES), tuple(find_path(leaves, s.first_leaf, 1))) for s in samples]
    answer = COURT.answer(challenge, *shown)
    sent = len(challenge) + len(answer) + sum(len(one.data) + 32 * len(one.path) + 16 for one in shown)
    assert sent <= AUDIT_SAMPLES * AUDIT_SAMPLE_BYTES == AUDIT_SAMPLES * 17 * 1024
    alone = len(COURT.challenge(samples[0])) + len(COURT.answer(COURT.challenge(samples[0]), shown[0]))
    assert alone + len(shown[0].data) + 32 * len(shown[0].path) <= AUDIT_SAMPLE_BYTES


def test_challenge_is_strict_within_its_samples():
    said = open_statement(AuditChallenge, COURT.challenge(), OWNER)
    fields = {"kind": "audit-challenge", **msgspec.to_builtins(said, builtin_types=(bytes,))}
    for sample in ([STORED, 2], [STORED, 2, 1, 0], [STORED[:31], 2, 1], {"stored": STORED}):
        blob = msgspec.msgpack.encode({**fields, "samples": [sample]})
        signed = len(blob).to_bytes(4, "big") + blob + COURT.owner.sign(AuditChallenge.purpose, blob)
        with pytest.raises(ProtocolViolation):
            open_statement(AuditChallenge, signed, OWNER)
