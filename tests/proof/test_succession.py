"""An identity goes on as another: who signs that, who believes it, and what the next revision may change."""

import msgspec
import pytest
from court import DAY_MS, OTHER_PACK, STORED, Court
from hypothesis import given
from hypothesis import strategies as st
from parties import NOW_MS

from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import AuthenticationFault, LocalError, PeerFault, ProtocolViolation, RefusedError
from backuppeer.limits import AGREEMENT_REVISIONS, PROOF_REVISIONS, SUCCESSION_STEPS
from backuppeer.proof.charges import Rebuttal, pack_charge, unpack_charge
from backuppeer.proof.custody import LossCause, Standing, sign_ack, sign_loss
from backuppeer.proof.misbehaviour import judge
from backuppeer.proof.notices import sign_notice
from backuppeer.proof.revisions import (
    add_steps,
    asks_more,
    check_named,
    check_successor,
    name_authority,
    revise,
    succeed,
    wish_of,
)
from backuppeer.proof.statements import Agreement, peek_statement, sign_statement, statement_hash
from backuppeer.proof.succession import HOST_AUTHORITY, IN_REVISION, Succession, check_heir, open_succession
from proof.test_revisions import FIRST, HOST, OWNER

AUTHORITY, HOSTS_AUTHORITY, HEIR, STRANGER = (SigningKey.from_seed(seed * 32) for seed in (b"a", b"b", b"n", b"s"))
TERMS = msgspec.structs.replace(FIRST, authority=AUTHORITY.public)
KNOWN = msgspec.structs.replace(TERMS, ext={HOST_AUTHORITY: HOSTS_AUTHORITY.public, "other": b"x"})


def say(old=OWNER, new=HEIR, by=AUTHORITY, *, generation=2, time_ms=9):
    """Return a signed succession."""
    said = Succession(authority=by.public, old=old.public, new=new.public, generation=generation, time_ms=time_ms)
    return sign_statement(said, by, new)


def sign(terms, owner=OWNER, host=HOST):
    return sign_statement(terms, owner, host)


SIGNED = sign(TERMS)


def test_the_authority_and_the_heir_sign_and_nobody_can_be_made_an_heir_against_its_will():
    said = check_heir(say(), AUTHORITY.public, OWNER.public, HEIR.public)
    assert (said.old, said.new, said.generation) == (OWNER.public, HEIR.public, 2)
    with pytest.raises(LocalError):
        sign_statement(said, AUTHORITY, OWNER)
    with pytest.raises(AuthenticationFault):
        open_succession(sign_statement(said, AUTHORITY), AUTHORITY.public)


def test_a_foreign_authority_is_not_believed():
    with pytest.raises(AuthenticationFault):
        open_succession(say(by=STRANGER), AUTHORITY.public)


def test_nobody_succeeds_itself():
    with pytest.raises(LocalError, match="itself"):
        say(OWNER, OWNER)


@pytest.mark.parametrize(("old", "new"), [(OWNER, STRANGER), (STRANGER, HEIR), (HEIR, OWNER)])
def test_a_succession_is_of_those_two_whom_it_names(old, new):
    with pytest.raises(ProtocolViolation, match="others"):
        check_heir(say(), AUTHORITY.public, old.public, new.public)


def test_with_the_authoritys_word_the_next_revision_changes_the_owner_and_asks_nobody():
    revision = succeed(SIGNED, say())
    check_successor(SIGNED, revision)
    assert revision == msgspec.structs.replace(
        TERMS, revision=2, previous=revision.previous, owner=HEIR.public, ext={IN_REVISION: say()}
    )
    assert revision == succeed(SIGNED, say()), "asked again it is the same, so its hash is"
    assert not asks_more(TERMS, revision)


def test_the_revision_after_it_has_no_word_any_more_and_asks_nobody_either():
    second = succeed(SIGNED, say())
    signed = sign(second, HEIR)
    third = revise(signed, wish_of(second))
    check_successor(signed, third)
    assert third.ext == {}
    assert not asks_more(second, third)
    with pytest.raises(ProtocolViolation, match="parties are those of before"):
        check_successor(signed, msgspec.structs.replace(third, ext={IN_REVISION: say()}))


def test_the_host_changes_by_its_own_authority_which_it_named_before_and_by_no_other():
    signed = sign(KNOWN)
    revision = succeed(signed, say(HOST, by=HOSTS_AUTHORITY))
    check_successor(signed, revision)
    assert (revision.owner, revision.host) == (OWNER.public, HEIR.public)
    with pytest.raises(AuthenticationFault):
        check_successor(signed, succeed(signed, say(HOST)))
    with pytest.raises(ProtocolViolation, match="named no authority"):
        check_successor(SIGNED, succeed(SIGNED, say(HOST, by=HOSTS_AUTHORITY)))


def test_the_hosts_authority_has_no_word_on_the_owner():
    signed = sign(KNOWN)
    with pytest.raises(AuthenticationFault):
        check_successor(signed, succeed(signed, say(by=HOSTS_AUTHORITY)))


def test_a_host_names_its_authority_later_and_then_for_good():
    named = msgspec.structs.replace(revise(SIGNED, wish_of(TERMS)), ext={HOST_AUTHORITY: HOSTS_AUTHORITY.public})
    check_successor(SIGNED, named)
    signed = sign(named)
    check_successor(signed, revise(signed, wish_of(named)))
    for ext in ({}, {HOST_AUTHORITY: STRANGER.public}):
        with pytest.raises(ProtocolViolation, match="authority"):
            check_successor(signed, msgspec.structs.replace(revise(signed, wish_of(named)), ext=ext))


def test_a_hosts_authority_is_named_once_costs_nobody_a_question_and_stays_in_all_that_follows():
    named = name_authority(revise(SIGNED, wish_of(TERMS)), HOSTS_AUTHORITY.public)
    assert named.ext == {HOST_AUTHORITY: HOSTS_AUTHORITY.public}
    check_successor(SIGNED, named)
    assert not asks_more(TERMS, named)
    assert revise(sign(named), wish_of(named)).ext == named.ext
    assert name_authority(named, STRANGER.public) == named, "the first one stays"
    for told in (b"", b"x" * 31):
        assert name_authority(TERMS, told) == TERMS
    check_named(named, HOSTS_AUTHORITY.public)
    check_named(TERMS, HOSTS_AUTHORITY.public)
    for other in (STRANGER.public, b""):
        with pytest.raises(RefusedError, match="another authority"):
            check_named(named, other)


CHANGES = {
    "size": {"size_bytes": 2000},
    "term": {"term_s": 101},
    "lock": {"lock_s": 11},
    "notice": {"notice_s": 21},
    "availability": {"availability": 5},
    "both parties": {"host": STRANGER.public},
    "another heir": {"owner": STRANGER.public},
    "nobody": {"owner": OWNER.public},
    "no word": {"ext": {}},
    "more": {"ext": {IN_REVISION: say(), "other": b"x"}},
    "its own host": {"owner": HOST.public},
    "beginning": {"start_ms": 1},
    "repository": {"repository": b"s" * 16},
    "authority": {"authority": STRANGER.public},
}


@pytest.mark.parametrize("what", CHANGES)
def test_nothing_but_the_one_party_changes_with_it(what):
    with pytest.raises((ProtocolViolation, RefusedError)):
        check_successor(SIGNED, msgspec.structs.replace(succeed(SIGNED, say()), **CHANGES[what]))


def test_an_owner_does_not_become_its_own_host():
    with pytest.raises(ProtocolViolation, match="parties"):
        check_successor(SIGNED, succeed(SIGNED, say(new=HOST)))


def test_who_is_no_party_is_succeeded_in_no_agreement():
    with pytest.raises(ProtocolViolation, match="no party"):
        succeed(SIGNED, say(STRANGER))


@pytest.mark.parametrize("beyond", range(SUCCESSION_STEPS + 2))
def test_a_thief_who_used_up_all_revisions_does_not_keep_the_owner_from_going_on(beyond):
    last = msgspec.structs.replace(TERMS, revision=AGREEMENT_REVISIONS + beyond, previous=b"p" * 32)
    signed = sign(last)
    if beyond < SUCCESSION_STEPS:
        check_successor(signed, succeed(signed, say()))
    else:
        with pytest.raises(RefusedError, match="too often"):
            check_successor(signed, succeed(signed, say()))
    with pytest.raises(RefusedError, match="too often"):
        check_successor(signed, revise(signed, wish_of(last)))


@given(st.integers(0, 8 * (len(say()) - 132) - 1))
def test_a_flipped_bit_anywhere_in_the_word_is_refused(bit):
    said = bytearray(say())
    said[4 + bit // 8] ^= 1 << bit % 8
    with pytest.raises(PeerFault):
        check_heir(bytes(said), AUTHORITY.public, OWNER.public, HEIR.public)


# --- a case whose parties went on as others: the judge follows the authority's word, and nobody else's
OLD, NEW = Court(), Court(owner=HEIR)
CHARGES = OLD.charges()
WORD = say(OLD.owner, HEIR, OLD.authority, time_ms=NOW_MS + 3 * DAY_MS)
PASSED_ON = sign(succeed(OLD.agree(), WORD), HEIR, OLD.host)
STANDING = Standing(OLD.agreement, statement_hash(PASSED_ON), statement_hash(OLD.head(8)), 8)
LATE_LOSS = sign_loss((STORED,), OLD.host, standing=STANDING, cause=LossCause.DAMAGED, time_ms=NOW_MS + 9 * DAY_MS)
LATE = msgspec.structs.replace(CHARGES["lost-pack"], agreements=[OLD.agree(), PASSED_ON], report=LATE_LOSS)


def reack(charge=LATE):
    """The charge, in which the host acknowledged the pack to the heir."""
    standing = Standing(OLD.agreement, statement_hash(PASSED_ON), statement_hash(OLD.head(5)), 5)
    ack = sign_ack((STORED, OTHER_PACK), OLD.host, standing=standing, time_ms=NOW_MS + 4 * DAY_MS)
    return msgspec.structs.replace(charge, ack=ack)


def test_a_promise_to_the_old_identity_that_is_broken_to_the_heir_is_proven():
    verdict = judge(LATE)
    assert (verdict.is_proven, verdict.owner, verdict.host) == (True, HEIR.public, OLD.host.public)
    assert judge(unpack_charge(pack_charge(LATE))) == verdict


@pytest.mark.parametrize("crime", CHARGES)
def test_what_was_proven_before_is_proven_with_the_succession_shown_too(crime):
    assert judge(msgspec.structs.replace(CHARGES[crime], agreements=[OLD.agree(), PASSED_ON])).is_proven


def test_without_the_revision_by_which_the_owner_changed_nothing_is_proven():
    later = sign(revise(PASSED_ON, wish_of(succeed(OLD.agree(), WORD))), HEIR, OLD.host)
    for agreements in ([OLD.agree(), later], [OLD.agree()]):
        verdict = judge(msgspec.structs.replace(LATE, agreements=agreements))
        assert not verdict.is_proven
    assert judge(msgspec.structs.replace(LATE, agreements=[OLD.agree(), PASSED_ON, later])).is_proven


def test_an_accuser_adds_the_revision_that_a_judge_needs_and_no_more_than_fit():
    later = sign(revise(PASSED_ON, wish_of(succeed(OLD.agree(), WORD))), HEIR, OLD.host)
    history = [OLD.agree(), PASSED_ON, later]
    assert add_steps([later, OLD.agree()], history, after=1) == history
    assert add_steps([later], history, after=3) == [later]
    assert add_steps([], []) == []
    standing = Standing(OLD.agreement, statement_hash(later), statement_hash(OLD.head(8)), 8)
    loss = sign_loss((STORED,), OLD.host, standing=standing, cause=LossCause.DAMAGED, time_ms=NOW_MS + 9 * DAY_MS)
    charge = msgspec.structs.replace(LATE, agreements=add_steps([OLD.agree(), later], history), report=loss)
    assert judge(charge).is_proven
    assert not judge(msgspec.structs.replace(charge, agreements=[OLD.agree(), later])).is_proven
    many, signed = [OLD.agree()], OLD.agree()
    for number in range(PROOF_REVISIONS):
        old, new = (OLD.owner, HEIR) if number % 2 == 0 else (HEIR, OLD.owner)
        signed = sign(succeed(signed, say(old, new, OLD.authority)), new, OLD.host)
        many.append(signed)
    assert len(add_steps([many[0], *many[-3:]], many)) <= PROOF_REVISIONS


def test_a_succession_by_a_foreign_authority_proves_nothing_against_anybody():
    foreign = sign(succeed(OLD.agree(), say(OLD.owner, HEIR, STRANGER)), HEIR, OLD.host)
    standing = Standing(OLD.agreement, statement_hash(foreign), statement_hash(OLD.head(8)), 8)
    loss = sign_loss((STORED,), OLD.host, standing=standing, cause=LossCause.DAMAGED, time_ms=NOW_MS + 9 * DAY_MS)
    verdict = judge(msgspec.structs.replace(LATE, agreements=[OLD.agree(), foreign], report=loss))
    assert (verdict.is_proven, verdict.host) == (False, None)


def test_a_host_that_went_on_as_another_answers_for_what_it_promised_before():
    known = sign(
        msgspec.structs.replace(peek_statement(Agreement, OLD.agree()), ext={HOST_AUTHORITY: HOSTS_AUTHORITY.public}),
        OLD.owner,
        OLD.host,
    )
    moved = sign(succeed(known, say(OLD.host, HEIR, HOSTS_AUTHORITY)), OLD.owner, HEIR)
    before = Standing(OLD.agreement, statement_hash(known), statement_hash(OLD.head(5)), 5)
    after = Standing(OLD.agreement, statement_hash(moved), statement_hash(OLD.head(8)), 8)
    charge = msgspec.structs.replace(
        CHARGES["lost-pack"],
        agreements=[known, moved],
        ack=sign_ack((STORED, OTHER_PACK), OLD.host, standing=before, time_ms=NOW_MS),
        report=sign_loss((STORED,), HEIR, standing=after, cause=LossCause.STORE, time_ms=NOW_MS + 9 * DAY_MS),
    )
    verdict = judge(charge)
    assert (verdict.is_proven, verdict.host) == (True, HEIR.public)
    by_the_old = sign_loss((STORED,), OLD.host, standing=after, cause=LossCause.STORE, time_ms=NOW_MS + 9 * DAY_MS)
    assert not judge(msgspec.structs.replace(charge, report=by_the_old)).is_proven, "it has no word any more"


def test_a_request_of_either_identity_excuses_a_promise_made_to_the_old_one():
    for by in (OLD.owner, HEIR):
        verdict = judge(LATE, Rebuttal(removals=[OLD.delete(6, by=by)]))
        assert not verdict.is_proven
        assert "the owner asked" in verdict.reason


def test_a_thief_of_the_old_identity_excuses_no_promise_made_to_the_heir():
    assert judge(reack(), Rebuttal(removals=[OLD.delete(6, by=OLD.owner)])).is_proven
    assert not judge(reack(), Rebuttal(removals=[OLD.delete(6, by=HEIR)])).is_proven


def test_a_notice_counts_only_of_who_was_the_owner_when_it_was_given():
    def notice(by, time_ms):
        return Rebuttal(endings=[sign_notice(OLD.agreement, by, last=0, time_ms=time_ms)])

    long_after = NOW_MS + 300 * DAY_MS
    loss = sign_loss((STORED,), OLD.host, standing=STANDING, cause=LossCause.STORE, time_ms=long_after)
    late = msgspec.structs.replace(LATE, report=loss)
    assert not judge(late, notice(OLD.owner, NOW_MS + 2 * DAY_MS)).is_proven
    assert not judge(late, notice(HEIR, NOW_MS + 4 * DAY_MS)).is_proven
    verdict = judge(late, notice(OLD.owner, NOW_MS + 4 * DAY_MS))
    assert verdict.is_proven
    assert "no owner any more" in verdict.ignored[0]


def test_a_later_revision_of_the_heir_is_an_excuse_if_the_host_shows_how_the_owner_changed():
    over = sign(revise(PASSED_ON, wish_of(succeed(OLD.agree(), WORD))._replace(term_s=86_400)), HEIR, OLD.host)
    assert not judge(CHARGES["lost-pack"], Rebuttal(agreements=[PASSED_ON, over])).is_proven
    assert judge(CHARGES["lost-pack"], Rebuttal(agreements=[over])).is_proven
