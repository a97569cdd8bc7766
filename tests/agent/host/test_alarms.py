"""The host's human hears of mass deletions: in status, in the view of `host`, and in refusals for want of room."""

import pytest

from agent.host.test_removals_over_the_wire import DATA, HELD_S, STORED, delete_directly, sign
from backuppeer.agent.host.alarms import MassDeletion, say_deletion
from backuppeer.agent.host.sweeping import Sweeping
from backuppeer.agent.peers.room import say_date, say_later, say_room
from backuppeer.errors import RefusedError
from backuppeer.proof.removals import PackRevive
from backuppeer.wire.messages import Usage

NOW_MS = 1_795_000_000_000


def test_a_mass_deletion_is_told_once_and_stands_in_status_until_it_is_over(house, owner):
    agreement = owner.agree_with(house)
    sweeping, heard = Sweeping(house.premises, house.clock), []
    sweeping.alarms.on_alarm = heard.append
    sweeping.look()
    assert (heard, sweeping.alarms.list_all()) == ([], [])
    store = delete_directly(house, owner, agreement)
    sweeping.look()
    sweeping.look()
    (found,) = heard
    assert found._replace(asked_ms=0) == MassDeletion(owner.peer, 100, len(DATA), len(DATA), 0, HELD_S, agreement, 1)
    assert found.asked_ms == store.removals.asked_ms(agreement, 1) > 0
    house.state.call(owner.peer, "bob", 1)
    (said,) = sweeping.alarms.describe(house.state)
    assert said.startswith("bob asked to delete 100 % of its data (4 kB) on ")
    assert "ask bob by another way" in said
    house.clock.ms += HELD_S * 1000
    sweeping.look()
    assert sweeping.alarms.describe(house.state) == []
    assert len(heard) == 1


def test_an_alarm_ends_when_the_owner_takes_it_back_and_another_one_is_told_anew(house, owner):
    agreement = owner.agree_with(house)
    sweeping, heard = Sweeping(house.premises, house.clock), []
    sweeping.alarms.on_alarm = heard.append
    store = delete_directly(house, owner, agreement)
    sweeping.look()
    take_back(house, owner, agreement)
    assert store.has(agreement, STORED)
    sweeping.look()
    assert sweeping.alarms.list_all() == []
    assert len(heard) == 1


def take_back(house, owner, agreement):
    from agent.owner.test_heads import INDEX, chain_of, inventory  # noqa: PLC0415 - of this helper alone

    store = house.premises.open()
    chain_of(owner).extend(INDEX, inventory())
    number, signed, grant = owner.state.last_head(owner.keys.repository)
    store.heads.put_head(agreement, signed, grant, signer=house.identity, now_ms=1)
    assert store.removals.revive(agreement, sign(PackRevive, owner, agreement, (number, signed)), [STORED])


def test_one_that_was_seen_is_not_repeated_until_more_is_asked_for_and_the_hold_stays(house, owner, monkeypatch):
    agreement = owner.agree_with(house)
    alarms = Sweeping(house.premises, house.clock).alarms
    assert alarms.see(house.state) == []
    store = delete_directly(house, owner, agreement)
    (said,) = alarms.describe(house.state)
    assert said.endswith("can have everything back. `backup-peer status --seen` when you have taken note")
    due = store.removals.next_free(agreement)
    assert [found.agreement for found in alarms.see(house.state)] == [agreement]
    assert (alarms.describe(house.state), alarms.list_new(house.state), alarms.see(house.state)) == ([], [], [])
    assert store.removals.next_free(agreement) == due
    assert len(alarms.list_all()) == 1
    # As long as the store is away nothing is forgotten.
    away = house.premises.directory.with_name("unplugged")
    house.premises.directory.rename(away)
    assert alarms.see(house.state) == []
    away.rename(house.premises.directory)
    assert alarms.list_new(house.state) == []
    removals = house.premises.open().removals
    (alarm,) = removals.list_alarms()
    monkeypatch.setattr(removals, "list_alarms", lambda: [alarm._replace(last=alarm.last + 1)])
    assert len(alarms.list_new(house.state)) == 1


def test_one_that_goes_on_is_told_again_when_it_has_grown_by_much(house, owner, monkeypatch):
    owner.agree_with(house)
    sweeping, heard = Sweeping(house.premises, house.clock), []
    sweeping.alarms.on_alarm = lambda found: heard.append(found.percent)
    store = house.premises.open()
    (lease,) = store.leases.list_all()
    from backuppeer.host.hold import Alarm  # noqa: PLC0415 - of this test alone

    for percent in (11, 12, 20, 21, 40, 41, 50, 51):
        alarm = Alarm(lease.agreement, 1, percent, percent, 100, percent, 5)
        monkeypatch.setattr(store.removals, "list_alarms", lambda alarm=alarm: [alarm])
        sweeping.alarms.look(store)
    assert heard == [11, 21, 40, 50]


def test_while_the_store_is_away_there_is_nothing_to_tell_and_nothing_fails(house, owner):
    agreement = owner.agree_with(house)
    delete_directly(house, owner, agreement)
    alarms = Sweeping(house.premises, house.clock).alarms
    house.premises.directory.rename(house.premises.directory.with_name("unplugged"))
    assert alarms.list_all() == []


def test_a_refusal_for_want_of_room_says_what_is_free_now_and_what_when(house, owner):
    agreement = owner.agree_with(house)
    store = delete_directly(house, owner, agreement)
    until = say_date(house.clock.now_ms(), HELD_S)
    with pytest.raises(RefusedError, match=rf"agreement is full: .* free now, 4 kB more on {until} at the soonest"):
        store.quota.reserve(agreement, 100 << 20)
    with pytest.raises(RefusedError, match=rf"wanted, 4 kB more on {until}"):
        store.quota.set_limit(agreement, 10)


def test_dates_are_told_to_the_minute_only_when_they_are_near():
    assert say_date(NOW_MS, 30 * 86400) == "2026-12-18"
    assert say_date(NOW_MS, 3600) == "2026-11-18 12:06 UTC"
    assert say_later(0, 5, NOW_MS) == ""
    usage = Usage(size_bytes=9, used_bytes=8, packs=1, free_bytes=1, next_free_bytes=2_000_000, next_free_s=864_000)
    assert say_room(usage, NOW_MS) == "1 B free now, 2 MB more on 2026-11-28 at the soonest"
    assert say_room(Usage(size_bytes=9, used_bytes=8, packs=1, free_bytes=1), NOW_MS) == "1 B free now"


def test_a_host_that_names_the_end_of_time_gets_a_date_all_the_same():
    usage = Usage(size_bytes=9, used_bytes=8, packs=1, free_bytes=1, next_free_bytes=9, next_free_s=2**63 - 1)
    assert "9 B more on 2126-" in say_room(usage, NOW_MS)


def test_the_sentence_names_the_way_out():
    found = MassDeletion(b"o" * 32, 83, 41 * 10**9, 41 * 10**9, NOW_MS, 60 * 86400, b"a" * 16, 1)
    assert say_deletion(found, "bob", NOW_MS) == (
        "bob asked to delete 83 % of its data (41 GB) on 2026-11-18 11:06 UTC; it is kept until 2027-01-17 at the "
        "soonest. Unless you know why, ask bob by another way: with the command peers undelete it can have "
        "everything back"
    )
