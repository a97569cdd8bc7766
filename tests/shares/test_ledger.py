"""The ledger: which copy lies where, also with very many of them."""

import sqlite3
import threading
import tracemalloc
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backuppeer.errors import DamagedStateError, LocalError
from backuppeer.ids import AgreementId, LogicalId, StoredId
from backuppeer.limits import MIB
from backuppeer.shares.copies import Copy
from backuppeer.shares.ledger import Ledger

A, B = AgreementId(b"A" * 16), AgreementId(b"B" * 16)


def logical(number: int) -> LogicalId:
    return LogicalId(number.to_bytes(16, "big"))


def make_copy(number: int, agreement: AgreementId = A, *, size: int = 300_000, header: bytes = b"h" * 64) -> Copy:
    stored = StoredId(agreement + number.to_bytes(16, "big"))
    return Copy(logical=logical(number), agreement=agreement, stored=stored, size=size, header=header)


@pytest.fixture
def ledger(tmp_path):
    opened = Ledger(tmp_path / "ledger.db")
    yield opened
    opened.close()


def test_packs_are_measured_once_each_and_unknown_ones_not_at_all(ledger):
    ledger.register_copies([make_copy(0, size=10), make_copy(0, B, size=10), make_copy(1, B, size=5)])
    assert ledger.measure(logical(number) for number in range(2000)) == 15
    assert ledger.measure([]) == 0


def test_copies_come_back_as_they_were_registered(ledger) -> None:
    ledger.register_copy(make_copy(1))
    ledger.register_copies([make_copy(1, B), make_copy(2)])
    assert ledger.copies_of(logical(1)) == [make_copy(1), make_copy(1, B)]
    assert ledger.copies_of(logical(3)) == []
    assert ledger.copy_at(B, logical(1)) == make_copy(1, B)
    assert ledger.copy_at(B, logical(2)) is None
    assert (ledger.count(), ledger.count(A), ledger.count(B), ledger.count(AgreementId(bytes(16)))) == (3, 2, 1, 0)


def test_a_new_copy_of_the_same_pack_replaces_the_old_one(ledger) -> None:
    ledger.register_copy(make_copy(1))
    newer = make_copy(1, size=400_000, header=b"n" * 64)
    ledger.register_copy(newer)
    assert ledger.copies_of(logical(1)) == [newer]


def test_dropping_an_agreement_forgets_its_copies_only(ledger) -> None:
    ledger.register_copies([make_copy(1), make_copy(2), make_copy(1, B)])
    assert ledger.drop_agreement(A) == 2
    assert ledger.drop_agreement(A) == 0
    assert ledger.copies_of(logical(1)) == [make_copy(1, B)]
    ledger.register_copy(make_copy(1))
    assert {copy.agreement for copy in ledger.copies_of(logical(1))} == {A, B}


@settings(max_examples=30, deadline=None)
@given(held=st.sets(st.integers(0, 1500), max_size=200), wanted=st.lists(st.integers(0, 1500), max_size=1200))
def test_what_is_missing_is_exactly_what_is_not_held(tmp_path_factory, held, wanted) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("l") / "ledger.db")
    try:
        ledger.register_copies(make_copy(n) for n in held)
        ledger.register_copies(make_copy(n, B) for n in range(0, 1500, 100))
        missing = list(ledger.missing_at(A, (logical(n) for n in wanted)))
        assert missing == [logical(n) for n in wanted if n not in held]
        assert [copy.logical for copy in ledger.copies_at(A)] == sorted(map(logical, held))
    finally:
        ledger.close()


def test_copies_that_are_forgotten_are_those_and_no_other(ledger) -> None:
    ledger.register_copies([make_copy(1), make_copy(1, B), make_copy(2)])
    ledger.forget_copies(ledger.copies_of(logical(1)))
    assert ledger.copies_of(logical(1)) == []
    assert ledger.copies_of(logical(2)) == [make_copy(2)]
    ledger.forget_copies([])


def test_many_copies_are_registered_all_or_none(ledger) -> None:
    bad = make_copy(2, header=b"short")
    with pytest.raises(LocalError):
        ledger.register_copies([make_copy(1), bad])
    assert ledger.count() == 0


def test_ids_of_wrong_lengths_are_our_bug_and_refused(ledger) -> None:
    for bad in (
        Copy(LogicalId(b"x"), A, StoredId(bytes(32)), 1, bytes(64)),
        Copy(logical(1), AgreementId(b"x"), StoredId(bytes(32)), 1, bytes(64)),
        Copy(logical(1), A, StoredId(b"x"), 1, bytes(64)),
        make_copy(1, size=0),
    ):
        with pytest.raises(LocalError):
            ledger.register_copy(bad)


def test_the_ledger_survives_closing_and_names_damage(tmp_path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger(path)
    ledger.register_copy(make_copy(1))
    ledger.close()
    again = Ledger(path)
    assert again.copies_of(logical(1)) == [make_copy(1)]
    again.close()
    path.write_bytes(b"rubbish" * 1000)
    with pytest.raises(DamagedStateError):
        Ledger(path)


def test_threads_register_and_read_at_once(ledger) -> None:
    def work(base: int) -> None:
        for n in range(base, base + 50):
            ledger.register_copy(make_copy(n))
            assert ledger.copies_of(logical(n)) == [make_copy(n)]

    threads = [threading.Thread(target=work, args=(base,)) for base in range(0, 400, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.count(A) == 400


def fill(ledger: Ledger, count: int) -> None:
    for start in range(0, count, 5000):
        ledger.register_copies(make_copy(n) for n in range(start, start + 5000))


def walk_bounded(ledger: Ledger, count: int) -> int:
    """Ask for what is missing of twice as many packs, walk all, and return the peak of memory."""
    tracemalloc.start()
    missing = sum(1 for _ in ledger.missing_at(A, (logical(n) for n in range(2 * count))))
    walked = sum(1 for _ in ledger.copies_at(A))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (missing, walked, ledger.count(A)) == (count, count, count)
    return peak


@pytest.mark.slow
def test_walking_the_ledger_needs_no_memory_for_its_rows(ledger) -> None:
    fill(ledger, 30_000)
    assert walk_bounded(ledger, 30_000) < MIB


@pytest.mark.slow
def test_many_copies_need_no_more_memory(ledger) -> None:
    # Enough: as a list, the pointers alone to that many rows take more than this.
    fill(ledger, 200_000)
    assert walk_bounded(ledger, 200_000) < MIB


# --- what was verified
def test_ledger_of_format_1_comes_along_and_is_kept_beside(tmp_path):
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript((Path(__file__).resolve().parents[1] / "vectors" / "ledger-v1.sql").read_text())
    old = Ledger(path)
    assert [(old.count(A), old.count(B)), old.oldest_verification(A)] == [(3, 3), (3, 0)]
    assert {copy.stored[-1:] for copy in old.copies_of(LogicalId(bytes([2]) * 16))} == {b"A", b"B"}
    old.note_verified(old.copies_of(LogicalId(bytes([2]) * 16))[0], 5)
    assert old.oldest_verification(A) == (2, 5)
    old.close()
    with closing(sqlite3.connect(tmp_path / "ledger.db.v1.bak")) as db:
        assert db.execute("SELECT count(*) FROM copies").fetchone() == (6,)


def test_what_was_verified_is_forgotten_with_the_copy_and_not_by_hearing_of_it_again(ledger):
    ledger.register_copies([make_copy(1), make_copy(1, B)])
    ledger.note_verified(make_copy(1), 77)
    ledger.register_copy(make_copy(1))
    assert ledger.oldest_verification(A) == (0, 77)
    assert ledger.oldest_verification(B) == (1, 0)
    other = Copy(logical(1), A, StoredId(b"s" * 32), 5, b"h" * 64)
    ledger.register_copy(other)
    assert ledger.oldest_verification(A) == (1, 0)
    ledger.note_verified(make_copy(1), 99)  # of the copy before: says nothing of this one
    assert ledger.oldest_verification(A) == (1, 0)


def test_a_spoiled_copy_is_asked_last_counts_as_lacking_and_is_whole_again_when_verified(ledger):
    ledger.register_copies([make_copy(1), make_copy(1, B), make_copy(2)])
    ledger.note_spoiled(make_copy(1), 5)
    assert [copy.agreement for copy in ledger.copies_of(logical(1))] == [B, A]
    assert ledger.whole_copies_of(logical(1)) == [make_copy(1, B)]
    packs = [logical(1), logical(2), logical(3)]
    assert list(ledger.lacking_at(A, packs)) == [logical(1), logical(3)]
    assert list(ledger.missing_at(A, packs)) == [logical(3)]
    assert ledger.spoiled_at(A) == {make_copy(1).stored: 5}
    ledger.note_verified(make_copy(1), 6)
    assert list(ledger.lacking_at(A, packs)) == [logical(3)]
    assert ledger.spoiled_at(A) == {}


def test_what_only_spoiled_copies_hold_measures_nothing_as_nobody_can_copy_it(ledger):
    ledger.register_copies([make_copy(1, size=10), make_copy(2, size=20), make_copy(2, B, size=20)])
    ledger.note_spoiled(make_copy(1), 5)
    ledger.note_spoiled(make_copy(2), 5)
    assert ledger.measure([logical(1), logical(2)]) == 20


def test_a_spoiled_copy_that_was_replaced_is_remembered_until_what_replaced_it_is_gone(ledger):
    fresh = Copy(logical(1), A, StoredId(b"s" * 32), 5, b"h" * 64)
    ledger.register_copy(make_copy(1))
    ledger.note_spoiled(make_copy(1), 5)
    ledger.register_copy(fresh)
    assert list(ledger.lacking_at(A, [logical(1)])) == []
    assert ledger.spoiled_at(A) == {make_copy(1).stored: 5}
    assert ledger.forget_stored(A, set()) == 0
    assert ledger.spoiled_at(A) == {make_copy(1).stored: 5}
    assert ledger.forget_stored(A, {fresh.stored}) == 1
    assert ledger.spoiled_at(A) == {}
    ledger.note_spoiled(make_copy(4), 5)
    ledger.drop_agreement(A)
    assert ledger.spoiled_at(A) == {}


@given(st.dictionaries(st.integers(0, 30), st.integers(0, 9), max_size=30), st.integers(1, 10))
@settings(max_examples=30, deadline=None)
def test_least_recently_verified_come_first_and_none_twice_while_they_are_verified(tmp_path_factory, times, before):
    ledger = Ledger(tmp_path_factory.mktemp("ledger") / "ledger.db")
    with closing(ledger), pytest.MonkeyPatch.context() as patched:
        patched.setattr("backuppeer.shares.ledger.PAGE_ROWS", 4)
        for number, time_ms in times.items():
            ledger.register_copy(make_copy(number))
            if time_ms:
                ledger.note_verified(make_copy(number), time_ms)
        seen = []
        for copy, verified in ledger.oldest_first(before):
            seen.append((verified, copy.logical))
            if len(seen) % 2:
                ledger.note_verified(copy, 1000)
        assert seen == sorted((time_ms, logical(number)) for number, time_ms in times.items() if time_ms < before)


def test_what_was_compared_is_remembered_with_its_mark(ledger):
    assert list(ledger.compared()) == []
    for mark in (5, 2**63 - 1):
        ledger.note_compared(logical(1), 3, mark)
    assert list(ledger.compared()) == [(logical(1), 3, 2**63 - 1)]
    assert ledger.find_fault() == ""


def test_lists_of_any_length_are_asked_with_few_statements(ledger, monkeypatch):
    """A statement of each length was compiled and kept: an agent grew by 80 KB with each backup of 400."""
    asked, fetch = set(), ledger._fetch
    monkeypatch.setattr(ledger, "_fetch", lambda sql, values: asked.add(sql) or fetch(sql, values))
    for count in range(1, 65):
        assert len(list(ledger.missing_at(A, [logical(n) for n in range(count)]))) == count
    assert len(asked) == 7
