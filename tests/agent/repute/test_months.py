"""Months of an agreement without a receipt: each is named, with why."""

import pytest

from agent.houses import OwnerHouse
from backuppeer.agent.repute.months import Lack, Stretch, recount_months
from backuppeer.agent.repute.shelf import Shelf
from backuppeer.agent.repute.shelves import Keep
from backuppeer.crypto.identity import SigningKey
from backuppeer.ids import PeerId
from backuppeer.proof.receipts import GapNote, Receipt, begin_of, open_receipt, propose_receipt
from backuppeer.proof.statements import Agreement, add_signature, peek_statement, sign_statement

HOST = SigningKey.from_seed(b"h" * 32)
DAY_MS = 86_400_000


class Pair:
    """An owner with an agreement, and its shelf."""

    def __init__(self, owner: OwnerHouse, shelf: Shelf) -> None:
        self.owner, self.shelf = owner, shelf
        self.terms = peek_statement(Agreement, owner.propose(PeerId(HOST.public)))

    def sign(self, number: int, *, both: bool = True, kept: bool = True, keep: Keep = Keep.OWNER) -> None:
        before = self.shelf.newest(self.terms.agreement, keep)
        signed = propose_receipt(
            self.terms, before, None, self.owner.keys.identity, number=number, size_bytes=9, kept=kept, private=False
        )
        self.shelf.keep(open_receipt(add_signature(signed, Receipt, HOST) if both else signed), keep)

    def look(self, over: int, judge=lambda _: None, keep: Keep = Keep.OWNER):
        now_ms = begin_of(self.terms.start_ms, over + 1) + DAY_MS
        return recount_months(self.terms, self.shelf, now_ms, keep=keep, judge=judge)


@pytest.fixture
def pair(owner, tmp_path):
    shelf = Shelf(tmp_path / "receipts.db")
    yield Pair(owner, shelf)
    shelf.close()


def test_before_the_first_month_is_over_nothing_lacks(pair):
    months = pair.look(0)
    assert (months.over, months.signed, months.lacking) == (0, (), ())


def test_what_both_signed_is_there_and_months_of_one_reason_are_one_line(pair):
    for number in (1, 5, 6):
        pair.sign(number)
    months = pair.look(6)
    assert [shown.said.number for shown in months.signed] == [1, 5, 6]
    assert months.lacking == (Stretch(2, 4, Lack.UNSHOWN),)


@pytest.mark.parametrize(
    ("kept", "last", "lack"),
    [
        (True, True, Lack.DUE),
        (True, False, Lack.UNMET),
        (False, True, Lack.LOST),
        (False, False, Lack.LOST),
        (None, True, Lack.UNSHOWN),
    ],
)
def test_a_month_without_a_word_is_told_by_what_was_seen_in_it(pair, kept, last, lack):
    begins = begin_of(pair.terms.start_ms, 1)
    months = pair.look(1 if last else 2, lambda from_ms: kept if from_ms == begins else None)
    assert months.lacking[0] == Stretch(1, 1 if last or kept is not None else 2, lack)


def test_a_word_of_the_owner_alone_waits_or_was_passed_over_or_is_a_claim(pair):
    pair.sign(1, both=False)
    assert pair.look(1).lacking == (Stretch(1, 1, Lack.UNSIGNED),)
    pair.sign(2)
    assert pair.look(2).lacking == (Stretch(1, 1, Lack.PASSED_OVER),)
    pair.sign(3, both=False, kept=False)
    assert pair.look(3).lacking[-1] == Stretch(3, 3, Lack.CLAIMED)


def test_a_gap_that_both_explained_says_so_with_the_note(pair):
    pair.sign(1)
    said = GapNote(
        agreement=pair.terms.agreement,
        by=pair.terms.host,
        other=pair.terms.owner,
        first=2,
        last=3,
        reason="recovered",
        time_ms=pair.terms.start_ms,
    )
    signed = add_signature(sign_statement(said, HOST), GapNote, pair.owner.keys.identity)
    pair.shelf.keep_gap(said, signed, is_whole=True)
    assert pair.look(4).lacking == (Stretch(2, 3, Lack.EXPLAINED, said), Stretch(4, 4, Lack.UNSHOWN))


def test_a_host_knows_only_what_it_was_asked_to_sign(pair):
    pair.sign(1, keep=Keep.HOST)
    months = pair.look(2, lambda _: pytest.fail("a host judges no month"), keep=Keep.HOST)
    assert (len(months.signed), months.lacking) == (1, (Stretch(2, 2, Lack.UNASKED),))
    assert pair.look(2).signed == ()
