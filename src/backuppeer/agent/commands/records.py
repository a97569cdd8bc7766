"""What is on record of a peer, as it is shown: a part of peers/show (control.api routes).

Knows: the history that trust keeps. Must not know: HTTP, terminals, agreements.
"""

from typing import Final

from backuppeer.agent.home.records import PeerRecord
from backuppeer.agent.repute.standing import Standing
from backuppeer.clock import format_time
from backuppeer.control.history import ContactRow, Record, Tenancy
from backuppeer.ids import PeerId
from backuppeer.trust.contacts import Contact
from backuppeer.trust.evidence import Kind
from backuppeer.trust.score import Fault
from backuppeer.trust.tenants import Deed

_FIELDS: Final = {
    Deed.AGREED: "agreed",
    Deed.NOTICED: "noticed",
    Deed.OVERDRAWN: "overdrawn",
    Deed.OWING: "owing",
    Deed.DELETED: "deleted",
    Deed.MASS_DELETED: "mass_deleted",
}


def record_of(standing: Standing, known: PeerRecord, *, limit: int, running: Contact | None = None) -> Record:
    """Return what was seen of a peer, with at most `limit` contacts; `running`: the session that is not over yet.

    Raises:
        LocalError: it can't be read.

    """
    peer = PeerId(known.peer)
    seen = standing.history(peer, limit=limit)
    kinds, bad = seen.kinds, seen.bad_days
    contacts = ([running, *seen.contacts] if running else seen.contacts)[:limit]
    return Record(
        first_met=format_time(known.first_seen_ms) if known.first_seen_ms else "",
        days=seen.days,
        availability=None if seen.observed is None else round(seen.observed, 4),
        promised=standing.promise(peer),
        rtt_ms=round(seen.pace.rtt_ms, 2),
        bytes_per_second=round(seen.pace.bytes_per_s),
        audits=kinds.get(Kind.AUDITED, 0),
        restores=kinds.get(Kind.RESTORED, 0),
        losses=kinds.get(Kind.LOST, 0) + kinds.get(Kind.REPORTED_LOSS, 0),
        refusals=kinds.get(Kind.REFUSED, 0),
        declined=kinds.get(Kind.DECLINED, 0),
        lost_days=bad.get(Fault.PROVEN_LOSS, 0),
        refused_days=bad.get(Fault.REFUSED_ONLINE, 0),
        reported_days=bad.get(Fault.REPORTED_LOSS, 0),
        late_days=bad.get(Fault.LATE, 0),
        sessions=seen.total.made + (running is not None),
        missed=seen.total.failed,
        contacts=[_row(contact) for contact in contacts],
    )


def tenancy_of(standing: Standing, owner: PeerId) -> Tenancy | None:
    """Return how a peer behaved as an owner of what is kept here; None: it never was one.

    Raises:
        LocalError: it can't be read.

    """
    days = standing.tenancy(owner)
    return Tenancy(**{_FIELDS[deed]: count for deed, count in days.items()}) if days else None


def _row(contact: Contact) -> ContactRow:
    return ContactRow(
        time=format_time(contact.time_ms),
        made=contact.is_made,
        ours=contact.is_ours,
        path=contact.path,
        rtt_ms=round(contact.rtt_ms, 2),
        sent_bytes=contact.sent_bytes,
        received_bytes=contact.received_bytes,
        seconds=contact.length_ms / 1000,
        result=contact.result,
    )
