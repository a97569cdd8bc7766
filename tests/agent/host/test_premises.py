"""What a host may offer: no more than its disk can take, and never into an empty mount point in place of its store."""

import pytest

from agent.houses import HostHouse
from backuppeer.agent.host import premises as premises_module
from backuppeer.agent.host.premises import Premises
from backuppeer.errors import NotFoundError, StoreUnavailable, UserError
from backuppeer.limits import FREE_DISK_FLOOR_BYTES, GIB, MIB, PREMISES_NOTES
from host.host_world import put_pack


@pytest.fixture
def newcomer(house, tmp_path):
    """Premises of a home that never hosted."""
    house.state.put_setting("store.directory", b"")
    house.premises.close()
    made = Premises(house.state, house.identity, house.clock)
    yield made
    made.close()


def test_more_than_the_disk_can_take_is_refused_with_what_it_can_and_leaves_no_folder(newcomer, tmp_path, monkeypatch):
    monkeypatch.setattr(premises_module, "free_bytes", lambda _: FREE_DISK_FLOOR_BYTES + 75 * 10**9)
    with pytest.raises(UserError, match=r"100TB is more than .* can take: 75GB") as caught:
        newcomer.establish(tmp_path / "new", 100 * 10**12)
    assert "--store DIR" in caught.value.hint
    assert not (tmp_path / "new").exists()
    assert newcomer.directory is None


def test_a_survey_refuses_what_establish_would_and_makes_nothing(newcomer, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").touch()
    for place in ("file", "full"):
        with pytest.raises(UserError, match=r"no folder|not empty"):
            newcomer.survey(tmp_path / place, 64 * MIB)
    with pytest.raises(StoreUnavailable, match="not there"):
        newcomer.survey(tmp_path / "no" / "such", 64 * MIB)
    with pytest.raises(UserError, match="more than the disk"):
        newcomer.survey(tmp_path / "new", 2**60)
    assert newcomer.survey(tmp_path / "new", 64 * MIB) == 0
    assert not (tmp_path / "new").exists()
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(StoreUnavailable, match="can't be written"):
        newcomer.survey(tmp_path / "new", 64 * MIB)


def test_a_survey_of_the_own_store_tells_what_is_agreed(house, owner):
    owner.agree_with(house)
    agreed = house.premises.open().totals().agreed_bytes
    assert house.premises.survey(house.premises.directory, 1 * GIB) == agreed > 0
    with pytest.raises(UserError, match="more than the disk"):
        house.premises.survey(house.premises.directory, 2**60)


def test_what_the_store_holds_counts_with_what_the_disk_has_left(house, owner):
    quota = house.premises.open().quota
    agreement = owner.agree_with(house)
    quota.free_disk = lambda: FREE_DISK_FLOOR_BYTES + 100 * MIB
    quota.set_used(agreement, 3 * MIB, packs=1)
    house.premises.establish(house.premises.directory, 103 * MIB)
    with pytest.raises(UserError, match="more than the disk"):
        house.premises.establish(house.premises.directory, 103 * MIB + 1)
    assert quota.offered_bytes == 103 * MIB


def test_an_old_store_that_is_offered_too_large_is_not_kept_open(house, newcomer, tmp_path):
    store = tmp_path / "host" / "store"
    with pytest.raises(UserError, match="more than the disk"):
        newcomer.establish(store, 2**60)
    newcomer.establish(tmp_path / "other", 64 * MIB)
    assert newcomer.directory == tmp_path / "other"


def test_an_empty_mount_point_is_not_taken_for_a_new_store_while_owners_have_agreements(house, owner, tmp_path):
    owner.agree_with(house)
    directory = house.premises.directory
    house.premises.close()
    directory.rename(tmp_path / "unplugged")
    directory.mkdir()
    with pytest.raises(StoreUnavailable, match="no store at"):
        house.premises.establish(directory, 1 * GIB)
    assert list(directory.iterdir()) == []


def test_a_host_whose_store_is_gone_and_that_owes_nobody_begins_anew(tmp_path):
    house = HostHouse(tmp_path / "host", b"h")
    directory = house.premises.directory
    house.premises.close()
    directory.rename(tmp_path / "lost")
    house.premises.establish(directory, 64 * MIB)
    assert house.premises.open().totals().agreements == 0
    house.close()


def test_a_damaged_head_is_told_once_however_often_its_owner_comes_back(house, owner):
    owner.agree_with(house)
    (lease,) = house.premises.leases_of(owner.peer)
    (house.premises.directory / "agreements" / lease.agreement.hex() / "head").write_bytes(b"not a head")
    for _ in range(3):
        assert house.premises.heads_of(owner.peer) == []
    (note,) = house.premises.notes
    assert "damaged" in note or "head" in note


def test_whose_packs_are_gone_when_the_store_is_opened_is_told_with_what_to_do(house, owner):
    agreement = owner.agree_with(house)
    house.state.meet(owner.peer, 1, alias="erin")
    stored = put_pack(house.premises.open(), b"x" * 1000, agreement)
    next(house.premises.directory.rglob(stored.hex())).unlink()
    house.premises.close()
    house.premises.open()
    (note,) = house.premises.notes
    assert note.startswith("1 pack of erin gone from the disk")
    assert "within 15 minutes; else erin is told" in note


def test_notes_are_told_in_the_order_of_their_last_time_and_only_so_many(house):
    for number in range(PREMISES_NOTES + 2):
        house.premises.note(f"note {number}")
    house.premises.note("note 5")
    notes = house.premises.notes
    assert len(notes) == PREMISES_NOTES
    assert (notes[0], notes[-1]) == ("note 2", "note 5")
    assert len(set(notes)) == len(notes)


def test_that_the_store_is_away_is_told_until_it_is_back(house, owner, tmp_path):
    owner.agree_with(house)
    directory = house.premises.directory
    house.premises.close()
    directory.rename(tmp_path / "unplugged")
    with pytest.raises(StoreUnavailable) as caught:
        house.premises.open()
    house.premises.note_absence(caught.value.message)
    assert house.premises.notes == [caught.value.message]
    (tmp_path / "unplugged").rename(directory)
    house.premises.open()
    assert house.premises.notes == []


def test_who_names_a_wrong_place_for_a_store_that_is_gone_is_told_that_it_is_in_neither(house, owner, tmp_path):
    owner.agree_with(house)
    directory = house.premises.directory
    house.premises.close()
    directory.rename(tmp_path / "elsewhere")
    with pytest.raises(NotFoundError, match="nor in"):
        house.premises.establish(tmp_path / "wrong", 64 * MIB)
