"""What agreements promise beyond space and time: written, read, compared, revised."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.errors import RefusedError
from backuppeer.limits import RECIPROCITY_MOST_PERMILLE
from backuppeer.proof.promises import (
    NOTHING,
    Promises,
    join_promises,
    other_fields,
    read_promises,
    return_bytes,
    split_promises,
    write_promises,
)
from backuppeer.proof.revisions import Wish, asks_more, check_spans, promises_of, revise, wish_of
from backuppeer.proof.statements import Agreement, open_statement, sign_statement
from proof.test_statements import AGREEMENT, HOST, OWNER

AMOUNTS = st.integers(0, 2**63 - 1)


def promising(terms: Agreement = AGREEMENT, **ext: bytes) -> Agreement:
    return msgspec.structs.replace(terms, ext=ext)


def keeping(promises: Promises, **others: bytes) -> Agreement:
    availability, ext = split_promises(promises)
    return msgspec.structs.replace(AGREEMENT, availability=availability, ext={**others, **ext})


@given(st.builds(Promises, AMOUNTS, AMOUNTS, AMOUNTS, st.integers(0, 1000)))
def test_what_is_promised_is_read_from_the_signed_agreement(promises):
    opened = open_statement(Agreement, sign_statement(keeping(promises), OWNER, HOST), OWNER.public, HOST.public)
    assert wish_of(opened).promises == promises_of(opened) == promises


@given(st.builds(Promises, AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS))
def test_what_is_promised_is_read_as_it_was_written_in_knocks_and_beside_a_field_for_availability(promises):
    assert read_promises(write_promises(promises)) == promises
    assert join_promises(*split_promises(promises)) == promises


def test_availability_lies_in_a_field_of_the_agreement_and_one_in_its_ext_is_something_else():
    assert split_promises(Promises(availability=950)) == (950, {})
    smuggled = promising(**write_promises(Promises(availability=950)))
    assert promises_of(msgspec.structs.replace(smuggled, availability=0)) == NOTHING
    assert other_fields(smuggled.ext) == smuggled.ext
    assert asks_more(promising(), smuggled), "nobody agreed to it without a person"


def test_an_agreement_of_before_promises_nothing_and_one_that_promises_nothing_is_the_same_bytes():
    assert write_promises(NOTHING) == {}
    assert split_promises(NOTHING) == (0, {})
    assert read_promises({}) == read_promises(AGREEMENT.ext) == NOTHING


def test_the_places_in_an_agreement_are_those_that_the_specification_names():
    assert write_promises(Promises(1500, 2, 3, 950)) == {
        "reciprocity-permille": (1500).to_bytes(8, "big"),
        "audit-bytes-a-day": bytes(7) + b"\2",
        "egress-bytes-a-day": bytes(7) + b"\3",
        "availability-permille": (950).to_bytes(8, "big"),
    }


@pytest.mark.parametrize("value", [b"", b"\1", bytes(7), bytes(9), b"\xff" * 8, bytes(8)])
def test_a_value_that_is_none_promises_nothing(value):
    assert read_promises({"egress-bytes-a-day": value}) == NOTHING


def test_a_revision_changes_what_is_promised_and_keeps_what_else_is_in_it():
    old = keeping(Promises(1000, 5, 7, 900), other=b"x")
    signed = sign_statement(old, OWNER, HOST)
    wish = wish_of(open_statement(Agreement, signed, OWNER.public, HOST.public))
    terms = revise(signed, wish._replace(promises=Promises(egress_bytes=7)))
    assert (promises_of(terms), other_fields(terms.ext)) == (Promises(0, 0, 7), {"other": b"x"})
    assert (revise(signed, wish).availability, revise(signed, wish).ext) == (900, old.ext)


@pytest.mark.parametrize(
    ("old", "new", "more"),
    [
        (Promises(), Promises(), False),
        (Promises(1000), Promises(2000), False),
        (Promises(1000), Promises(999), True),
        (Promises(egress_bytes=5), Promises(egress_bytes=6), True),
        (Promises(egress_bytes=5), Promises(), False),
        (Promises(audit_bytes=5), Promises(audit_bytes=4), False),
        (Promises(audit_bytes=5), Promises(audit_bytes=6), True),
        (Promises(audit_bytes=5), Promises(), True),
        (Promises(), Promises(audit_bytes=5), True),
        (Promises(), Promises(availability=50), True),
        (Promises(availability=900), Promises(availability=950), True),
        (Promises(availability=950), Promises(availability=900), False),
        (Promises(availability=950), Promises(), False),
    ],
)
def test_who_gives_less_or_wants_more_asks_more_of_the_host(old, new, more):
    terms = [keeping(each) for each in (old, new)]
    assert asks_more(*terms) is more


def test_another_field_is_for_a_person_to_agree_to():
    assert asks_more(promising(other=b"x"), promising(other=b"y"))
    assert asks_more(promising(), promising(other=b"y"))


def test_nobody_promises_more_than_ten_bytes_for_one():
    check_spans(Wish(1, 1, 1, Promises(RECIPROCITY_MOST_PERMILLE)))
    with pytest.raises(RefusedError, match="more than 10 times"):
        check_spans(Wish(1, 1, 1, Promises(RECIPROCITY_MOST_PERMILLE + 1)))


def test_nobody_is_there_for_more_than_all_of_the_time():
    check_spans(Wish(1, 1, 1, Promises(availability=1000)))
    with pytest.raises(RefusedError, match="more than all of the time"):
        check_spans(Wish(1, 1, 1, Promises(availability=1001)))


def test_what_is_kept_in_return_is_a_part_of_what_is_agreed_on():
    assert [return_bytes(10**9, Promises(each)) for each in (0, 500, 1000, 2500)] == [0, 5 * 10**8, 10**9, 25 * 10**8]
