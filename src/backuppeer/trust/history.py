"""What was seen of one peer, for people: since when, how often it was there, how fast, what it showed and failed at.

Knows: the log. Must not know: terminals, scores. Each figure is a count of rows or a median of them; nothing follows.
"""

from collections import Counter
from dataclasses import dataclass

from backuppeer.ids import PeerId
from backuppeer.limits import AVAILABILITY_DAYS, CONTACTS_SHOWN
from backuppeer.trust.availability import WINDOWS_PER_DAY
from backuppeer.trust.contacts import Contact, ContactCount, Pace
from backuppeer.trust.evidence import EvidenceLog, Kind
from backuppeer.trust.score import Fault


@dataclass(frozen=True, slots=True)
class History:
    """One peer. `observed`: share of the windows of 30 days in which it was there, None where it was never tried.

    days: on which it delivered or failed; bad_days: of those, by the worst that happened. contacts: the newest first.
    """

    days: int
    bad_days: dict[Fault, int]
    kinds: dict[Kind, int]
    observed: float | None
    pace: Pace
    total: ContactCount
    contacts: list[Contact]


def recount(log: EvidenceLog, peer: PeerId, *, now_ms: int, limit: int = CONTACTS_SHOWN) -> History:
    """Return what is on record of a peer, with at most `limit` contacts.

    Raises:
        LocalError: it can't be read.

    """
    days, windows = log.days(peer, now_ms=now_ms), log.windows(peer, now_ms=now_ms)
    is_tried = windows.seen & ((1 << AVAILABILITY_DAYS * WINDOWS_PER_DAY) - 1)
    return History(
        days=len(days),
        bad_days=dict(Counter(day.fault for day in days if day.fault is not None)),
        kinds=log.count_kinds(peer),
        observed=log.availability(peer, now_ms=now_ms).observed if is_tried else None,
        pace=log.contacts.pace(peer, now_ms=now_ms),
        total=log.contacts.count(peer),
        contacts=log.contacts.latest(peer, limit=limit),
    )
