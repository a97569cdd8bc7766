"""What a host is told of: mass deletions, its disk, what it lost."""

import asyncio
import shutil
from types import SimpleNamespace

import pytest

from agent.host.test_removals_over_the_wire import delete_directly
from agent.host.test_scrubbing import scenario_of, scrubbing_of
from backuppeer.agent.host.sweeping import Sweeping
from backuppeer.agent.host.waived import Deed, Word
from backuppeer.agent.overview import hosted
from backuppeer.host.losses import LossCount
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import FREE_DISK_FLOOR_BYTES

GROWTH = [(1, 2), (1, 5000), (2, 2)]
"""The owner, and how many packs of it are lost."""


def test_a_mass_deletion_is_told_until_it_was_seen(house, owner):
    agreement = owner.agree_with(house)
    sweeping = Sweeping(house.premises, house.clock)
    assert list(hosted.find_deletions(sweeping, house.state)) == []
    delete_directly(house, owner, agreement)
    house.state.call(owner.peer, "bob", 1)
    (found,) = hosted.find_deletions(sweeping, house.state)
    assert (found.key, found.stage) == (f"deletion:{agreement.hex()}", "10")
    assert found.text.startswith("bob asked to delete 100 % of its data")
    sweeping.alarms.see(house.state)
    assert list(hosted.find_deletions(sweeping, house.state)) == []


@pytest.mark.parametrize(
    ("free", "stage"),
    [
        (2 * FREE_DISK_FLOOR_BYTES + 1, None),
        (2 * FREE_DISK_FLOOR_BYTES, "low"),
        (FREE_DISK_FLOOR_BYTES + 1, "low"),
        (FREE_DISK_FLOOR_BYTES, "full"),
    ],
)
def test_a_disk_that_gets_full_is_told_before_anybody_is_refused_and_then_again(house, monkeypatch, free, stage):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert [found.stage for found in hosted.find_disk(house.premises)] == ([stage] if stage else [])


def test_a_store_that_is_away_is_told_after_an_hour_and_names_no_folder(house, tmp_path):
    (tmp_path / "host" / "store").rename(tmp_path / "elsewhere")
    (found,) = hosted.find_disk(house.premises)
    assert (found.key, found.grace_s) == ("store", 3600)
    assert str(tmp_path) not in f"{found.text}{found.fix}"


def test_a_sentence_that_counts_on_stays_the_same_trouble():
    assert hosted.digest_text("3 packs lost on 2026-11-29") == hosted.digest_text("17 packs lost on 2026-12-01")
    assert hosted.digest_text("3 packs of bob") != hosted.digest_text("3 packs of alice")


def test_what_an_owner_had_erased_at_once_is_told_until_it_was_seen(house, owner):
    agreement, waived = owner.agree_with(house), house.waiving.waived
    house.state.call(owner.peer, "bob", 1)
    waived.add(Word(owner=owner.peer, agreement=agreement, deed=Deed.PURGED, time_ms=0, size_bytes=7))
    (found,) = hosted.find_waived(waived)
    assert found.text.startswith("bob had its deleted data (7 B) erased at once")
    waived.see()
    assert list(hosted.find_waived(waived)) == []


def test_deeds_of_two_owners_whose_names_differ_by_a_digit_alone_are_two_troubles(house):
    waived = house.waiving.waived
    for number in (1, 2):
        house.state.call(PeerId(bytes([number]) * 32), f"nas{number}", 1)
        waived.add(
            Word(owner=bytes([number]) * 32, agreement=bytes([number]) * 16, deed=Deed.ENDED, time_ms=0, size_bytes=7)
        )
    first, second = hosted.find_waived(waived)
    assert first.key != second.key
    more = Word(owner=bytes([1]) * 32, agreement=bytes([1]) * 16, deed=Deed.ENDED, time_ms=0, size_bytes=7000)
    waived.add(more)
    grown = next(found for found in hosted.find_waived(waived) if found.key == first.key)
    assert grown.stage != first.stage


def test_what_the_own_disk_lost_is_told_of_each_owner_and_again_when_it_is_twice_as_much():
    counts = [(LossCount(AgreementId(bytes([number]) * 16), packs, 0), f"nas{number}") for number, packs in GROWTH]
    scrubbing = SimpleNamespace(list_losses=lambda _: counts)
    small, large, other = hosted.find_losses(scrubbing, None)
    assert small.key == large.key != other.key
    assert small.stage != large.stage


def test_what_the_own_disk_lost_is_told_and_names_no_folder(house, owner):
    scrubbing = scrubbing_of(house)

    async def act(deal, stored):
        deal.damage(stored)
        await asyncio.to_thread(scrubbing.look)

    assert list(hosted.find_losses(scrubbing, house.state)) == []
    scenario_of(house, owner, act)
    (found,) = hosted.find_losses(scrubbing, house.state)
    assert found.text.startswith("1 pack is lost or damaged")
    assert str(house.premises.directory) not in found.text
