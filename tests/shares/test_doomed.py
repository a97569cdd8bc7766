"""Copies that no head names any more: noted, told, taken back, forgotten."""

from pathlib import Path

import pytest

from backuppeer.db import open_database
from backuppeer.ids import AgreementId, LogicalId, StoredId
from backuppeer.limits import NEXT_FREE_SPAN_S
from backuppeer.shares import ledger as module
from backuppeer.shares.ledger import Copy, Ledger

A, B = AgreementId(b"a" * 16), AgreementId(b"b" * 16)


def copy(number: int, agreement: AgreementId = A) -> Copy:
    name = number.to_bytes(2, "big")
    return Copy(LogicalId(name * 8), agreement, StoredId(agreement[:2] * 8 + name * 8), 10 * number, bytes(64))


@pytest.fixture
def ledger(tmp_path: Path):
    made = Ledger(tmp_path / "ledger.db")
    made.register_copies([copy(1), copy(2), copy(3)])
    made.register_copy(copy(1, B))
    yield made
    made.close()


def test_doomed_copies_are_read_last_and_are_no_copies_to_count_on(ledger: Ledger):
    ledger.doom([copy(1).logical, LogicalId(b"?" * 16)])
    assert list(ledger.copies_at(A)) == [copy(2), copy(3)]
    assert (ledger.wanted_bytes(A), ledger.held_bytes(A)) == (50, 60)
    assert list(ledger.doomed_at(A)) == list(ledger.doomed_at(A, is_told=False)) == [copy(1)]
    assert list(ledger.doomed_at(B)) == [copy(1, B)]
    assert ledger.copies_of(copy(1).logical) == [copy(1), copy(1, B)], "readers under way still find them"
    ledger.settle([copy(1, B)], None)
    assert ledger.copies_of(copy(1).logical) == [copy(1, B), copy(1)]


def test_a_host_is_told_once_and_its_copy_is_forgotten_when_it_may_be_gone(ledger: Ledger):
    ledger.doom([copy(1).logical, copy(2).logical])
    ledger.settle([copy(1)], 1000)
    assert list(ledger.doomed_at(A, is_told=True)) == [copy(1)]
    assert list(ledger.doomed_at(A, is_told=False)) == [copy(2)]
    ledger.doom([copy(1).logical])
    assert list(ledger.doomed_at(A, is_told=True)) == [copy(1)], "doomed again it was told all the same"
    ledger.forget_erased(999)
    assert len(list(ledger.doomed_at(A))) == 2
    ledger.forget_erased(1000)
    assert list(ledger.doomed_at(A)) == [copy(2)], "one that was not told is never forgotten by time"
    assert ledger.copies_of(copy(1).logical) == [copy(1, B)]


def test_what_is_erased_next_is_told_with_all_of_that_day(ledger: Ledger):
    assert ledger.next_erased(A, 0) == (0, 0)
    ledger.doom([copy(number).logical for number in (1, 2, 3)])
    assert ledger.next_erased(A, 0) == (0, 0), "its host does not know yet"
    day_ms = NEXT_FREE_SPAN_S * 1000
    for number, until_ms in ((1, 5000), (2, 5000 + day_ms), (3, 5001 + day_ms)):
        ledger.settle([copy(number)], until_ms)
    assert ledger.next_erased(A, 4999) == (30, 5000 + day_ms)
    assert ledger.next_erased(A, 5000) == (50, 5001 + day_ms), "what is over is the host's to erase"
    assert ledger.next_erased(B, 0) == (0, 0)


def test_what_a_host_lists_no_more_is_forgotten_but_for_what_is_doomed(ledger: Ledger):
    ledger.doom([copy(2).logical])
    gone = {copy(1).stored, copy(2).stored, copy(1, B).stored}
    assert ledger.forget_stored(A, gone) == 1
    assert list(ledger.copies_at(A)) == [copy(3)]
    assert list(ledger.doomed_at(A)) == [copy(2)]
    assert list(ledger.copies_at(B)) == [copy(1, B)]
    assert ledger.forget_stored(A, set()) == 0


def test_sizes_are_told_of_packs_that_have_a_copy(ledger: Ledger):
    wanted = [copy(1).logical, copy(3).logical, LogicalId(b"?" * 16)]
    assert ledger.sizes(wanted) == {copy(1).logical: 10, copy(3).logical: 30}
    assert ledger.sizes([]) == {}


def test_a_ledger_of_the_version_before_is_taken_over(tmp_path: Path):
    path = tmp_path / "old.db"
    old = open_database(path, module._SCHEMA[:1])
    old.execute("INSERT INTO agreements (agreement) VALUES (?)", (A,))
    old.execute("INSERT INTO copies VALUES (?, 1, ?, 5, ?)", (copy(1).logical, copy(1).stored, bytes(64)))
    old.close()
    ledger = Ledger(path)
    assert [found.stored for found in ledger.copies_at(A)] == [copy(1).stored]
    ledger.close()
