"""Own receipts, and successions of others, that travel with snapshots and come back by `recover` (ADR 62, 69).

Knows: which of them say all: the newest of each agreement. Must not know: how they travel. Nothing of what was carried
is believed but what both sides signed: a thief of the machine may have written it. A succession is followed where an
agreement with who went on names the authority that signed it, as when it was heard first.
"""

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from itertools import islice

from backuppeer.agent.home.successions import Heir
from backuppeer.agent.repute.heirs import Heirs
from backuppeer.agent.repute.shelf import Shelf
from backuppeer.agent.repute.shelves import Keep
from backuppeer.errors import PeerFault
from backuppeer.ids import PeerId
from backuppeer.limits import SUCCESSIONS_TOLD
from backuppeer.proof.receipts import open_receipt
from backuppeer.proof.statements import peek_statement
from backuppeer.proof.succession import Succession


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


def list_followed(heirs: Iterable[Heir]) -> list[bytes]:
    """Return the SUCCESSIONS_TOLD followed last as signed, in their order, each before what contradicts it."""
    last = list(heirs)[-SUCCESSIONS_TOLD:]
    return [signed for heir in last for signed in (heir.signed, heir.rival_signed) if signed]


def follow_carried(heirs: Heirs, find_authority: Callable[[PeerId], bytes], carried: Iterable[bytes]) -> int:
    """Follow successions of before; return how many are. The others prove nothing here.

    find_authority: by which (32 bytes) agreements of this home know a peer, b"" = by none.

    Raises:
        LocalError: a disk that refuses.

    """
    followed = 0
    for signed in islice(carried, 2 * SUCCESSIONS_TOLD):
        try:
            said = peek_statement(Succession, signed)
            known = find_authority(PeerId(said.old))
            if known == said.authority and find_authority(PeerId(said.new)) in {b"", known}:
                heirs.take(signed, known)
                followed += 1
        except PeerFault:
            continue
    return followed
