"""What a host is told of: mass deletions, its disk, what it lost."""

import shutil
from types import SimpleNamespace

import pytest

from agent.host.test_removals_over_the_wire import delete_directly
from backuppeer.agent.host.sweeping import Sweeping
from backuppeer.agent.overview import hosted
from backuppeer.limits import FREE_DISK_FLOOR_BYTES


def test_a_mass_deletion_is_told_until_it_was_seen(house, owner):
    agreement = owner.agree_with(house)
    sweeping = Sweeping(house.premises, house.clock)
    assert list(hosted.find_deletions(sweeping, house.state)) == []
    delete_directly(house, owner, agreement)
    house.state.call(owner.peer, "bob", 1)
    (found,) = hosted.find_deletions(sweeping, house.state)
    assert (found.key, found.stage) == (f"deletion:{agreement.hex()}", "1")
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
