"""The ledger: which copy lies where, also with very many of them."""

import threading
import tracemalloc

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


def test_walking_the_ledger_needs_no_memory_for_its_rows(ledger) -> None:
    fill(ledger, 30_000)
    assert walk_bounded(ledger, 30_000) < MIB


@pytest.mark.slow
def test_a_million_copies_need_no_more_memory(ledger) -> None:
    fill(ledger, 1_000_000)
    assert walk_bounded(ledger, 1_000_000) < MIB
