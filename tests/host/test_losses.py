"""What a host lost of a real store: written down, signed, kept, and its room."""

import os
import shutil
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.errors import LocalError
from backuppeer.host import catalogue
from backuppeer.host import losses as losses_module
from backuppeer.host.losses import join_report, split_report
from backuppeer.host.reader import DamagedPackError
from backuppeer.host.store import open_store
from backuppeer.ids import StoredId
from backuppeer.limits import LOSS_KEPT_S
from backuppeer.proof.audits import Sample
from backuppeer.proof.custody import LossCause
from backuppeer.proof.removals import PackDelete, PackRevive, PackWithdraw
from host.host_world import NOW_MS, put_pack
from host.losing import A, ack, audit, change, flip, pack_path, put_head, reports, settle


# --- reports
def test_a_report_survives_a_restart_and_the_loss_of_the_catalogue(directory, store, world, kept):
    small, large, tiny = kept
    pack_path(store, small).unlink()
    flip(store, large)
    ack(store, world, small)
    audit(store, world, Sample(large, 0, 1))
    settle(store, world)
    before = reports(store, world)
    assert {cause for cause, _ in before} == {LossCause.MISSING, LossCause.DAMAGED}
    for is_lost in (False, True):
        store.close()
        if is_lost:
            for path in directory.glob("catalogue.db*"):
                path.unlink()
        store = open_store(directory, world.peer, floor_bytes=0)
        assert reports(store, world) == before
        assert [row.stored for row in store.list_packs(A)] == [tiny]
        assert settle(store, world) == [], "nothing is reported twice"
    store.close()


def test_a_pack_that_was_stored_again_is_not_lost_anew_when_the_catalogue_is(directory, store, world, kept):
    _, large, _ = kept
    flip(store, large)
    audit(store, world, Sample(large, 0, 1))
    settle(store, world)
    put_pack(store, kept[large])
    store.close()
    for path in directory.glob("catalogue.db*"):
        path.unlink()
    again = open_store(directory, world.peer, floor_bytes=0)
    assert again.has(A, large)
    again.close()


def test_packs_that_are_gone_when_the_store_is_opened_are_reported_once_they_were_looked_for_again(
    directory, store, world, kept
):
    small, large, _ = kept
    store.close()
    for stored in (small, large):
        path = next(directory.rglob(stored.hex()))
        shutil.move(path, directory.parent / stored.hex())
    again = open_store(directory, world.peer, floor_bytes=0)
    assert again.losses.list_suspected() == [A]
    shutil.move(directory.parent / large.hex(), next(directory.rglob(large.hex()[:2])) / large.hex())
    assert settle(again, world) == [small], "what is back is not lost"
    assert reports(again, world) == [(LossCause.MISSING, {small})]
    again.close()


def test_what_the_owner_asked_to_remove_is_never_lost(store, world, kept, rng):
    small, large, tiny = kept
    change(store, world, PackDelete, "delete", small)
    change(store, world, PackDelete, "delete", large)
    change(store, world, PackWithdraw, "withdraw", tiny)
    put_head(store, world, 2)
    change(store, world, PackRevive, "revive", large)
    for stored in (small, large):
        pack_path(store, stored).unlink()
    store.losses.suspect(A, [small, large])
    assert settle(store, world) == [large], "it was taken back, so it had to be kept"


def test_a_pack_found_whole_when_it_is_read_again_is_no_loss(store, world, kept):
    store.losses.suspect(A, list(kept))
    assert settle(store, world) == []
    assert ack(store, world, *kept)[1] == list(kept)


def test_a_damaged_report_is_passed_over(store, world, kept):
    small, large, _ = kept
    for stored in (small, large):
        pack_path(store, stored).unlink()
        store.losses.suspect(A, [stored])
        settle(store, world)
    path = next(store.directory.rglob("losses/00000001"))
    path.write_bytes(path.read_bytes()[:-1])
    found, more = store.losses.list_reports(A, after=0, limit=6)
    assert ([one.number for one in found], more) == ([2], False)


def test_reports_come_in_pages(store, world, lease, rng):
    store.heads.put_head(A, world.head(1), world.grant(), signer=world.host, now_ms=NOW_MS)
    for _ in range(5):
        stored = put_pack(store, rng.randbytes(100))
        pack_path(store, stored).unlink()
        store.losses.suspect(A, [stored])
        settle(store, world)
    page, more = store.losses.list_reports(A, after=0, limit=3)
    assert ([one.number for one in page], more) == ([1, 2, 3], True)
    page, more = store.losses.list_reports(A, after=3, limit=3)
    assert ([one.number for one in page], more) == ([4, 5], False)


def test_a_pack_that_can_t_be_read_again_stays_suspected_and_the_others_are_reported(store, world, kept, monkeypatch):
    small, large, _ = kept
    pack_path(store, small).unlink()
    bad, read = pack_path(store, large).stat().st_ino, os.preadv

    def fail(descriptor, buffers, offset):
        if os.fstat(descriptor).st_ino == bad:
            raise OSError(5, "Input/output error")
        return read(descriptor, buffers, offset)

    store.losses.suspect(A, [small, large])
    with monkeypatch.context() as patch:
        patch.setattr(os, "preadv", fail)
        assert settle(store, world) == [small]
    assert not store.has(A, large)
    assert settle(store, world) == []
    assert store.has(A, large), "it is whole"


def test_reports_have_a_cap_beyond_which_a_loss_is_only_listed_no_more(store, world, kept, monkeypatch):
    monkeypatch.setattr(losses_module, "LOSS_REPORTS_PER_AGREEMENT", 1)
    small, large, _ = kept
    for stored in (small, large):
        pack_path(store, stored).unlink()
    store.losses.suspect(A, [small])
    assert settle(store, world) == [small]
    store.losses.suspect(A, [large])
    with pytest.raises(LocalError):
        settle(store, world)
    assert not store.has(A, large)
    assert settle(store, world) == [], "nothing is read again and again"
    assert reports(store, world) == [(LossCause.MISSING, {small})]


# --- the room of what is lost
def lose_all(store, world, kept):
    for stored in kept:
        flip(store, stored)
    store.losses.suspect(A, kept)
    assert len(settle(store, world)) == len(kept)


def recounted(directory, store, world, *, is_lost=False):
    store.close()
    for path in directory.glob("catalogue.db*") if is_lost else ():
        path.unlink()
    return open_store(directory, world.peer, floor_bytes=0)


def test_what_is_lost_counts_as_used_no_more_so_that_its_owner_can_send_it_again(directory, store, world, kept):
    lose_all(store, world, kept)
    assert (store.usage(A).used_bytes, store.usage(A).packs) == (0, 0)
    for is_lost in (False, True):
        store = recounted(directory, store, world, is_lost=is_lost)
        assert (store.usage(A).used_bytes, store.usage(A).packs) == (0, 0)
    store.close()


def test_a_lost_pack_that_its_owner_deletes_is_erased_and_the_room_counted_right(directory, store, world, kept):
    small, large, tiny = kept
    lose_all(store, world, [large])
    change(store, world, PackDelete, "delete", small, large)
    assert store.usage(A).packs == 2
    store.sweep.add_age(10_000)
    assert store.sweep.run().packs == 2
    assert (store.usage(A).used_bytes, store.usage(A).packs) == (len(kept[tiny]), 1)
    again = recounted(directory, store, world)
    assert again.usage(A).packs == 1
    again.close()


def test_a_pack_that_is_found_whole_counts_again(directory, store, world, kept):
    _, large, _ = kept
    used = store.usage(A)
    lose_all(store, world, [large])
    flip(store, large)
    store.losses.clear(A, large)
    assert store.usage(A) == used
    again = recounted(directory, store, world)
    assert again.usage(A) == used
    again.close()


def test_what_is_left_of_a_damaged_pack_is_erased_after_a_long_time_unless_it_is_whole(store, world, kept):
    small, large, _ = kept
    lose_all(store, world, [small, large])
    used = store.usage(A)
    store.sweep.add_age(LOSS_KEPT_S - 1)
    assert (store.sweep.run().packs, pack_path(store, large).exists()) == (0, True)
    flip(store, large)
    store.sweep.add_age(1)
    assert store.sweep.run().packs == 1
    assert not list(store.directory.rglob(small.hex() + "*"))
    assert store.has(A, large), "it was read before it would have been erased"
    assert store.usage(A).packs == used.packs + 1
    assert store.sweep.run().packs == 0
    assert reports(store, world) == [(LossCause.DAMAGED, {small, large})], "what was said stands"


def test_a_damaged_pack_whose_file_goes_as_well_is_not_counted_twice(store, world, kept):
    small, *_ = kept
    lose_all(store, world, [small])
    used = store.usage(A)
    pack_path(store, small).unlink()
    with pytest.raises(DamagedPackError):
        store.open_pack(A, small)
    assert store.usage(A) == used


PACKS = st.lists(st.binary(min_size=32, max_size=32).map(StoredId), min_size=1, max_size=20)


@given(signed=st.binary(max_size=300), packs=PACKS)
def test_the_file_of_a_report_says_what_was_written(signed, packs):
    assert split_report(join_report(signed, packs)) == (signed, tuple(packs))


@given(data=st.binary(max_size=200))
def test_what_is_no_report_is_refused(data):
    for candidate in (data, b"BPLOSS1\n" + data):
        with suppress(ValueError):
            signed, packs = split_report(candidate)
            assert join_report(signed, packs) == candidate


def test_a_catalogue_of_the_version_before_goes_on(world, directory, monkeypatch, rng):
    with monkeypatch.context() as patch:
        patch.setattr(catalogue, "_SCHEMA", catalogue._SCHEMA[:4])
        path = directory.with_name("old.db")
        old = catalogue.open_database(path, catalogue._SCHEMA, synchronous="NORMAL")
        old.execute("INSERT INTO packs (agreement, stored, size) VALUES (?, ?, 10)", (A, b"s" * 32))
        old.close()
    opened, is_new = catalogue.open_catalogue(path)
    assert not is_new
    assert opened.list_packs(A, b"", 9) == [(b"s" * 32, 10)]
    opened.suspect(A, [StoredId(b"s" * 32)])
    assert opened.list_packs(A, b"", 9) == []
    opened.close()
    assert path.with_name("old.db.v4.bak").exists()
