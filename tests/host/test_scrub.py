"""A host reads all of its store in time, goes on where it was, and finds what no owner has asked for."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.errors import StoreUnavailable
from backuppeer.host.scrub import Progress, count_pause
from backuppeer.host.store import open_store
from backuppeer.limits import GIB, SCRUB_BYTES_PER_S, SCRUB_DAY_LEAST_BYTES, SCRUB_DAYS, SCRUB_LOOK_S, SCRUB_REST_S
from backuppeer.proof.custody import LossCause
from backuppeer.proof.removals import PackDelete
from host.host_world import NOW_MS, agreement_id, put_pack
from host.losing import change, flip, pack_path, reports, settle

A, B = agreement_id(), agreement_id(2)
DAY_MS = 86_400_000
REST_MS = SCRUB_REST_S * 1000


@pytest.fixture
def packs(store, world, lease, rng):
    """Six packs of two agreements, in the order in which they are read; the first agreement has a head."""
    store.leases.put(world.agree(2, size_bytes=2**20))
    store.heads.put_head(A, world.head(1), world.grant(), signer=world.host, now_ms=NOW_MS)
    return [
        (agreement, stored)
        for agreement in (A, B)
        for stored in sorted(put_pack(store, rng.randbytes(20_000), agreement) for _ in range(3))
    ]


def scrub(store, *, now_ms=NOW_MS, total_bytes=120_000):
    return store.scrub.step(now_ms=now_ms, total_bytes=total_bytes)


def read_on(store, count, **changes):
    """Take so many steps and return which packs were read."""
    read = []
    for _ in range(count):
        if scrub(store, **changes).read_bytes:
            progress = store.scrub.progress()
            read.append((progress.agreement, progress.stored))
    return read


def test_every_pack_is_read_once_and_then_there_is_rest(store, packs):
    assert read_on(store, 6) == packs
    assert scrub(store).pause_s == 0, "the round is over"
    assert scrub(store).pause_s == SCRUB_LOOK_S
    assert read_on(store, 8, now_ms=NOW_MS + REST_MS - 1) == []
    assert read_on(store, 6, now_ms=NOW_MS + REST_MS) == packs


def test_it_goes_on_where_it_was_after_a_restart_and_anew_without_a_catalogue(directory, store, world, packs):
    assert read_on(store, 2) == packs[:2]
    store.close()
    again = open_store(directory, world.peer, floor_bytes=0)
    assert read_on(again, 4) == packs[2:]
    again.close()
    for path in directory.glob("catalogue.db*"):
        path.unlink()
    anew = open_store(directory, world.peer, floor_bytes=0)
    assert read_on(anew, 6) == packs
    anew.close()


def test_it_reads_slowly(store, packs):
    assert scrub(store).pause_s == 20_000 / SCRUB_BYTES_PER_S


def test_a_store_without_packs_is_looked_at_now_and_then_and_its_first_pack_soon(store, world, lease, rng):
    assert scrub(store).pause_s == SCRUB_LOOK_S
    put_pack(store, rng.randbytes(100))
    assert len(read_on(store, 1)) == 1


@pytest.mark.parametrize("harm", ["flipped", "gone", "shorter", "empty"])
def test_what_the_disk_spoiled_is_found_and_reported_without_being_asked(store, world, packs, harm):
    _, stored = packs[1]
    path = pack_path(store, stored)
    match harm:
        case "flipped":
            flip(store, stored, 19_999)
        case "gone":
            path.unlink()
        case _:
            os.truncate(path, 7 if harm == "shorter" else 0)
    assert [scrub(store).suspected for _ in range(6)] == [None, A, *[None] * 4]
    assert settle(store, world) == [stored]
    cause = LossCause.MISSING if harm == "gone" else LossCause.DAMAGED
    assert reports(store, world) == [(cause, {stored})]
    scrub(store)
    read_on(store, 7, now_ms=NOW_MS + REST_MS)
    assert settle(store, world) == [], "reported once"


def test_two_packs_that_were_swapped_are_found(store, world, packs):
    (_, one), (_, two) = packs[:2]
    paths = [pack_path(store, one), pack_path(store, two)]
    for path, content in zip(paths, [path.read_bytes() for path in reversed(paths)], strict=True):
        path.write_bytes(content)
    read_on(store, 6)
    assert settle(store, world) == sorted([one, two])


def test_a_torn_file_of_leaf_hashes_is_written_anew(store, packs):
    path = pack_path(store, packs[0][1])
    leaves = path.with_name(path.name + ".leaves")
    before = leaves.read_bytes()
    leaves.write_bytes(before[:-1])
    read_on(store, 1)
    assert leaves.read_bytes() == before


def test_a_deleted_pack_is_read_as_well_but_its_loss_is_no_loss(store, world, packs):
    change(store, world, PackDelete, "delete", packs[0][1])
    flip(store, packs[0][1])
    step = scrub(store)
    assert (step.suspected, step.read_bytes) == (A, 20_000)
    assert step.trouble, "its host's human is told of the disk all the same"
    assert settle(store, world) == []


def test_a_pack_that_is_whole_again_is_lost_no_more(store, world, packs):
    _, stored = packs[0]
    flip(store, stored)
    read_on(store, 1)
    settle(store, world)
    flip(store, stored)
    assert not store.has(A, stored)
    read_on(store, 6)
    read_on(store, 1, now_ms=NOW_MS + REST_MS)
    assert store.has(A, stored)


def test_a_bad_sector_is_told_and_holds_up_nothing(store, world, packs, monkeypatch):
    bad = pack_path(store, packs[0][1]).stat().st_ino
    read = os.preadv

    def fail(descriptor, buffers, offset):
        if os.fstat(descriptor).st_ino == bad:
            raise OSError(5, "Input/output error")
        return read(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", fail)
    step = scrub(store)
    assert (step.suspected, packs[0][1].hex() in step.trouble) == (None, True)
    assert read_on(store, 5) == packs[1:]
    assert settle(store, world) == []


def test_a_store_that_is_away_is_read_later(directory, store, packs):
    read_on(store, 1)
    directory.rename(directory.with_name("unplugged"))
    with pytest.raises(StoreUnavailable):
        scrub(store)
    directory.with_name("unplugged").rename(directory)
    assert read_on(store, 5) == packs[1:]


# --- the pace
def test_a_day_s_share_is_read_and_no_more():
    total = 600 * GIB
    share = total // SCRUB_DAYS
    progress = Progress(NOW_MS // DAY_MS, share - 1, NOW_MS, A, b"s" * 32)
    assert count_pause(progress, NOW_MS, total) == 0
    assert 0 < count_pause(progress._replace(size_bytes=share), NOW_MS, total) <= SCRUB_LOOK_S
    assert count_pause(progress._replace(size_bytes=share), NOW_MS + DAY_MS, total) == 0
    assert count_pause(progress._replace(size_bytes=SCRUB_DAY_LEAST_BYTES - 1), NOW_MS, 2 * GIB) == 0


def test_a_clock_that_was_ahead_does_not_end_the_reading():
    later = Progress(NOW_MS // DAY_MS + 300, 2**50, NOW_MS + 300 * DAY_MS, b"", b"")
    assert count_pause(later, NOW_MS, GIB) == 0


@given(total=st.integers(1, 2**44), pack_bytes=st.integers(2**34, 2**38))
def test_all_of_a_store_is_read_within_the_days_that_are_promised(total, pack_bytes):
    read, day = 0, NOW_MS // DAY_MS
    progress = Progress(day, 0, NOW_MS, A, b"s" * 32)
    for now_ms in range(NOW_MS, NOW_MS + SCRUB_DAYS * DAY_MS, DAY_MS):
        today = 0
        progress = progress._replace(day=now_ms // DAY_MS, size_bytes=0)
        while count_pause(progress, now_ms, total) == 0 and today < total:
            today += pack_bytes
            progress = progress._replace(size_bytes=today)
        read += today
    assert read >= total
