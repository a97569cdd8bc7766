"""Own receipts that travel with snapshots, and come back by `recover` (ADR 62).

Knows: which of them say all: the newest of each agreement. Must not know: how they travel. Nothing of what was carried
is believed but what both sides signed: a thief of the machine may have written it.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from backuppeer.agent.repute.shelf import Shelf
from backuppeer.agent.repute.shelves import Keep
from backuppeer.errors import PeerFault
from backuppeer.ids import PeerId
from backuppeer.proof.receipts import open_receipt


def list_newest(shelf: Shelf) -> list[bytes]:
    """Return the newest own receipt of each agreement that both signed, as owner and as host."""
    found: dict[tuple[Keep, bytes], bytes] = {}
    for keep in (Keep.OWNER, Keep.HOST):
        for shown in shelf.own(keep):
            if shown.is_cosigned:
                found.setdefault((keep, shown.said.agreement), shown.signed)
    return list(found.values())


def take_own(shelf: Shelf, receipts: Iterable[bytes], own: AbstractSet[PeerId]) -> int:
    """Keep what both signed and this home is a side of; return how many those are.

    own: every name of this home, those before a succession, too (ADR 69).

    Raises:
        LocalError: a disk that refuses.

    """
    taken = 0
    for signed in receipts:
        try:
            shown = open_receipt(signed)
        except PeerFault:
            continue
        is_owner = shown.said.owner in own
        if shown.is_cosigned and (is_owner or shown.said.host in own):
            shelf.keep(shown, Keep.OWNER if is_owner else Keep.HOST)
            taken += 1
    return taken
