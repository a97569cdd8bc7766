"""Whom a viewer names of the rows that it is told: a name tells that it knows somebody, and rows may be guesses."""

import pytest

from agent.peers.test_exchange import ALICE, BOB, CAROL, NOW, TELLER, VIEWER, Side, ask, liar
from agent.repute.shelved import peer, receipt, vouch
from backuppeer.agent.repute.shelves import Keep

DAVE, ERIN, STRANGER = 6, 7, 8


@pytest.mark.parametrize(
    ("pair", "is_named", "is_named_unshared"),
    [
        ((ALICE, ALICE), True, False),  # a partner, guessed
        ((BOB, BOB), True, False),
        ((ALICE, BOB), True, False),
        ((ALICE, CAROL), True, False),  # beside one that anybody may know
        ((ERIN, BOB), True, False),
        ((CAROL, CAROL), True, False),  # told of, and not on offer
        ((CAROL, DAVE), True, True),  # told of
        ((ERIN, ERIN), True, True),  # on offer
        ((CAROL, ERIN), True, True),
        ((STRANGER, ERIN), False, False),
    ],
)
def test_who_shares_nothing_does_not_show_whom_it_knows_by_what_it_names(tmp_path, pair, is_named, is_named_unshared):
    for is_shared, expected in ((True, is_named), (False, is_named_unshared)):
        viewer = Side(tmp_path / f"viewer-{is_shared}", VIEWER, ALICE, BOB)
        viewer.shelf.keep(receipt(VIEWER, ALICE), Keep.OWNER)
        viewer.shelf.take_vouch(*vouch(VIEWER, BOB, at=NOW))
        viewer.shelf.take(receipt(CAROL, DAVE), peer(9))
        viewer.state.put_heard([peer(ERIN)])
        viewer.exchange.is_shared = lambda is_shared=is_shared: is_shared
        teller = Side(tmp_path / f"teller-{is_shared}", TELLER)
        assert ask(viewer, teller, serve=liar(pair=pair)).recognised == expected
