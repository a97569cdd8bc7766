"""Receipts as `peers show` tells of them, made of a real shelf, real signatures and real evidence."""

from types import SimpleNamespace

import pytest

from agent.loops import START_MS, SetClock
from backuppeer.agent.commands.months import describe_receipts
from backuppeer.agent.owner.receipting import Receipting
from backuppeer.agent.repute.gaps import Gaps
from backuppeer.agent.repute.shelf import Shelf
from backuppeer.agent.repute.shelves import Keep
from backuppeer.agent.repute.standing import Standing
from backuppeer.clock import format_time
from backuppeer.proof.receipts import GapNote, Receipt, begin_of, open_receipt, propose_receipt
from backuppeer.proof.statements import Agreement, add_signature, peek_statement, sign_statement
from backuppeer.trust.evidence import EvidenceLog, Kind, Observation

DAY_MS = 86_400_000


def begins(month):
    return format_time(begin_of(START_MS, month))


class Pair:
    """An owner's home with an agreement with a host, whose key the test has, too."""

    def __init__(self, owner, house, folder) -> None:
        self.owner, self.house, self.clock = owner, house, SetClock()
        self.shelf, self.log = Shelf(folder / "receipts.db"), EvidenceLog(folder / "seen.db")
        self.terms = peek_statement(Agreement, owner.propose(house.peer, start_ms=START_MS))
        owner.state.meet(house.peer, START_MS, alias="old alice")
        standing = Standing(owner.state, self.log, self.clock)
        gaps = Gaps(self.shelf, owner.state, owner.keys.identity, self.clock)
        vault = SimpleNamespace(standing=standing)
        self.receipting = Receipting(owner.state, owner.keys, vault, shelf=self.shelf, gaps=gaps, clock=self.clock)
        repute = SimpleNamespace(receipting=self.receipting, shelf=self.shelf)
        self.agent = SimpleNamespace(parts=SimpleNamespace(state=owner.state, clock=self.clock), repute=repute)

    def sign(self, *months: int, keep: Keep = Keep.OWNER, both: bool = True, private: bool = False) -> None:
        for number in months:
            before = self.shelf.newest(self.terms.agreement, keep)
            notes = [note for note, _ in self.shelf.gaps(self.terms.agreement)]
            signed = propose_receipt(
                self.terms,
                before,
                notes[0] if notes else None,
                self.owner.keys.identity,
                number=number,
                size_bytes=5 * 10**9,
                kept=True,
                private=private,
            )
            self.shelf.keep(open_receipt(add_signature(signed, Receipt, self.house.identity) if both else signed), keep)

    def saw(self, kind: Kind, month: int) -> None:
        time_ms = begin_of(START_MS, month) + 3 * DAY_MS
        self.log.record(Observation(self.house.peer, kind, time_ms, 1000))

    def explain(self, first: int, last: int) -> None:
        said = GapNote(
            agreement=self.terms.agreement,
            by=self.house.peer,
            other=self.owner.peer,
            first=first,
            last=last,
            reason="recovered",
            time_ms=START_MS,
        )
        signed = add_signature(sign_statement(said, self.house.identity), GapNote, self.owner.keys.identity)
        self.shelf.keep_gap(said, signed, is_whole=True)

    def tell(self, over: int, keep: Keep = Keep.OWNER):
        self.clock.ms = begin_of(START_MS, over + 1) + DAY_MS
        return describe_receipts(self.agent, self.terms, keep)


@pytest.fixture
def pair(owner, house, tmp_path):
    made = Pair(owner, house, tmp_path)
    yield made
    made.shelf.close()
    made.log.close()


def test_months_that_both_signed_are_counted_and_the_other_side_holds_them_too(pair):
    pair.sign(1, 2, 3)
    told = pair.tell(3)
    assert (told.months, told.signed, told.newest, told.theirs, told.lacking) == (3, 3, 3, 3, [])
    assert (told.newest_bytes, told.is_told, told.is_private) == (5 * 10**9, True, False)
    assert (told.since, told.newest_ends) == (begins(1), begins(4))
    assert told.next_over == begins(5)


def test_each_month_that_lacks_is_named_with_its_days_its_reason_and_what_to_do(pair):
    pair.saw(Kind.AUDITED, 2)
    pair.tell(1)
    [alone] = describe_receipts(pair.agent, pair.terms, Keep.OWNER).lacking
    assert "`backup-peer audit --now 'old alice'`" in alone.todo
    pair.sign(3)
    pair.saw(Kind.AUDITED, 4)
    unshown, unmet, due = pair.tell(4).lacking
    assert (unshown.first, unshown.last, unshown.begins) == (1, 1, begins(1))
    assert "showed nothing of yours" in unshown.reason
    assert (unshown.todo, unmet.todo) == ("", ""), "a later month was signed: nothing can be done about these"
    assert ("did not meet" in unmet.reason, unmet.ends) == (True, begins(3))
    assert ("sign when you meet" in due.reason, "next session" in due.todo) == (True, True)


def test_a_word_that_waits_for_the_host_and_a_failure_are_told_apart(pair):
    pair.saw(Kind.LOST, 1)
    pair.sign(2, both=False)
    failed, waits = pair.tell(2).lacking
    assert (failed.reason, failed.todo) == ("it failed", "")
    assert waits.reason == "you signed it, and it has not yet"
    assert pair.tell(2).theirs == 0


def test_a_gap_that_both_explained_breaks_no_row_and_says_whose_home_was_lost(pair):
    pair.sign(1)
    pair.explain(2, 3)
    pair.sign(4)
    told = pair.tell(4)
    [gap] = told.lacking
    assert (gap.first, gap.last, gap.is_explained) == (2, 3, True)
    assert gap.reason.startswith("its home was lost and recovered then")
    assert told.since == begins(1)


def test_who_shares_nothing_tells_nobody_and_of_a_private_receipt_its_host_tells_nobody(pair):
    pair.receipting.is_shared = lambda: False
    pair.sign(1, private=True)
    told = pair.tell(1)
    assert (told.is_told, told.is_private) == (False, True)
    pair.sign(1, 2, keep=Keep.HOST, private=True)
    assert not pair.tell(2, Keep.HOST).is_told
    pair.sign(3, keep=Keep.HOST)
    assert pair.tell(3, Keep.HOST).is_told


def test_a_host_knows_of_its_owner_only_that_it_had_what_a_later_one_names(pair):
    pair.sign(1, keep=Keep.HOST)
    assert pair.tell(1, Keep.HOST).theirs == 0
    pair.sign(2, keep=Keep.HOST)
    told = pair.tell(3, Keep.HOST)
    assert (told.newest, told.theirs) == (2, 1)
    assert told.lacking[0].reason == "its owner had nothing signed"
