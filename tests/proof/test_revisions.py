import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import PeerFault, ProtocolViolation, RefusedError
from backuppeer.limits import AGREEMENT_REVISIONS
from backuppeer.proof.revisions import SECOND_MS, Wish, asks_more, check_successor, end_ms, revise, wish_of
from backuppeer.proof.statements import ZERO_HASH, Agreement, sign_statement

OWNER, HOST = SigningKey.from_seed(b"o" * 32), SigningKey.from_seed(b"h" * 32)
FIRST = Agreement(
    agreement=b"a" * 16,
    revision=1,
    previous=ZERO_HASH,
    owner=OWNER.public,
    host=HOST.public,
    authority=b"A" * 32,
    repository=b"r" * 16,
    size_bytes=1000,
    start_ms=5000,
    term_s=100,
    lock_s=10,
    availability=0,
    notice_s=20,
)


def sign(terms):
    return sign_statement(terms, OWNER, HOST)


def after(terms, **changes):
    """What follows `terms`, changed in ways that `revise` would not change it."""
    return msgspec.structs.replace(revise(sign(terms), wish_of(terms)), **changes)


@given(st.lists(st.tuples(st.integers(1, 2**40), st.integers(1, 2**30), st.integers(10, 2**20)), max_size=6))
def test_any_chain_of_revisions_holds_as_long_as_the_lock_never_sinks(wishes):
    current = FIRST
    for size, term, lock in wishes:
        wish = Wish(size, term, max(lock, current.lock_s))
        signed = sign(current)
        found = revise(signed, wish)
        assert found == revise(signed, wish), "asked again it is the same, so its hash is"
        check_successor(signed, found)
        assert (wish_of(found), found.revision) == (wish, current.revision + 1)
        assert end_ms(found) == FIRST.start_ms + term * SECOND_MS
        current = found


@pytest.mark.parametrize(
    "changes",
    [
        {"agreement": b"b" * 16}, {"owner": HOST.public}, {"host": OWNER.public}, {"authority": b"B" * 32},
        {"repository": b"s" * 16}, {"start_ms": 5001}, {"previous": b"x" * 32}, {"revision": 3},
    ],
)  # fmt: skip
def test_another_chain_another_party_or_another_beginning_is_the_peers_fault(changes):
    with pytest.raises(ProtocolViolation):
        check_successor(sign(FIRST), after(FIRST, **changes))


@pytest.mark.parametrize("changes", [{"lock_s": 9}, {"notice_s": 19}])
def test_nobody_lowers_the_lock_or_the_notice_by_a_revision(changes):
    with pytest.raises(RefusedError):
        check_successor(sign(FIRST), after(FIRST, **changes))


def test_an_old_revision_is_refused_by_the_number_in_force_and_so_is_one_too_many():
    second = after(FIRST)
    with pytest.raises(RefusedError, match="revision 2"):
        check_successor(sign(second), second)
    last = msgspec.structs.replace(second, revision=AGREEMENT_REVISIONS)
    with pytest.raises(RefusedError, match="too often"):
        check_successor(sign(last), after(last))


@given(st.tuples(st.integers(-5, 5), st.integers(-5, 5), *[st.integers(0, 5)] * 3), st.booleans())
def test_a_person_is_asked_exactly_when_something_grows(more, has_ext):
    size, term, lock, availability, notice = more
    new = after(
        FIRST,
        size_bytes=1000 + size,
        term_s=100 + term,
        lock_s=10 + lock,
        availability=availability,
        notice_s=20 + notice,
        ext={"x": b"y"} if has_ext else {},
    )
    assert asks_more(FIRST, new) == (max(more) > 0 or has_ext)


@pytest.mark.parametrize("junk", [b"", b"\0" * 8, bytes(300)])
def test_bytes_that_are_no_agreement_are_nobodys_predecessor(junk):
    with pytest.raises(PeerFault):
        revise(junk, Wish(1, 1, 1))
