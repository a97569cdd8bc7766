"""A home that was renamed, or a store that somebody moved by hand: found again where it is that very store."""

import shutil

import pytest

from agent.houses import HostHouse
from backuppeer.agent.home.state import State
from backuppeer.agent.host.premises import Premises
from backuppeer.errors import NotFoundError, StoreUnavailable
from backuppeer.host.layout import Layout
from backuppeer.host.marker import write_marker
from backuppeer.limits import MIB


class Moved:
    """A home that hosts in its own folder, closed, and opened again where it lies then."""

    def __init__(self, house: HostHouse, owner) -> None:
        self.agreement = owner.agree_with(house)
        self.identity, self.clock, self.home = house.identity, house.clock, house.premises.directory.parent
        house.premises.close()
        self.state, self.premises = house.state, self.start(house.state)
        self.premises.open()

    def start(self, state) -> Premises:
        self.state, self.premises = state, Premises(state, self.identity, self.clock, default=self.home / "store")
        return self.premises

    def rename(self, target) -> Premises:
        self.close()
        self.home = self.home.rename(target)
        return self.start(State(self.home / "state.db"))

    def close(self) -> None:
        self.premises.close()
        self.state.close()


@pytest.fixture
def moved(house, owner):
    made = Moved(house, owner)
    yield made
    made.close()


def test_a_store_in_its_home_is_found_when_that_was_renamed_also_twice_and_without_its_database(moved, tmp_path):
    for name in ("second", "third"):
        premises = moved.rename(tmp_path / name)
        assert premises.directory == tmp_path / name / "store"
        assert premises.open().leases.find(moved.agreement) is not None
    moved.close()
    for part in moved.home.glob("state.db*"):
        part.unlink()
    moved.home = moved.home.rename(tmp_path / "fourth")
    assert moved.start(State(moved.home / "state.db")).open().directory == tmp_path / "fourth" / "store"


def test_a_copy_of_a_home_goes_on_using_the_store_that_is_still_where_it_was(moved, tmp_path):
    moved.close()
    shutil.copytree(moved.home, tmp_path / "copy")
    first = moved.home
    moved.home = tmp_path / "copy"
    assert moved.start(State(moved.home / "state.db")).directory == first / "store"


def test_another_store_of_the_same_peer_in_the_renamed_home_is_not_taken_for_it(moved, tmp_path):
    moved.close()
    shutil.rmtree(moved.home / "store")
    (moved.home / "store").mkdir()
    write_marker(Layout(moved.home / "store").marker, moved.identity.public)
    old = moved.home / "store"
    moved.home = moved.home.rename(tmp_path / "second")
    premises = moved.start(State(moved.home / "state.db"))
    assert premises.directory == old
    with pytest.raises(StoreUnavailable, match="no store at") as caught:
        premises.open()
    assert "--store DIR" in caught.value.hint


def test_a_store_elsewhere_stays_elsewhere_when_the_home_is_renamed(moved, tmp_path):
    moved.premises.close()
    (moved.home / "store").rename(tmp_path / "disk")
    moved.premises.place.settle(tmp_path / "disk")
    moved.start(moved.state).open()
    assert moved.rename(tmp_path / "second").open().directory == tmp_path / "disk"


def test_a_store_that_was_moved_by_hand_is_taken_where_a_person_says_that_it_lies_now(moved, tmp_path):
    moved.premises.close()
    (moved.home / "store").rename(tmp_path / "disk")
    premises = moved.start(moved.state)
    with pytest.raises(StoreUnavailable):
        premises.open()
    with pytest.raises(NotFoundError, match="no store of this home lies in"):
        premises.survey(tmp_path / "elsewhere", 64 * MIB)
    assert premises.survey(tmp_path / "disk", 64 * MIB) > 0
    assert premises.establish(tmp_path / "disk", 64 * MIB).directory == tmp_path / "disk"
    assert moved.start(moved.state).directory == tmp_path / "disk"


def test_as_long_as_the_store_is_where_it_was_nobody_else_says_where_it_lies(moved, tmp_path):
    moved.premises.close()
    shutil.copytree(moved.home / "store", tmp_path / "copy")
    premises = moved.start(moved.state)
    with pytest.raises(NotFoundError, match="this home's store lies in"):
        premises.establish(tmp_path / "copy", 64 * MIB)
    assert premises.directory == moved.home / "store"
