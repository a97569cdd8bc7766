"""What only the words' key may give up: bound to one agreement, one host, one moment, and what was shown then."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import AuthenticationFault, PeerFault, ProtocolViolation, RefusedError
from backuppeer.limits import WAIVER_WINDOW_S
from backuppeer.proof.revisions import asks_more, check_successor, revise, wish_of
from backuppeer.proof.statements import sign_statement, statement_hash
from backuppeer.proof.waivers import IN_REVISION, EndWaiver, LockWaiver, check_fresh, open_waiver
from proof.test_revisions import FIRST, HOST, OWNER, sign

AUTHORITY = SigningKey.from_seed(b"a" * 32)
TERMS = msgspec.structs.replace(FIRST, authority=AUTHORITY.public)
SIGNED = sign(TERMS)
NOW_MS = 1_795_000_000_000


def make(lock_s=5, *, signed=SIGNED, by=AUTHORITY, **changes):
    said = LockWaiver(
        agreement=TERMS.agreement,
        host=TERMS.host,
        terms=statement_hash(signed),
        time_ms=NOW_MS,
        lock_s=lock_s,
    )
    return sign_statement(msgspec.structs.replace(said, **changes), by)


def lower(waiver, lock_s=5, *, signed=SIGNED, terms=TERMS):
    return revise(signed, wish_of(terms)._replace(lock_s=lock_s), waiver)


def test_with_the_authoritys_word_the_next_revision_lowers_the_lock_and_asks_nothing_more_of_the_host():
    revision = lower(make())
    check_successor(SIGNED, revision)
    assert revision.lock_s == 5
    assert not asks_more(TERMS, revision)
    assert revision == lower(make()), "asked again it is the same, so its hash is"


def test_the_revision_after_it_needs_no_word_carries_none_and_asks_a_person_only_for_more():
    second = lower(make())
    signed = sign(second)
    third = revise(signed, wish_of(second)._replace(size_bytes=second.size_bytes - 1))
    check_successor(signed, third)
    assert (third.ext, third.lock_s) == ({}, 5)
    assert not asks_more(second, third)
    with pytest.raises(RefusedError):
        check_successor(signed, lower(b"", 4, signed=signed, terms=second))


@pytest.mark.parametrize("key", [OWNER, HOST])
def test_neither_the_owners_identity_nor_the_host_can_stand_in_for_the_words(key):
    with pytest.raises(AuthenticationFault):
        check_successor(SIGNED, lower(make(by=key)))


@pytest.mark.parametrize(
    "changes",
    [{"agreement": b"b" * 16}, {"host": OWNER.public}, {"terms": b"x" * 32}, {"lock_s": 4}, {"lock_s": 6}],
)
def test_a_word_about_something_else_lowers_nothing(changes):
    with pytest.raises((ProtocolViolation, RefusedError)):
        check_successor(SIGNED, lower(make(**changes)))


def test_a_word_for_one_revision_serves_for_no_later_one():
    second = lower(make())
    third = revise(sign(second), wish_of(second)._replace(lock_s=8))
    fourth = lower(make(), signed=sign(third), terms=third)
    with pytest.raises(RefusedError, match="changed since"):
        check_successor(sign(third), fourth)


def test_a_word_beside_what_lowers_nothing_is_a_fault_and_another_kind_of_word_is_none():
    with pytest.raises(ProtocolViolation):
        check_successor(SIGNED, lower(make(10), 10))
    said = EndWaiver(agreement=TERMS.agreement, host=TERMS.host, terms=statement_hash(SIGNED), time_ms=NOW_MS, notice=1)
    with pytest.raises(PeerFault):
        check_successor(SIGNED, lower(sign_statement(said, AUTHORITY)))


@given(st.binary(max_size=400))
def test_junk_in_its_place_is_the_peers_fault(junk):
    revision = msgspec.structs.replace(lower(b"", 5), ext={IN_REVISION: junk})
    with pytest.raises(PeerFault):
        check_successor(SIGNED, revision)


@given(at=st.integers(0, len(make()) * 8 - 1))
def test_no_flipped_bit_of_it_is_taken(at):
    changed = bytearray(make())
    changed[at // 8] ^= 1 << at % 8
    with pytest.raises((PeerFault, RefusedError)):
        check_successor(SIGNED, lower(bytes(changed)))


@pytest.mark.parametrize(("late_s", "is_told"), [(0, True), (WAIVER_WINDOW_S, True), (WAIVER_WINDOW_S + 1, False)])
def test_it_may_be_told_for_a_day_by_whichever_clock(late_s, is_told):
    waiver = open_waiver(LockWaiver, make(), SIGNED, TERMS)
    for now_ms in (NOW_MS + late_s * 1000, NOW_MS - late_s * 1000):
        if is_told:
            check_fresh(waiver, now_ms)
        else:
            with pytest.raises(RefusedError, match="more than a day"):
                check_fresh(waiver, now_ms)
    with pytest.raises(RefusedError, match="later word"):
        check_fresh(waiver, NOW_MS, after_ms=NOW_MS)
