"""An identity goes on as another: who signs that, who believes it, and what the next revision may change."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import AuthenticationFault, LocalError, PeerFault, ProtocolViolation, RefusedError
from backuppeer.limits import AGREEMENT_REVISIONS, SUCCESSION_STEPS
from backuppeer.proof.revisions import asks_more, check_successor, revise, succeed, wish_of
from backuppeer.proof.statements import sign_statement
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
