"""What agreements promise beyond space and time: written, read, compared, revised."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.errors import RefusedError
from backuppeer.limits import RECIPROCITY_MOST_PERMILLE
from backuppeer.proof.promises import NOTHING, Promises, other_fields, read_promises, return_bytes, write_promises
from backuppeer.proof.revisions import Wish, asks_more, check_spans, revise, wish_of
from backuppeer.proof.statements import Agreement, open_statement, sign_statement
from proof.test_statements import AGREEMENT, HOST, OWNER

AMOUNTS = st.integers(0, 2**63 - 1)


def promising(terms: Agreement = AGREEMENT, **ext: bytes) -> Agreement:
    return msgspec.structs.replace(terms, ext=ext)


@given(st.builds(Promises, AMOUNTS, AMOUNTS, AMOUNTS))
def test_what_is_promised_is_read_from_the_signed_agreement(promises):
    terms = msgspec.structs.replace(AGREEMENT, ext=write_promises(promises))
    opened = open_statement(Agreement, sign_statement(terms, OWNER, HOST), OWNER.public, HOST.public)
    assert read_promises(opened.ext) == promises
    assert wish_of(opened).promises == promises


def test_an_agreement_of_before_promises_nothing_and_one_that_promises_nothing_is_the_same_bytes():
    assert write_promises(NOTHING) == {}
    assert read_promises({}) == read_promises(AGREEMENT.ext) == NOTHING


def test_the_places_in_an_agreement_are_those_that_the_specification_names():
    assert write_promises(Promises(1500, 2, 3)) == {
        "reciprocity-permille": (1500).to_bytes(8, "big"),
        "audit-bytes-a-day": bytes(7) + b"\2",
        "egress-bytes-a-day": bytes(7) + b"\3",
    }


@pytest.mark.parametrize("value", [b"", b"\1", bytes(7), bytes(9), b"\xff" * 8, bytes(8)])
def test_a_value_that_is_none_promises_nothing(value):
    assert read_promises({"egress-bytes-a-day": value}) == NOTHING


def test_a_revision_changes_what_is_promised_and_keeps_what_else_is_in_it():
    signed = sign_statement(promising(other=b"x", **write_promises(Promises(1000, 5, 7))), OWNER, HOST)
    wish = wish_of(open_statement(Agreement, signed, OWNER.public, HOST.public))
    terms = revise(signed, wish._replace(promises=Promises(egress_bytes=7)))
    assert (read_promises(terms.ext), other_fields(terms.ext)) == (Promises(0, 0, 7), {"other": b"x"})
    assert revise(signed, wish).ext == promising(other=b"x", **write_promises(Promises(1000, 5, 7))).ext


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
    ],
)
def test_who_gives_less_or_wants_more_asks_more_of_the_host(old, new, more):
    terms = [msgspec.structs.replace(AGREEMENT, ext=write_promises(each)) for each in (old, new)]
    assert asks_more(*terms) is more


def test_another_field_is_for_a_person_to_agree_to():
    assert asks_more(promising(other=b"x"), promising(other=b"y"))
    assert asks_more(promising(), promising(other=b"y"))


def test_nobody_promises_more_than_ten_bytes_for_one():
    check_spans(Wish(1, 1, 1, Promises(RECIPROCITY_MOST_PERMILLE)))
    with pytest.raises(RefusedError, match="more than 10 times"):
        check_spans(Wish(1, 1, 1, Promises(RECIPROCITY_MOST_PERMILLE + 1)))


def test_what_is_kept_in_return_is_a_part_of_what_is_agreed_on():
    assert [return_bytes(10**9, Promises(each)) for each in (0, 500, 1000, 2500)] == [0, 5 * 10**8, 10**9, 25 * 10**8]
