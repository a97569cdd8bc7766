"""What proves misbehaviour, and everything that does not."""

from contextlib import suppress

import msgspec
import pytest
from court import DAY_MS, LIE, OTHER_PACK, PACK, STORED, Court, show
from hypothesis import given
from hypothesis import strategies as st
from parties import NOW_MS, TERM_S

from backuppeer.crypto.identity import Purpose, SigningKey
from backuppeer.errors import ProtocolViolation
from backuppeer.ids import AgreementId, RepositoryId, StoredId
from backuppeer.limits import LEAF_BYTES
from backuppeer.proof.audits import Sample, Shown
from backuppeer.proof.charges import Rebuttal, pack_charge, unpack_charge
from backuppeer.proof.custody import Standing
from backuppeer.proof.misbehaviour import Crime, judge
from backuppeer.proof.notices import sign_notice
from backuppeer.proof.removals import PackDelete, PackRevive, PackWithdraw
from backuppeer.proof.statements import sign_statement, statement_hash
from backuppeer.proof.waivers import EndWaiver

COURT = Court()
CHARGES = COURT.charges()
STRANGER = SigningKey.from_seed(b"s" * 32)
every_charge = pytest.mark.parametrize("crime", CHARGES)


def refuse(charge, reason: str, rebuttal: Rebuttal | None = None):
    verdict = judge(charge, rebuttal)
    assert not verdict.is_proven
    assert reason in verdict.reason
    return verdict


def change(crime: str, **fields: object):
    return msgspec.structs.replace(CHARGES[crime], **fields)


# --- what holds
@every_charge
def test_contradicting_words_of_the_host_prove_its_crime(crime):
    verdict = judge(CHARGES[crime])
    assert (verdict.is_proven, verdict.crime) == (True, Crime(crime))
    assert (verdict.host, verdict.owner) == (COURT.host.public, COURT.owner.public)
    assert verdict.stored == (STORED if crime in {"wrong-answer", "lost-pack"} else None)
    assert 0 < verdict.promised_ms < verdict.broken_ms
    assert judge(unpack_charge(pack_charge(CHARGES[crime]))) == verdict


def test_every_crime_has_a_charge():
    assert CHARGES.keys() == set(Crime)


@pytest.mark.parametrize(
    "lie",
    [
        LIE,
        show(data=PACK[:LEAF_BYTES]),
        show(data=b"short"),
        show(data=bytes(5 * LEAF_BYTES)),
        Shown(len(PACK) + 1, show().data, show().path),
        Shown(0, show().data, show().path),
        Shown(2**63 - 1, show().data, show().path),
        Shown(len(PACK), show().data, ()),
        Shown(len(PACK), show().data, show().path[::-1]),
        Shown(len(PACK), show().data, (b"\1" * 32, *show().path[1:])),
        Shown(len(PACK), show().data, (*show().path, b"\1" * 32)),
        Shown(len(PACK), b"", show().path),
    ],
)
def test_whatever_the_host_signs_that_is_not_the_range_asked_for_is_a_wrong_answer(lie):
    assert judge(COURT.wrong_answer(lie)).crime is Crime.WRONG_ANSWER


@pytest.mark.parametrize("number", [0, 1, 6])
def test_any_earlier_head_or_none_is_a_rollback(number):
    verdict = judge(COURT.older_head(held=COURT.held(number)))
    assert verdict.is_proven
    assert verdict.reason.endswith(f"later held head {number}" if number else "later held none")


def test_another_head_of_the_number_countersigned_is_a_rollback_too():
    other = COURT.head(7, mark=b"j")
    verdict = judge(COURT.older_head(held=COURT.held(7, head=other)))
    assert verdict.is_proven
    assert "another one of that number" in verdict.reason


def test_clocks_decide_nothing_about_the_order_of_heads():
    assert judge(COURT.older_head(held=COURT.held(time_ms=0))).is_proven


def test_statements_of_different_revisions_hold_when_all_are_shown():
    charge = COURT.lost_pack(ack=COURT.ack(revision=2), agreements=[COURT.agree(1), COURT.agree(2)])
    assert judge(charge).is_proven
    refuse(COURT.lost_pack(ack=COURT.ack(revision=2)), "a revision of the agreement that is not shown")


# --- the parties
@every_charge
def test_agreement_that_the_host_did_not_sign_accuses_nobody(crime):
    signed = COURT.agree()
    for forged in (
        signed[:-64],
        signed[:-64] + bytes(64),
        signed[:-128] + signed[-64:] + signed[-128:-64],
        b"x",
        b"\0" * 9,
    ):
        verdict = refuse(change(crime, agreements=[forged]), "the agreement proves nothing")
        assert (verdict.host, verdict.owner, verdict.crime) == (None, None, None)


@every_charge
@pytest.mark.parametrize(
    ("agreements", "reason"),
    [
        ([COURT.agree(2), COURT.agree(1)], "not in order"),
        ([COURT.agree(1), COURT.agree(1)], "not in order"),
        ([COURT.agree(1), COURT.agree(2, agreement=AgreementId(b"B" * 16))], "not of one agreement"),
        ([COURT.agree(1), COURT.agree(2, authority=b"z" * 32)], "not of one agreement"),
        ([COURT.agree(1), COURT.agree(2, repository=RepositoryId(b"z" * 16))], "not of one agreement"),
        ([COURT.agree(1), Court(owner=STRANGER).agree(2)], "may not change the parties"),
        ([COURT.agree(1), Court(host=STRANGER).agree(2)], "may not change the parties"),
    ],
)
def test_revisions_that_are_no_chain_accuse_nobody(crime, agreements, reason):
    assert refuse(change(crime, agreements=agreements), reason).host is None


def test_nobody_accuses_himself():
    alone = Court(owner=STRANGER, host=STRANGER)
    refuse(alone.lost_pack(), "owner and host are the same")


@every_charge
@pytest.mark.parametrize(
    "other", [Court(owner=STRANGER), Court(host=STRANGER), Court(agreement=AgreementId(b"B" * 16))]
)
def test_words_given_to_one_are_worth_nothing_under_the_agreement_of_another(crime, other):
    """Owner, host or id differ; each part of one case is shown in the other, alone and together."""
    foreign, names = other.charges()[crime], CHARGES[crime].__struct_fields__
    for name in names:
        # Countersignatures name the id of the agreement only: a host that forks does so to whoever has that id.
        is_fork_of_one_id = (crime, name) == ("two-heads", "agreements") and other.owner is STRANGER
        if getattr(foreign, name) != getattr(CHARGES[crime], name) and not is_fork_of_one_id:
            assert not judge(change(crime, **{name: getattr(foreign, name)})).is_proven, name
            assert not judge(msgspec.structs.replace(foreign, **{name: getattr(CHARGES[crime], name)})).is_proven, name


def test_an_id_used_again_with_another_owner_lends_no_words():
    """The second owner copies id, authority and repository, so that heads and countersignatures fit; terms don't."""
    thief = Court(owner=STRANGER)
    for crime in ("wrong-answer", "lost-pack", "older-head"):
        refuse(change(crime, agreements=[thief.agree()]), "")


# --- heads
@every_charge
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"head": b"x"}, "the head proves nothing"),
        ({"grant": b"x"}, "the head proves nothing"),
        ({"grant": Court(authority=STRANGER).grant()}, "the head proves nothing"),
        ({"head": Court(device=STRANGER).head()}, "not by the writer"),
        ({"grant": COURT.grant(2)}, "not by the writer"),
        ({"head": COURT.head(mark=b"z")}, "of another head"),
        ({"head": COURT.head(8)}, "of another head"),
        ({"receipt": COURT.receipt(number=8)}, "of another head"),
        ({"receipt": COURT.receipt(number=8, head_hash=statement_hash(COURT.head()))}, "of another head"),
        ({"receipt": COURT.receipt(agreement=AgreementId(b"B" * 16))}, "of another agreement"),
        ({"receipt": Court(host=STRANGER).receipt()}, "the countersignature proves nothing"),
        ({"receipt": COURT.held()}, "the countersignature proves nothing"),
    ],
)
def test_head_that_is_not_the_owners_or_was_not_countersigned_proves_nothing(crime, fields, reason):
    verdict = refuse(change(crime, **fields), reason)
    assert verdict.host == COURT.host.public  # named, since the agreement stands; accused of nothing
    assert verdict.crime is None


def test_head_of_another_repository_proves_nothing():
    other = Court(repository=RepositoryId(b"S" * 16))
    refuse(
        change("older-head", head=other.head(), grant=other.grant(), receipt=COURT.receipt(other.head())),
        "of another repository",
    )


# --- acknowledgements
@pytest.mark.parametrize("crime", ["wrong-answer", "lost-pack"])
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"ack": COURT.ack((OTHER_PACK,)), "acked": [OTHER_PACK]}, "does not name this pack"),
        ({"acked": [STORED]}, "other packs"),
        ({"acked": [STORED, STORED]}, "other packs"),
        ({"acked": [STORED, StoredId(b"q" * 32)]}, "other packs"),
        ({"ack": COURT.ack(number=7)}, "does not cover the pack"),
        ({"ack": COURT.ack(number=9)}, "does not cover the pack"),
        ({"ack": Court(host=STRANGER).ack()}, "a signature for store-ack does not hold"),
        ({"ack": COURT.loss((STORED, OTHER_PACK))}, "the acknowledgement proves nothing"),
    ],
)
def test_pack_that_was_not_acknowledged_before_the_head_proves_nothing(crime, fields, reason):
    refuse(change(crime, **fields), reason)


def test_acknowledgement_before_the_first_head_counts():
    assert judge(COURT.lost_pack(ack=COURT.ack(number=0))).is_proven


# --- answers
def test_right_answer_proves_nothing():
    refuse(COURT.wrong_answer(show()), "these are the bytes of the pack")


def test_right_bytes_of_another_number_of_leaves_prove_nothing():
    refuse(COURT.wrong_answer(show(2, 3)), "another number of leaves")


@pytest.mark.parametrize(
    "fields",
    [
        {"data": b"y" * LEAF_BYTES},
        {"data": bytes(show().data)},
        {"data": b"x" * (LEAF_BYTES - 1)},
        {"data": b"x" * (LEAF_BYTES + 1)},
        {"length": len(PACK) + 1},
        {"path": []},
        {"path": [b"z" * 32, *LIE.path[1:]]},
        {"path": list(LIE.path[1:])},
    ],
)
def test_owner_can_put_nothing_beside_what_the_host_signed(fields):
    """A wrong path beside right bytes, other bytes, another length: only what the host signed accuses it."""
    refuse(change("wrong-answer", **fields), "the host signed other bytes than these")
    true = COURT.wrong_answer(show())
    assert not judge(msgspec.structs.replace(true, **fields)).is_proven


def test_sample_that_was_not_answered_is_silence_and_proves_nothing():
    refuse(change("wrong-answer", sample=0), "did not answer this sample")
    refuse(change("wrong-answer", sample=29), "did not answer this sample")
    challenge = COURT.challenge()
    refuse(change("wrong-answer", answer=COURT.lie(challenge, None, None)), "did not answer this sample")


def test_answer_to_one_sample_is_not_that_to_another():
    challenge = COURT.challenge(Sample(STORED, 2, 1), Sample(STORED, 3, 1))
    both = {"challenge": challenge, "answer": COURT.lie(challenge, show(2), show(3))}
    right = COURT.wrong_answer(show(2), **both)
    refuse(msgspec.structs.replace(right, sample=1), "signed other bytes")
    refuse(msgspec.structs.replace(right, sample=0), "these are the bytes")


@pytest.mark.parametrize(
    ("sample", "standing", "by"),
    [
        (Sample(STORED, 3, 1), None, None),
        (Sample(StoredId(b"q" * 32), 2, 1), None, None),
        (None, COURT.standing(8), None),
        (None, COURT.standing(7, revision=2), None),
        (None, None, STRANGER),
    ],
    ids=["range", "pack", "head", "revision", "owner"],
)
def test_answer_holds_for_one_challenge_only(sample, standing, by):
    other = Court(owner=by) if by else COURT
    samples = [Sample(OTHER_PACK, 0, 1), sample] if sample else []
    asked = other.challenge(*samples, standing=standing)
    assert not judge(change("wrong-answer", challenge=asked)).is_proven
    # Even a host that signs for it, too, has not lied about a challenge of another head, revision or owner.
    lied = change("wrong-answer", challenge=asked, answer=COURT.lie(asked, None, LIE))
    if sample is None:
        refuse(lied, "the answer proves nothing")


def test_challenge_that_the_owner_did_not_sign_is_none():
    challenge = COURT.challenge()
    forged = challenge[:-64] + STRANGER.sign(Purpose.AUDIT_CHALLENGE, challenge[4:-64])
    refuse(change("wrong-answer", challenge=forged), "a signature for audit-challenge does not hold")


def test_answer_with_more_or_fewer_answers_than_samples_proves_nothing():
    challenge = COURT.challenge()
    for shown in ((LIE,), (None, LIE, None)):
        refuse(change("wrong-answer", answer=COURT.lie(challenge, *shown)), "answers to 2 samples")


# --- losses
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"report": COURT.loss((OTHER_PACK,)), "lost": [OTHER_PACK]}, "does not name this pack"),
        ({"lost": [OTHER_PACK]}, "other packs"),
        ({"report": COURT.loss(number=6)}, "came before head 7"),
        ({"report": COURT.loss(number=0)}, "came before head 7"),
        ({"report": Court(host=STRANGER).loss()}, "a signature for loss-report does not hold"),
        ({"report": COURT.ack((STORED,))}, "the loss report proves nothing"),
        ({"stored": StoredId(b"q" * 32)}, "does not name this pack"),
    ],
)
def test_loss_report_that_is_not_about_the_pack_and_the_head_proves_nothing(fields, reason):
    refuse(change("lost-pack", **fields), reason)


# --- heads held
@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (COURT.held(7), "no earlier head"),
        (COURT.held(8), "no earlier head"),
        (COURT.held(6, receipt=b""), "not given upon this countersignature"),
        (COURT.held(6, receipt=COURT.receipt(time_ms=NOW_MS + 8)), "not given upon this countersignature"),
        (COURT.held(6, receipt=COURT.receipt()[:-64] + bytes(64)), "not given upon this countersignature"),
        (Court(host=STRANGER).held(6, receipt=COURT.receipt()), "a signature for head-held does not hold"),
        (COURT.receipt(number=6), "malformed"),
    ],
)
def test_word_on_a_head_that_was_not_given_upon_the_countersignature_proves_nothing(held, reason):
    charge = change("older-head", held=held)
    if reason == "malformed":
        assert not judge(charge).is_proven
    else:
        refuse(charge, reason)


def test_two_countersignatures_of_one_head_or_of_two_numbers_are_no_fork():
    refuse(COURT.two_heads(other_head=COURT.head(), other_receipt=COURT.receipt(time_ms=NOW_MS)), "it is the same head")
    refuse(COURT.two_heads(other_head=COURT.head(8), other_receipt=COURT.receipt(number=8)), "it has number 8, not 7")


# --- rebuttals
@pytest.mark.parametrize("crime", ["wrong-answer", "lost-pack"])
@pytest.mark.parametrize("kind", [PackDelete, PackWithdraw])
@pytest.mark.parametrize("number", [5, 6, 7])
def test_request_of_the_owner_between_the_two_words_refutes_the_charge(crime, kind, number):
    removal = COURT.delete(number, (OTHER_PACK, STORED), kind)
    verdict = refuse(CHARGES[crime], "the owner asked for the pack to be removed", Rebuttal(removals=[removal]))
    assert (verdict.crime, verdict.ignored) == (Crime(crime), ())


@pytest.mark.parametrize("crime", ["wrong-answer", "lost-pack"])
@pytest.mark.parametrize(
    ("removal", "reason"),
    [
        (COURT.delete(4), "upon head 4"),
        (COURT.delete(9), "upon head 9"),
        (COURT.delete(6, (OTHER_PACK,)), "not about this pack"),
        (COURT.delete(6, by=STRANGER), "does not hold"),
        (COURT.delete(6, kind=PackRevive), "pack-revive"),
        (Court(agreement=AgreementId(b"B" * 16)).delete(6), "another agreement"),
        (msgspec.structs.replace(COURT.delete(6), packs=[OTHER_PACK]), "names others"),
        (msgspec.structs.replace(COURT.delete(6), signed=b"x"), "cut short"),
    ],
)
def test_other_requests_are_no_excuse_and_named_as_such(crime, removal, reason):
    verdict = judge(CHARGES[crime], Rebuttal(removals=[removal]))
    assert verdict.is_proven
    assert reason in verdict.ignored[0]


def test_pack_acknowledged_again_after_a_delete_was_kept_again():
    deleted = Rebuttal(removals=[COURT.delete(4)])
    refuse(COURT.lost_pack(ack=COURT.ack(number=3)), "upon head 4", deleted)
    assert judge(COURT.lost_pack(ack=COURT.ack(number=5)), deleted).is_proven


@pytest.mark.parametrize("crime", ["older-head", "two-heads"])
def test_deletes_excuse_nothing_about_heads(crime):
    assert judge(CHARGES[crime], Rebuttal(removals=[COURT.delete(n) for n in range(1, 9)])).is_proven


def test_what_a_host_lost_after_the_end_of_the_agreement_is_no_crime():
    last_ms = NOW_MS + 1000 * TERM_S
    assert judge(COURT.lost_pack(report=COURT.loss(time_ms=last_ms - 1))).is_proven
    refuse(COURT.lost_pack(report=COURT.loss(time_ms=last_ms)), "the agreement was over")
    assert judge(COURT.older_head(held=COURT.held(time_ms=last_ms - 1))).is_proven
    refuse(COURT.older_head(held=COURT.held(time_ms=last_ms)), "the agreement was over")


def test_revision_by_which_the_agreement_was_over_refutes_a_loss_but_no_lie():
    over = Rebuttal(agreements=[COURT.agree(2, term_s=9 * 86_400)])
    refuse(CHARGES["lost-pack"], "the agreement was over by then (revision 2)", over)
    assert judge(CHARGES["older-head"], over).is_proven  # it was given on the first day
    assert judge(CHARGES["wrong-answer"], over).is_proven
    assert judge(CHARGES["two-heads"], over).is_proven


@pytest.mark.parametrize(
    ("revision", "reason"),
    [
        (COURT.agree(1), "not later"),
        (COURT.agree(2), "was not over"),
        (Court(agreement=AgreementId(b"B" * 16)).agree(2, term_s=1), "another agreement"),
        (COURT.agree(2, term_s=1)[:-64], "signatures"),
        (b"x", "cut short"),
    ],
)
def test_other_revisions_are_no_excuse(revision, reason):
    verdict = judge(CHARGES["lost-pack"], Rebuttal(agreements=[revision]))
    assert verdict.is_proven
    assert reason in verdict.ignored[0]


def test_one_good_excuse_among_bad_ones_is_enough():
    mixed = Rebuttal(removals=[COURT.delete(9), COURT.delete(6)], agreements=[b"x"])
    verdict = refuse(CHARGES["lost-pack"], "upon head 6", mixed)
    assert len(verdict.ignored) == 2


# --- nothing else
@every_charge
@given(data=st.data())
def test_no_file_with_a_changed_byte_proves_anything(crime, data):
    """Each byte is signed, hashed, or decides which of these is looked at."""
    file = bytearray(pack_charge(CHARGES[crime]))
    at = data.draw(st.integers(0, len(file) - 1))
    file[at] ^= data.draw(st.integers(1, 255))
    try:
        charge = unpack_charge(file)
    except ProtocolViolation:
        return
    assert not judge(charge).is_proven


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.long)])
@every_charge
def test_each_byte_of_a_file_decides(crime, step):
    file = bytearray(pack_charge(CHARGES[crime]))
    for at in range(0, len(file), step):
        file[at] ^= 1 << at % 8
        with suppress(ProtocolViolation):
            assert not judge(unpack_charge(file)).is_proven, at
        file[at] ^= 1 << at % 8
    assert judge(unpack_charge(file)).is_proven


@every_charge
@given(data=st.data())
def test_no_part_can_be_exchanged_for_that_of_another_charge(crime, data):
    other = CHARGES[data.draw(st.sampled_from([*CHARGES]))]
    signed = [n for n in CHARGES[crime].__struct_fields__ if isinstance(getattr(CHARGES[crime], n), bytes)]
    name = data.draw(st.sampled_from(signed))
    given_name = data.draw(
        st.sampled_from([n for n in other.__struct_fields__ if isinstance(getattr(other, n), bytes)])
    )
    if getattr(other, given_name) == getattr(CHARGES[crime], name):
        return
    assert not judge(change(crime, **{name: getattr(other, given_name)})).is_proven


@given(
    acked=st.integers(0, 9),
    covered=st.integers(1, 9),
    lost=st.integers(0, 9),
    removed=st.integers(1, 9),
)
def test_loss_is_proven_exactly_when_the_head_lies_between_and_no_delete_does(acked, covered, lost, removed):
    charge = COURT.lost_pack(
        ack=COURT.ack(number=acked),
        head=COURT.head(covered),
        receipt=COURT.receipt(number=covered),
        report=COURT.loss(number=lost),
    )
    verdict = judge(charge, Rebuttal(removals=[COURT.delete(removed)]))
    assert verdict.is_proven == (acked < covered <= lost and not acked <= removed <= lost)


def test_standing_of_a_challenge_is_that_of_the_moment():
    later = Standing(COURT.agreement, statement_hash(COURT.agree()), statement_hash(COURT.head(8)), 8)
    asked = COURT.challenge(standing=later)
    head8 = {"head": COURT.head(8), "receipt": COURT.receipt(number=8)}
    assert judge(change("wrong-answer", challenge=asked, answer=COURT.lie(asked, None, LIE), **head8)).is_proven


# --- endings
KEPT_MS = 60 * DAY_MS
"""Two locks: so long all is kept after an owner's notice."""


def notice(time_ms, by=None, last=0):
    return sign_notice(COURT.agreement, by or COURT.owner, last=last, time_ms=time_ms)


def end_waiver(time_ms, by=None, **changes):
    said = EndWaiver(
        agreement=COURT.agreement,
        host=COURT.host.public,
        terms=statement_hash(COURT.agree()),
        time_ms=time_ms,
        notice=1,
    )
    return sign_statement(msgspec.structs.replace(said, **changes), by or COURT.authority)


def lost_at(time_ms, receipt_ms=NOW_MS + 7):
    return COURT.lost_pack(report=COURT.loss(time_ms=time_ms), receipt=COURT.receipt(time_ms=receipt_ms))


def test_what_goes_when_an_owners_notice_is_over_is_no_crime_and_a_moment_before_it_is_one():
    answer = Rebuttal(endings=[notice(NOW_MS + DAY_MS)])
    over_ms = NOW_MS + DAY_MS + KEPT_MS
    refuse(lost_at(over_ms), "the owner gave notice, and its time was over", answer)
    verdict = judge(lost_at(over_ms - 1), answer)
    assert verdict.is_proven
    assert verdict.ignored == ("ending 1 is no excuse: it was not over by then",)
    refuse(COURT.older_head(held=COURT.held(time_ms=over_ms), receipt=COURT.receipt()), "the owner gave notice", answer)


def test_an_end_that_was_taken_back_excuses_nothing_once_the_host_countersigned_after_it():
    over_ms = NOW_MS + DAY_MS + KEPT_MS
    verdict = judge(lost_at(over_ms + 9, receipt_ms=over_ms), Rebuttal(endings=[notice(NOW_MS + DAY_MS)]))
    assert verdict.is_proven
    assert "the agreement went on" in verdict.ignored[0]


def test_the_words_that_let_it_end_at_once_excuse_what_goes_from_then_on():
    at_ms = NOW_MS + 3 * DAY_MS
    refuse(lost_at(at_ms), "with its 24 words", Rebuttal(endings=[end_waiver(at_ms)]))
    assert judge(lost_at(at_ms - 1), Rebuttal(endings=[end_waiver(at_ms)])).is_proven
    assert judge(lost_at(at_ms + 9, receipt_ms=at_ms), Rebuttal(endings=[end_waiver(at_ms)])).is_proven


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        (notice(NOW_MS, by=COURT.host), "the host's own"),
        (notice(NOW_MS, last=1), "it takes an end back"),
        (notice(NOW_MS, by=COURT.device), "somebody who is no party"),
        (end_waiver(NOW_MS + 8, by=COURT.owner), "does not hold"),
        (end_waiver(NOW_MS + 8, host=COURT.owner.public), "of another agreement"),
        (end_waiver(NOW_MS + 8, agreement=b"B" * 16), "of another agreement"),
        (b"junk", "no excuse"),
    ],
)
def test_other_endings_are_no_excuse_and_named_as_such(ending, reason):
    verdict = judge(lost_at(NOW_MS + KEPT_MS + DAY_MS), Rebuttal(endings=[ending]))
    assert verdict.is_proven
    assert reason in verdict.ignored[0]


def test_no_end_excuses_a_lie():
    verdict = judge(COURT.wrong_answer(), Rebuttal(endings=[end_waiver(NOW_MS + 8)]))
    assert verdict.is_proven
    assert "no end of an agreement excuses this" in verdict.ignored[0]
