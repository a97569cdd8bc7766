"""Own receipts that come back to a home that was lost."""

import pytest

from agent.repute.shelved import peer, receipt
from backuppeer.agent.repute.heirlooms import list_newest, take_own
from backuppeer.agent.repute.shelf import Shelf
from backuppeer.agent.repute.shelves import Keep

ME = 1


@pytest.fixture
def shelves(tmp_path):
    made = [Shelf(tmp_path / f"{name}.db") for name in ("lost", "heir")]
    yield made
    for shelf in made:
        shelf.close()


def test_the_newest_of_each_side_comes_back_and_goes_on_the_right_side(shelves):
    lost, heir = shelves
    for months in (1, 2):
        lost.keep(receipt(ME, 2, months=months), Keep.OWNER)
    lost.keep(receipt(3, ME), Keep.HOST)
    lost.keep(receipt(ME, 4, one_sided=True), Keep.OWNER)
    carried = list_newest(lost)
    assert take_own(heir, carried, {peer(ME)}) == 2
    assert heir.own(Keep.OWNER) == [receipt(ME, 2, months=2)]
    assert heir.own(Keep.HOST) == [receipt(3, ME)]


def test_nothing_that_a_thief_may_have_written_is_taken_back(shelves):
    _, heir = shelves
    forged = receipt(ME, 2).signed[:-64] + bytes(64)
    strangers = receipt(5, 6).signed
    one_sided = receipt(ME, 2, one_sided=True).signed
    assert take_own(heir, [forged, strangers, one_sided, b"", b"junk" * 9], {peer(ME)}) == 0
    assert heir.months() == []
