"""Caps by the day: what is counted, what a restart and a lost catalogue make of it."""

import pytest

from backuppeer.errors import RefusedError
from backuppeer.host import quota as quota_module
from backuppeer.host.daily import DAY_S, Counted
from backuppeer.host.store import open_store
from backuppeer.limits import ENDINGS_PER_DAY, MIB
from backuppeer.proof.notices import sign_notice
from host.host_world import NOW_MS, agreement_id, put_pack

A = agreement_id()


@pytest.fixture
def reopen(store, world):
    """Close the store and open it again, as a restart of the agent does."""
    opened = [store]

    def again():
        directory = opened[-1].directory
        opened[-1].close()
        opened.append(open_store(directory, world.peer, floor_bytes=0))
        return opened[-1]

    yield again
    opened[-1].close()


def test_a_day_goes_on_over_a_restart_and_is_over_when_the_store_is_a_day_older(store, lease, reopen):
    store.daily.add(A, Counted.SENT, 5)
    store.sweep.add_age(DAY_S - 1)
    store = reopen()
    assert store.daily.add(A, Counted.SENT, 7)[1:] == (12, 2)
    assert store.daily.today(A, Counted.ENDED)[1:] == (0, 0), "each is counted alone"
    assert store.daily.today(agreement_id(2), Counted.SENT)[1:] == (0, 0)
    store.sweep.add_age(1)
    assert store.daily.today(A, Counted.SENT) == (DAY_S, 0, 0)
    assert store.daily.add(A, Counted.SENT, 1) == (DAY_S, 1, 1)


def test_who_stores_and_erases_is_held_to_the_rate_of_a_day_also_by_a_host_that_was_started_anew(
    monkeypatch, store, world, reopen
):
    monkeypatch.setattr(quota_module, "STORE_RATE_LEAST_BYTES", 0)
    monkeypatch.setattr(quota_module, "STORE_RATE_FACTOR", 1)
    store.leases.put(world.agree(size_bytes=2 * MIB))
    for number in range(2):
        put_pack(store, bytes([number]) * MIB, piece=MIB)
        store.quota.release(A, MIB, packs=1)  # withdrawn, and erased
    store.sweep.add_age(3600)
    store = reopen()
    store.quota.set_used(A, 0, packs=0)
    with pytest.raises(RefusedError, match=r"took 2 packs of 2\.1 MB within a day, its most; more in 24 h"):
        store.quota.reserve(A, MIB)
    store.sweep.add_age(DAY_S - 3600)
    store.quota.reserve(A, MIB).release()


def end(store, world, last):
    return store.notices.give(A, sign_notice(A, world.owner, last=last, time_ms=NOW_MS))


def test_an_owner_ends_an_agreement_a_few_times_a_day_and_may_always_take_that_back(store, lease, world, reopen):
    for last in range(0, 2 * ENDINGS_PER_DAY, 2):
        assert end(store, world, last) > 0
        assert end(store, world, last) > 0, "the same again is none more"
        assert end(store, world, last + 1) == 0
    store = reopen()
    with pytest.raises(RefusedError, match="ended 8 times within a day, and goes on until tomorrow"):
        end(store, world, 2 * ENDINGS_PER_DAY)
    assert store.notices.left_s(A) is None
    host = sign_notice(A, world.host, last=0, time_ms=NOW_MS)
    assert store.notices.give(A, host) > 0, "our own person is not counted"
    assert store.notices.give(A, sign_notice(A, world.host, last=1, time_ms=NOW_MS)) == 0
    store.sweep.add_age(DAY_S)
    assert end(store, world, 2 * ENDINGS_PER_DAY) > 0
    assert end(store, world, 2 * ENDINGS_PER_DAY + 1) == 0
