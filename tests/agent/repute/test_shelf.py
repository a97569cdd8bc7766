"""What is kept of receipts, and how much of whom."""

import sqlite3
from contextlib import closing

import pytest

from agent.repute.shelved import START, key, peer, receipt, vouch
from backuppeer.agent.repute import shelf as module
from backuppeer.agent.repute.shelf import Asked, Lie, Shelf
from backuppeer.agent.repute.shelves import SCHEMA, Keep
from backuppeer.db import open_database
from backuppeer.limits import RECEIPT_ASKED_PEERS, RECEIPTS_KEPT, RECEIPTS_PER_DELIVERER
from backuppeer.proof.receipts import MONTH_MS, GapNote
from backuppeer.proof.statements import sign_statement

DELIVERER, OTHER = peer(900), peer(901)


@pytest.fixture
def shelf(tmp_path):
    made = Shelf(tmp_path / "receipts.db")
    yield made
    made.close()


def test_own_receipts_are_all_kept_and_found_again_after_a_restart(tmp_path):
    shelf = Shelf(tmp_path / "receipts.db")
    shown = [receipt(1, 2, months=n) for n in (1, 2, 3)]
    for one in shown:
        shelf.keep(one, Keep.OWNER)
    shelf.close()
    again = Shelf(tmp_path / "receipts.db")
    agreement = shown[0].said.agreement
    assert again.own(Keep.OWNER) == shown[::-1]
    assert again.newest(agreement, Keep.OWNER) == shown[2]
    assert again.chain(agreement, peer(2), after=1) == shown[1:]
    assert again.chain(agreement, peer(1), limit=1) == shown[:1]
    assert again.chain(agreement, peer(3)) == []
    assert again.newest(agreement, Keep.HOST) is None
    again.close()


def test_the_other_signature_takes_the_place_of_the_one_sided_receipt_and_never_the_reverse(shelf):
    one_sided, both = receipt(1, 2, one_sided=True), receipt(1, 2)
    for shown in (one_sided, both, one_sided):
        shelf.keep(shown, Keep.OWNER)
    assert shelf.own(Keep.OWNER) == [both]
    assert shelf.find(both.said.agreement, 1, Keep.OWNER) == both


def test_of_others_the_newest_receipt_of_a_pair_is_kept_in_whatever_order_they_come(shelf):
    old, new = receipt(1, 2, months=2), receipt(1, 2, months=3)
    assert shelf.take(old, DELIVERER).is_kept
    assert shelf.take(new, DELIVERER).is_kept
    for shown in (old, new, new):
        assert not shelf.take(shown, DELIVERER).is_kept
    assert [month.number for month in shelf.months()] == [3]


@pytest.mark.slow
def test_two_receipts_for_one_month_are_named_and_a_thousand_of_them_take_no_more_room_than_a_few(shelf):
    shelf.take(receipt(1, 2, months=2), DELIVERER)
    reasons = [shelf.take(receipt(1, 2, months=2, size_bytes=n), DELIVERER).reason for n in range(1000)]
    assert all("contradicts" in reason for reason in reasons)
    assert len(shelf.months()) <= 6


def test_what_its_owner_wants_shown_to_nobody_is_not_taken(shelf):
    taken = shelf.take(receipt(1, 2, private=True), DELIVERER)
    assert not taken.is_kept
    assert "nobody" in taken.reason


def test_a_peer_that_shows_more_and_more_is_bounded_and_the_others_have_their_room(shelf, monkeypatch):
    monkeypatch.setattr(module, "RECEIPTS_PER_DELIVERER", 5)
    monkeypatch.setattr(module, "RECEIPTS_KEPT", 8)
    taken = [shelf.take(receipt(n, 2), DELIVERER) for n in range(10, 30)]
    assert [one.is_kept for one in taken] == [True] * 5 + [False] * 15
    assert "no more" in taken[-1].reason
    assert all(shelf.take(receipt(n, 3), OTHER).is_kept for n in range(10, 15))
    assert len(shelf.months()) == 8
    by_host = [month.host for month in shelf.months()]
    assert by_host.count(peer(3)) == 5


FULL = """
    INSERT INTO receipts
    WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers LIMIT ?), names (n, name) AS
        (SELECT n, CAST(printf('%032d', n) AS BLOB) FROM numbers)
    SELECT name, name, name, name, 1, 0, n, 1, 1, 1, 0, 0, CAST(printf('deliverer %022d', n / ?) AS BLOB), x''
    FROM names
"""
"""Rows of receipts that nobody signed, of one deliverer after the other. In SQL, and in ascending order: in 0.5 s."""


def test_a_shelf_that_is_full_to_its_real_limits_stays_so_and_has_room_for_whoever_has_shown_nothing(shelf):
    shelf._run(FULL, RECEIPTS_KEPT, RECEIPTS_PER_DELIVERER)
    busiest = b"deliverer " + b"0" * 22
    refused = shelf.take(receipt(1, 2), busiest)
    assert (refused.is_kept, refused.reason.split(" of them")[0]) == (False, "it has shown 4096")
    assert shelf.take(receipt(1, 2), DELIVERER).is_kept
    assert shelf._count("WHERE deliverer != x''") == RECEIPTS_KEPT == 100_000
    [(left,)] = shelf._all("SELECT COUNT(*) FROM receipts WHERE deliverer IN (SELECT MIN(deliverer) FROM receipts)")
    [(most,)] = shelf._all("SELECT MAX(n) FROM (SELECT COUNT(*) AS n FROM receipts GROUP BY deliverer)")
    assert (left, most) == (RECEIPTS_PER_DELIVERER - 1, RECEIPTS_PER_DELIVERER), "who has most makes way"


def test_a_known_pair_is_renewed_however_full_its_deliverer_is_and_takes_no_room(shelf, monkeypatch):
    monkeypatch.setattr(module, "RECEIPTS_PER_DELIVERER", 2)
    for shown in (receipt(1, 2), receipt(3, 4)):
        shelf.take(shown, DELIVERER)
    shelf.take(receipt(5, 6), OTHER)
    assert not shelf.take(receipt(7, 8), DELIVERER).is_kept
    assert shelf.take(receipt(1, 2, months=2), DELIVERER).is_kept
    assert shelf.take(receipt(5, 6, months=2), DELIVERER).is_kept, "of a pair that another brought first"
    assert sorted(month.number for month in shelf.months()) == [1, 2, 2]
    assert shelf.take(receipt(9, 8), OTHER).is_kept
    assert not shelf.take(receipt(11, 8), OTHER).is_kept, "the pair that it brought still counts as its own"


def test_a_vouch_is_renewed_and_taken_back_however_full_its_deliverer_is(shelf, monkeypatch):
    monkeypatch.setattr(module, "RECEIPTS_PER_DELIVERER", 1)
    shelf.take_vouch(*vouch(1, 2), DELIVERER)
    assert shelf.take_vouch(*vouch(1, 2, at=START + 1, days=0), DELIVERER).is_kept
    assert not shelf.take_vouch(*vouch(3, 4), DELIVERER).is_kept


def test_an_owner_that_claims_of_everybody_uses_up_a_share_of_what_its_relay_has_and_no_more(shelf, monkeypatch):
    monkeypatch.setattr(module, "RECEIPTS_PER_OWNER", 3)
    taken = [shelf.take(receipt(1, n, kept=False), DELIVERER) for n in range(10, 20)]
    assert [one.is_kept for one in taken] == [True] * 3 + [False] * 7
    assert "of this owner" in taken[-1].reason
    assert shelf.take(receipt(2, 10), DELIVERER).is_kept


def test_an_agreement_that_others_name_alike_hides_no_receipt(shelf):
    honest = receipt(1, 2)
    shelf.take(honest, DELIVERER)
    shelf.take(receipt(3, 4, months=99, agreement=honest.said.agreement), OTHER)
    assert {month.owner for month, _ in shelf.shareable(is_own_shown=False)} == {peer(1), peer(3)}


def lie(number: int, host: int, told_ms: int = START) -> Lie:
    return Lie(number.to_bytes(32, "big"), peer(host), told_ms)


def test_of_each_host_one_proof_is_kept_and_it_goes_when_it_counts_no_more(shelf):
    shelf.put_proof(lie(1, 7), DELIVERER, b"one")
    shelf.put_proof(lie(2, 7, START + 1), OTHER, b"two")
    assert shelf.proofs() == [lie(2, 7, START + 1)]
    assert (shelf.proof(lie(1, 7).mark), shelf.proof(lie(2, 7).mark)) == (b"", b"two")
    shelf.forget_old(START + 181 * 86_400_000)
    assert shelf.proofs() == []


def test_proofs_that_fill_the_shelf_make_way_for_those_of_others(shelf, monkeypatch):
    monkeypatch.setattr(module, "PROOFS_PER_DELIVERER", 3)
    monkeypatch.setattr(module, "PROOFS_KEPT", 4)
    for number in range(10, 15):
        shelf.put_proof(lie(number, number, START + number), DELIVERER, b"flood")
    assert {one.host for one in shelf.proofs()} == {peer(12), peer(13), peer(14)}
    for number in (20, 21):
        shelf.put_proof(lie(number, number), OTHER, b"true")
    assert {one.host for one in shelf.proofs()} == {peer(13), peer(14), peer(20), peer(21)}


def test_a_shelf_of_before_forgets_proofs_without_a_date_and_keeps_the_rest(tmp_path):
    path = tmp_path / "receipts.db"
    open_database(path, SCHEMA[:1]).close()
    with closing(sqlite3.connect(path)) as old, old:
        old.execute("INSERT INTO proofs VALUES (?, ?, ?, ?)", (bytes(32), peer(1), peer(2), b"proof"))
        old.execute("INSERT INTO asked VALUES (?, 1, 1, 1, ?)", (peer(1), START))
    shelf = Shelf(path)
    assert (shelf.proofs(), shelf.asked(peer(1), Asked.OF_PEER, START)[1]) == ([], START)
    shelf.close()


def test_vouches_count_against_the_same_room_and_the_later_one_stands(shelf, monkeypatch):
    monkeypatch.setattr(module, "RECEIPTS_PER_DELIVERER", 1)
    first, later = vouch(1, 2), vouch(1, 2, at=START + 1, days=0)
    assert shelf.take_vouch(*later, DELIVERER).is_kept
    assert not shelf.take_vouch(*first, DELIVERER).is_kept
    assert "no more" in shelf.take_vouch(*vouch(3, 4), DELIVERER).reason
    assert shelf.take_vouch(*vouch(5, 6)).is_kept
    assert later in shelf.vouches()


def test_what_counts_no_more_goes_but_own_receipts_stay(shelf):
    shelf.keep(receipt(1, 2), Keep.HOST)
    shelf.take(receipt(3, 4), DELIVERER)
    shelf.take_vouch(*vouch(5, 6), DELIVERER)
    shelf.forget_old(START + 24 * MONTH_MS)
    assert [month.owner for month in shelf.months()] == [peer(1)]
    assert shelf.vouches() == []


def test_private_receipts_are_shown_by_their_owner_alone(shelf):
    shelf.keep(receipt(1, 2, private=True), Keep.HOST)
    shelf.keep(receipt(3, 4, private=True), Keep.OWNER)
    shelf.take(receipt(5, 6), DELIVERER)
    assert {month.owner for month, _ in shelf.shareable(is_own_shown=True)} == {peer(3), peer(5)}
    assert {month.owner for month, _ in shelf.shareable(is_own_shown=False)} == {peer(5)}


def test_of_a_row_of_months_the_newest_is_shown_and_both_of_two_that_contradict_each_other(shelf):
    for n in (1, 2):
        shelf.keep(receipt(1, 2, months=n), Keep.HOST)
    for size in (1, 2):
        shelf.take(receipt(3, 4, months=2, size_bytes=size), DELIVERER)
    shown = [(month.owner, month.number) for month, _ in shelf.shareable(is_own_shown=True)]
    assert sorted(shown) == sorted([(peer(1), 2), (peer(3), 2), (peer(3), 2)])


def test_notes_about_gaps_wait_for_the_other_signature(shelf):
    said = GapNote(agreement=bytes(16), by=peer(1), other=peer(2), first=2, last=3, reason="recovered", time_ms=START)
    half, whole = sign_statement(said, key(1)), sign_statement(said, key(1), key(2))
    shelf.keep_gap(said, half, is_whole=False)
    assert (shelf.gaps(bytes(16)), shelf.gaps(bytes(16), is_whole=False)) == ([], [(said, half)])
    shelf.keep_gap(said, whole, is_whole=True)
    assert (shelf.gaps(bytes(16)), shelf.gaps(bytes(16), is_whole=False)) == ([(said, whole)], [])


def test_how_often_a_peer_was_asked_is_remembered_for_its_day_and_of_so_many_peers(shelf):
    day_ms = 86_400_000
    for _ in range(2):
        shelf.note_asked(peer(1), Asked.BY_PEER, START)
    assert shelf.asked(peer(1), Asked.BY_PEER, START) == (2, START)
    assert shelf.asked(peer(1), Asked.BY_PEER, START + day_ms) == (0, START)
    assert shelf.asked(peer(1), Asked.OF_PEER, START) == (0, 0)
    with shelf._connection:
        shelf._connection.execute("BEGIN")
        rows = [(n.to_bytes(32, "big"), 1, 1, 1, START + 1 + n) for n in range(RECEIPT_ASKED_PEERS)]
        shelf._connection.executemany("INSERT INTO asked VALUES (?, ?, ?, ?, ?)", rows)
    shelf.note_asked(peer(2), Asked.OPINION, START + 10**9)
    assert shelf.asked(peer(1), Asked.BY_PEER, START + 10**9)[1] == 0
