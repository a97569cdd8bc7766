"""The quota is exact: under threads, in its order of refusals, and after a crash."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.errors import NotFoundError, RefusedError
from backuppeer.host import quota as quota_module
from backuppeer.host import store as store_module
from backuppeer.host.quota import Quota, Reservation, leaves_bytes
from backuppeer.host.store import create_store, open_store
from backuppeer.ids import StoredId
from backuppeer.limits import AGREEMENT_PACKS_MIN, FREE_DISK_FLOOR_BYTES, GIB, KIB, MIB, PACKS_PER_GIB
from host.host_world import agreement_id, put_pack

A, B = agreement_id(1), agreement_id(2)


def make_quota(*, limit: int = 10 * MIB, disk: int = 100 * GIB, floor: int = 0, offered: int | None = None) -> Quota:
    quota = Quota(free_disk=lambda: disk, floor_bytes=floor, offered_bytes=offered)
    quota.set_limit(A, limit)
    return quota


def test_threads_together_never_get_more_than_was_agreed() -> None:
    quota = make_quota(limit=1000 * KIB, offered=1000 * KIB)
    granted: list[Reservation] = []
    lock = threading.Lock()
    start = threading.Barrier(8)

    def grab() -> None:
        start.wait()
        for turn in range(200):
            try:
                reservation = quota.reserve(A, 17 * KIB)
            except RefusedError:
                continue
            if turn % 3 == 0:
                reservation.release()
                continue
            reservation.commit()
            reservation.commit()
            with lock:
                granted.append(reservation)

    threads = [threading.Thread(target=grab) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    usage = quota.usage(A)
    assert usage.used_bytes == len(granted) * 17 * KIB <= 1000 * KIB
    assert usage.packs == len(granted) == 1000 // 17
    assert (usage.reserved_bytes, usage.free_bytes) == (0, 1000 * KIB - usage.used_bytes)


@given(st.lists(st.tuples(st.integers(1, 4 * MIB), st.sampled_from(["commit", "release", "keep"])), max_size=60))
def test_what_is_used_reserved_and_free_always_adds_up(steps) -> None:
    quota = make_quota()
    used = reserved = packs = 0
    for size, end in steps:
        if size > 10 * MIB - used - reserved:
            with pytest.raises(RefusedError):
                quota.reserve(A, size)
            continue
        reservation = quota.reserve(A, size)
        if end == "keep":
            reserved += size
            continue
        getattr(reservation, end)()
        reservation.release()
        used += size if end == "commit" else 0
        packs += end == "commit"
    usage = quota.usage(A)
    assert (usage.used_bytes, usage.reserved_bytes, usage.packs) == (used, reserved, packs)
    assert usage.free_bytes == 10 * MIB - used - reserved


def test_refusals_come_in_their_order() -> None:
    quota = make_quota(limit=2 * MIB, offered=3 * MIB, disk=MIB)
    with pytest.raises(RefusedError, match=r"agreement is full: 2\.09 MB free now"):
        quota.reserve(A, 2 * MIB + 1)
    with pytest.raises(RefusedError, match=r"disk is nearly full: 1\.04 MB free now"):
        quota.reserve(A, MIB)
    quota.set_offered(MIB // 2)
    with pytest.raises(RefusedError, match=r"store is full: 524 kB free now"):
        quota.reserve(A, 2 * MIB)
    quota.set_used(A, 10, packs=AGREEMENT_PACKS_MIN)
    with pytest.raises(RefusedError, match="0 packs free now"):
        quota.reserve(A, MIB)


@pytest.mark.parametrize(("limit", "packs"), [(MIB, AGREEMENT_PACKS_MIN), (2 * GIB, 2 * PACKS_PER_GIB)])
def test_an_agreement_holds_only_so_many_packs(limit: int, packs: int) -> None:
    quota = make_quota(limit=limit)
    quota.set_used(A, packs - 1, packs=packs - 1)
    quota.reserve(A, 1)
    with pytest.raises(RefusedError, match=f"{packs} packs"):
        quota.reserve(A, 1)


def test_the_floor_of_the_disk_counts_what_is_still_to_come() -> None:
    quota = make_quota(disk=MIB + 100 * KIB, floor=MIB)
    quota.reserve(A, 60 * KIB)
    with pytest.raises(RefusedError, match=r"40\.9 kB free now"):
        quota.reserve(A, 60 * KIB)


@pytest.mark.parametrize("reopen", [False, True])
def test_a_store_leaves_a_gibibyte_of_the_disk_free_unless_told_otherwise(
    directory, world, monkeypatch, reopen
) -> None:
    room = 10 * KIB + leaves_bytes(10 * KIB)
    monkeypatch.setattr(store_module, "free_bytes", lambda _: FREE_DISK_FLOOR_BYTES + room)
    store = create_store(directory, world.peer)
    if reopen:
        store.close()
        store = open_store(directory, world.peer)
    try:
        store.leases.put(world.agree())
        with pytest.raises(RefusedError, match="disk is nearly full"):
            store.receive(A, StoredId(b"s" * 32), 10 * KIB + 1)
        store.receive(A, StoredId(b"s" * 32), 10 * KIB).abort()
    finally:
        store.close()
    quota = Quota(free_disk=lambda: FREE_DISK_FLOOR_BYTES + room)
    quota.set_limit(A, MIB)
    with pytest.raises(RefusedError, match="disk is nearly full"):
        quota.reserve(A, 10 * KIB + 1)
    quota.reserve(A, 10 * KIB)


def test_the_whole_store_never_holds_more_than_is_offered() -> None:
    quota = make_quota(limit=6 * MIB, offered=10 * MIB)
    with pytest.raises(RefusedError, match=r"offers less: 4\.19 MB free now"):
        quota.set_limit(B, 5 * MIB)
    quota.set_limit(B, 4 * MIB)
    quota.set_offered(2 * MIB)
    quota.reserve(B, MIB)
    with pytest.raises(RefusedError, match=r"store is full: 1\.04 MB free now"):
        quota.reserve(A, MIB + 1)


def test_an_agreement_does_not_shrink_below_what_it_holds() -> None:
    quota = make_quota()
    quota.set_used(A, 3 * MIB, packs=1)
    quota.reserve(A, MIB)
    with pytest.raises(RefusedError, match=r"4\.19 MB are stored"):
        quota.set_limit(A, 4 * MIB - 1)
    assert quota.set_limit(A, 4 * MIB) == 10 * MIB


def test_bytes_without_a_living_agreement_still_count_for_the_store() -> None:
    quota = make_quota(offered=20 * MIB)
    quota.set_used(B, 15 * MIB, packs=1)
    with pytest.raises(NotFoundError):
        quota.reserve(B, 1)
    with pytest.raises(RefusedError, match="store is full"):
        quota.reserve(A, 6 * MIB)
    assert (quota.totals().agreements, quota.totals().used_bytes) == (1, 15 * MIB)


def test_a_crash_forgets_reservations_and_keeps_what_was_committed(directory, world) -> None:
    store = create_store(directory, world.peer, floor_bytes=0)
    store.leases.put(world.agree())
    put_pack(store, b"x" * 1000)
    incoming = store.receive(A, StoredId(b"s" * 32), 5000)
    incoming.write(b"half")
    assert store.usage(A).reserved_bytes == 5000
    store.close()
    again = open_store(directory, world.peer, floor_bytes=0)
    try:
        usage = again.usage(A)
        assert (usage.used_bytes, usage.reserved_bytes, usage.packs) == (1000, 0, 1)
        assert not any((directory / "incoming").iterdir())
    finally:
        again.close()


def test_leaves_take_32_bytes_for_each_16_kib_begun() -> None:
    assert [leaves_bytes(n) for n in (1, 16 * KIB, 16 * KIB + 1)] == [32, 32, 64]


# --- the rate
def churn(quota: Quota, size: int = 1 * MIB, times: int = 10**6) -> int:
    """Store and erase again until that is refused; return how often it was taken."""
    for turn in range(times):
        try:
            quota.reserve(A, size).commit()
        except RefusedError:
            return turn
        quota.release(A, size, packs=1)
    return times


def test_who_stores_and_erases_again_and_again_wears_out_no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota_module, "STORE_RATE_LEAST_BYTES", 3 * MIB)
    quota, now = make_quota(limit=2 * MIB), [0.0]
    quota.now_s = lambda: now[0]
    assert churn(quota) == 4 * 2 + 3
    now[0] += quota_module.STORE_RATE_S - 1
    with pytest.raises(RefusedError, match=r"11 packs of 11\.5 MB within a day, its most; more in 1 h"):
        quota.reserve(A, 1 * MIB)
    quota.reserve(A, 1 * MIB, is_list=True).release()
    now[0] += 1
    assert churn(quota) == 4 * 2 + 3


def test_endless_tiny_packs_are_refused_by_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota_module, "STORE_RATE_LEAST_PACKS", 5)
    quota = make_quota()
    quota.now_s = lambda: 0.0
    assert churn(quota, size=1) == 4 * AGREEMENT_PACKS_MIN + 5


def test_what_is_given_up_before_it_is_durable_counts_in_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota_module, "STORE_RATE_LEAST_BYTES", 0)
    quota = make_quota(limit=1 * MIB)
    quota.now_s = lambda: 0.0
    for _ in range(100):
        quota.reserve(A, 1 * MIB).release()
    assert churn(quota) == 4


def test_all_that_was_agreed_fits_into_the_first_day() -> None:
    quota = make_quota(limit=64 * MIB)
    for _ in range(AGREEMENT_PACKS_MIN):
        quota.reserve(A, 1 * MIB).commit()
    assert quota.usage(A).free_bytes == 0
