"""What takes a large part of the data within a week is held twice as long, whatever the order, size or disguise."""

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.errors import LocalError
from backuppeer.host.hold import Asked, Measure, find_doubled, held_s, in_window, spare_bytes
from backuppeer.host.kept import Kept
from backuppeer.host.removal_file import join_removal, parse_name, read_removal
from backuppeer.host.store import Store, open_store
from backuppeer.ids import StoredId
from backuppeer.limits import GIB, HOLD_PERMILLE, HOLD_WINDOW_S
from backuppeer.proof.removals import NO_HEAD, PackDelete, PackWithdraw, sign_removal
from host.host_world import NOW_MS, World, agreement_id
from host.test_removals import LOCK_S, Deeds

A = agreement_id()
TWICE_S = 2 * LOCK_S
WEEK_S = HOLD_WINDOW_S


@pytest.fixture
def deeds(store: Store, world: World):
    made = agree(store, world, LOCK_S)
    yield made
    made.store.close()


def agree(store: Store, world: World, lock_s: int) -> Deeds:
    made = Deeds(store, world, size_bytes=GIB, lock_s=lock_s)
    made.advance()
    return made


def pass_time(deeds: Deeds, seconds: int) -> None:
    deeds.store.sweep.add_age(seconds)


def forget_catalogue(deeds: Deeds) -> None:
    """Lose what the store knows beside its files."""
    directory = deeds.store.directory
    deeds.store.close()
    for path in directory.glob("catalogue.db*"):
        path.unlink()
    deeds.store = open_store(directory, deeds.world.peer, floor_bytes=0)


# --- the store
def test_what_takes_more_than_a_tenth_is_held_twice_as_long_and_what_takes_less_is_not(deeds: Deeds):
    packs = deeds.put(*range(20))
    small = packs[:2]
    assert deeds.store.removals.delete(A, deeds.sign(PackDelete, small), small) == (small, LOCK_S), "a tenth"
    assert deeds.store.removals.list_alarms() == []
    one = packs[2:3]
    assert deeds.store.removals.delete(A, deeds.sign(PackDelete, one), one) == (one, TWICE_S), "more than a tenth"
    assert dict(deeds.deleted()) == dict.fromkeys(packs[:3], TWICE_S), "and what went before in the same week, too"
    assert deeds.store.removals.delete(A, deeds.sign(PackDelete, small), small) == ([], TWICE_S), "asked once more"
    pass_time(deeds, LOCK_S)
    assert deeds.store.sweep.run().packs == 0
    pass_time(deeds, LOCK_S)
    assert deeds.store.sweep.run().packs == 3


def test_many_small_requests_add_up_and_only_those_of_a_week_do(store: Store, world: World):
    deeds = agree(store, world, 20 * WEEK_S)
    packs = iter(deeds.put(*range(100)))
    for count in (9, 9, 8, 7):
        deeds.delete([next(packs) for _ in range(count)])
        pass_time(deeds, WEEK_S)
    assert deeds.store.removals.list_alarms() == [], "never a tenth of what was there a week before"
    for _ in range(6):  # of 67
        deeds.delete([next(packs)])
        pass_time(deeds, 1000)
    assert deeds.store.removals.list_alarms() == []
    last = next(packs)
    deeds.delete([last])
    assert deeds.store.removals.list_alarms()[0].asked_bytes == 7000
    lefts = sorted(left for _, left in deeds.deleted())
    assert lefts[-7:] == [40 * WEEK_S - 1000 * number for number in range(6, -1, -1)]
    assert lefts[-8] == 20 * WEEK_S - WEEK_S - 6000, "what is older than a week is as it was"


def test_a_window_is_measured_by_what_was_there_when_it_began(deeds: Deeds):
    packs = deeds.put(*range(10))
    pass_time(deeds, WEEK_S)
    rubbish = deeds.put(*range(100, 200))
    assert deeds.delete([packs[0]]) == [packs[0]]
    assert dict(deeds.deleted()) == {packs[0]: LOCK_S}, "one of ten that are older than a week"
    deeds.delete([packs[1]])
    assert set(dict(deeds.deleted()).values()) == {TWICE_S}, "rubbish that was sent before does not hide it"
    (alarm,) = deeds.store.removals.list_alarms()
    assert (alarm.asked_bytes, alarm.held_bytes, alarm.percent) == (2000, 10_000, 20), "nor in what is told"
    assert rubbish[0] in deeds.listed()


def test_drafts_are_no_data_neither_in_the_measure_nor_among_what_was_taken(deeds: Deeds):
    packs = deeds.put(*range(10))
    drafts = [put_draft(deeds, seed) for seed in range(100, 150)]
    signed = deeds.sign(PackWithdraw, drafts[:40])
    assert deeds.store.removals.withdraw(A, signed, drafts[:40]) == drafts[:40]
    deeds.delete(drafts[40:])
    assert deeds.store.removals.list_alarms() == [], "what no head named is nobody's data"
    deeds.delete(packs[:2])
    assert dict(deeds.deleted())[packs[0]] == TWICE_S, "and it makes the share of what is data no smaller"


def put_draft(deeds: Deeds, seed: int) -> StoredId:
    from backuppeer.proof.merkle import compute_stored_id  # noqa: PLC0415 - of this helper alone

    data = bytes([seed]) * 1000
    stored = compute_stored_id(data)
    with deeds.store.receive(A, stored, len(data), is_draft=True) as incoming:
        incoming.write(memoryview(data))
        incoming.commit()
    return stored


def test_to_take_deletes_back_and_ask_again_makes_no_hold_shorter(deeds: Deeds):
    packs = deeds.put(*range(10))
    deeds.delete(packs[:5])
    deeds.advance()
    assert deeds.revive(packs[:5]) == packs[:5]
    assert deeds.store.removals.list_alarms() == [], "nothing is to be erased"
    deeds.delete(packs[:1])
    assert dict(deeds.deleted()) == {packs[0]: TWICE_S}


def test_a_store_that_lost_its_catalogue_holds_just_as_long_again(deeds: Deeds):
    packs = deeds.put(*range(20))
    deeds.delete(packs[:1])
    pass_time(deeds, WEEK_S)
    deeds.delete(packs[1:2])
    pass_time(deeds, 5)
    deeds.delete(packs[2:8])
    deeds.put(*range(100, 200))
    before = deeds.store.removals.list_alarms()
    due = dict(deeds.deleted())
    assert due[packs[1]] == TWICE_S - 5
    forget_catalogue(deeds)
    assert deeds.store.removals.list_alarms() == before
    assert {pack: left for pack, left in deeds.deleted() if pack != packs[0]} == {
        pack: left for pack, left in due.items() if pack != packs[0]
    }
    assert dict(deeds.deleted())[packs[0]] == 0, "a week is longer than its lock"
    deeds.reopen()
    assert deeds.store.removals.list_alarms() == before


def test_requests_of_an_earlier_version_are_measured_when_the_catalogue_is_lost(deeds: Deeds):
    packs = deeds.put(*range(20))
    deeds.delete(packs[:5])
    (path,) = deeds.store.directory.rglob("removals/*.delete")
    file = read_removal(path, 1)
    path.write_bytes(join_removal(file.kept))
    forget_catalogue(deeds)
    assert dict(deeds.deleted()) == dict.fromkeys(packs[:5], TWICE_S)


def test_killed_between_the_file_and_the_rows_all_of_the_window_is_doubled_all_the_same(deeds: Deeds, monkeypatch):
    packs = deeds.put(*range(20))
    deeds.delete(packs[:1])

    class Killed(BaseException):
        pass

    def die(*_arguments, **_options):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(type(deeds.store.removals.graveyard), "delete", die)
        with pytest.raises(Killed):
            deeds.delete(packs[1:5])
    deeds.reopen()
    assert dict(deeds.deleted()) == dict.fromkeys(packs[:5], TWICE_S)


def test_an_alarm_says_how_much_of_how_much_and_how_long_and_ends_with_the_hold(deeds: Deeds):
    packs = deeds.put(*range(20))
    deeds.delete(packs[:1])
    pass_time(deeds, 10)
    deeds.delete(packs[1:17])
    (alarm,) = deeds.store.removals.list_alarms()
    assert (alarm.agreement, alarm.first, alarm.last) == (A, 1, 2)
    assert (alarm.asked_bytes, alarm.held_bytes, alarm.percent, alarm.left_s) == (17_000, 20_000, 85, TWICE_S)
    pass_time(deeds, TWICE_S - 10)
    deeds.store.sweep.run()
    assert deeds.store.removals.list_alarms()[0].deleted_bytes == 16_000
    pass_time(deeds, 10)
    deeds.store.sweep.run()
    assert deeds.store.removals.list_alarms() == []


def test_an_alarm_ends_when_all_but_a_little_was_taken_back(deeds: Deeds):
    packs = deeds.put(*range(20))
    deeds.delete(packs)
    deeds.advance()
    deeds.revive(packs[:17])
    assert deeds.store.removals.list_alarms()[0].deleted_bytes == 3000
    deeds.revive(packs[17:18])
    assert deeds.store.removals.list_alarms() == [], "a tenth is left"
    assert dict(deeds.deleted())[packs[18]] == TWICE_S, "and held as long as before"


def test_with_a_lock_of_nothing_nothing_is_held(store: Store, world: World):
    deeds = agree(store, world, 0)
    packs = deeds.put(1, 2)
    assert deeds.store.removals.delete(A, deeds.sign(PackDelete, packs), packs) == (packs, 0)
    assert deeds.store.sweep.run().packs == 2


def test_what_may_be_deleted_at_the_usual_hold_is_told_and_right(deeds: Deeds):
    packs = deeds.put(*range(30))
    assert deeds.store.removals.spare_bytes(A) == 3000
    deeds.delete(packs[:2])
    assert deeds.store.removals.spare_bytes(A) == 1000
    deeds.delete(packs[2:3])
    assert deeds.store.removals.list_alarms() == []
    assert deeds.store.removals.spare_bytes(A) == 0
    deeds.delete(packs[3:4])
    assert deeds.store.removals.list_alarms()


def test_what_is_erased_next_is_told_with_all_of_that_day(deeds: Deeds):
    packs = deeds.put(*range(3))
    assert deeds.store.removals.next_free(A) == (0, 0)
    deeds.delete(packs[:2])
    pass_time(deeds, 10)
    deeds.delete(packs[2:])
    assert deeds.store.removals.next_free(A) == (3000, TWICE_S)
    assert deeds.store.removals.next_free(None) == (3000, TWICE_S)
    assert deeds.store.removals.next_free(agreement_id(2)) == (0, 0)


def test_a_catalogue_of_the_version_before_goes_on_with_its_locks(world: World, directory: Path, monkeypatch):
    from backuppeer.host import catalogue  # noqa: PLC0415 - its schema is set back for a moment
    from backuppeer.host.graveyard import Graveyard  # noqa: PLC0415 - as above

    path = directory.with_name("old.db")
    with monkeypatch.context() as patch:
        patch.setattr(catalogue, "_SCHEMA", catalogue._SCHEMA[:3])
        old = catalogue.open_database(path, catalogue._SCHEMA, synchronous="NORMAL")
        sql = "INSERT INTO packs (agreement, stored, size, due_s, dropped) VALUES (?, ?, ?, ?, ?)"
        rows = [(A, bytes([seed]) * 32, 10, 500 if seed == 0 else None, 3 if seed == 0 else None) for seed in range(10)]
        old.executemany(sql, rows)
        old.execute("UPDATE ages SET age_s = 100")
        old.close()
    opened, is_new = catalogue.open_catalogue(path)
    graveyard = Graveyard(opened)
    assert not is_new
    assert graveyard.measure(A) == Measure(90, 90), "what was there before is old"
    assert [row.left_s for row in graveyard.list_deleted(A, b"", 9)] == [400]
    assert (graveyard.list_alarms(), graveyard.next_free(A)) == ([], (10, 400))
    asked = Asked(7, 100, Measure(90, 90), Measure(20, 20))
    packs = [StoredId(bytes([seed]) * 32) for seed in (1, 2)]
    assert graveyard.delete(A, packs, asked, lock_s=50, head=4) == packs
    assert sorted(row.left_s for row in graveyard.list_deleted(A, b"", 9)) == [100, 100, 400]
    opened.close()
    kept = sqlite3.connect(path.with_name("old.db.v3.bak"))
    assert kept.execute("PRAGMA user_version").fetchone() == (3,)
    kept.close()


# --- the decision alone
SIZES = st.integers(0, 1000)
REQUESTS = st.lists(st.tuples(st.integers(0, WEEK_S), SIZES, SIZES), max_size=12)


def make_row(steps: list[tuple[int, int, int]], held: int) -> list[Asked]:
    """Return requests at ascending ages that each take some of what is held, of which some comes back."""
    rows, age_s = [], 0
    for number, (pause_s, take, more) in enumerate(steps, 1):
        age_s += pause_s
        took = min(take, held)
        rows.append(Asked(number, age_s, Measure(held, held), Measure(took, took)))
        held += more - took
    return rows


@given(steps=REQUESTS, held=st.integers(1, 5000))
def test_just_what_is_over_the_share_in_a_week_is_doubled(steps, held):
    rows = make_row(steps, held)
    for end in range(1, len(rows) + 1):
        window = [row for row in rows[:end] if row.age_s > rows[end - 1].age_s - WEEK_S]
        share = sum(row.took.all_bytes for row in window) * 1000
        is_over = share > HOLD_PERMILLE * window[0].held.all_bytes
        assert find_doubled(rows[:end]) == ({row.number for row in window} if is_over else set())
        assert in_window(rows[:end], rows[end - 1].age_s) == window


@given(steps=REQUESTS, held=st.integers(1, 5000), take=SIZES)
def test_what_is_spare_can_be_deleted_and_not_a_byte_more(steps, held, take):
    rows = make_row(steps, held)
    age_s = rows[-1].age_s if rows else 0
    there = rows[-1].held.all_bytes - rows[-1].took.all_bytes if rows else held
    spare = spare_bytes(rows, age_s, Measure(there, there))
    took = min(take, there)
    further = [*rows, Asked(99, age_s, Measure(there, there), Measure(took, took))]
    if took:
        assert bool(find_doubled(further)) == (took > spare)


def test_nothing_asked_is_nothing_doubled():
    assert find_doubled([]) == set()
    assert (held_s(30, is_doubled=False), held_s(30, is_doubled=True)) == (30, 60)


# --- the file
def test_a_file_says_what_was_measured_and_one_of_before_does_not(tmp_path: Path, world: World):
    packs = [StoredId(bytes([n]) * 32) for n in range(3)]
    signed = sign_removal(PackWithdraw, packs, world.owner, agreement=A, head=NO_HEAD, time_ms=NOW_MS)
    asked = Asked(7, 1, Measure(2, 3), Measure(4, 5))
    for name, given_asked in (("00000007.delete", asked), ("00000007.withdraw", None)):
        path = tmp_path / name
        for kept in (Kept(signed, tuple(packs)), Kept(signed, tuple(packs), b"grant", bytes(64))):
            path.write_bytes(join_removal(kept, given_asked))
            assert read_removal(path, 7) == (kept, given_asked)
        assert str(parse_name(name)) == name
    assert parse_name("7.delete") is None


def test_a_flipped_bit_in_what_was_measured_is_no_request(tmp_path: Path):
    data = join_removal(Kept(b"signed", (StoredId(b"s" * 32),)), Asked(7, 1, Measure(2, 3), Measure(4, 5)))
    path = tmp_path / "00000007.delete"
    for bit in range(8 * 8, 8 * 52):
        path.write_bytes(bytes(byte ^ (1 << bit % 8 if at == bit // 8 else 0) for at, byte in enumerate(data)))
        with pytest.raises(LocalError):
            read_removal(path, 7)
