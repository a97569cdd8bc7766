"""What the state of a home says of peers and requests: the records, and the rows that they are kept as.

Knows: the columns of two tables. Must not know: databases, sessions, what follows from a record.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from backuppeer.ids import PeerId
from backuppeer.proof.promises import NOTHING, Promises
from backuppeer.proof.revisions import Wish


class Direction(StrEnum):
    """Who asks whom for space."""

    IN = "in"
    OUT = "out"


class RequestState(StrEnum):
    """Where a request stands."""

    WAITING = "waiting"
    OFFERED = "offered"
    """The host's person offers other terms instead; either side may still take those of the other."""
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    AGREED = "agreed"


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """A peer we have dealt with or given a name. `whereabouts`: where it was last (agent.partners), or empty.

    last_seen_ms: 0 = never.
    """

    peer: PeerId
    alias: str = ""
    is_verified: bool = False
    whereabouts: bytes = b""
    first_seen_ms: int = 0
    last_seen_ms: int = 0


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A connection request in either direction, kept until REQUEST_KEPT_S (DESIGN 10, `connect`)."""

    request: str
    direction: Direction
    peer: PeerId
    size_bytes: int
    term_s: int
    lock_s: int
    state: RequestState
    since_ms: int
    alias: str = ""
    is_verified: bool = False
    whereabouts: bytes = b""
    reason: str = ""
    offer: Wish | None = None
    """What the host's person offers instead."""
    revises: bytes = b""
    """The agreement that is to be changed; empty where a new one is asked for."""
    promises: Promises = NOTHING

    @property
    def wish(self) -> Wish:
        """Return what is asked for."""
        return Wish(self.size_bytes, self.term_s, self.lock_s, self.promises)


PEER_COLUMNS: Final = "peer,alias,verified,whereabouts,first_seen_ms,last_seen_ms"
PEER_QUERY: Final = f"SELECT {PEER_COLUMNS} FROM peers"  # noqa: S608 - constants
REQUEST_COLUMNS: Final = (
    "request,direction,peer,size_bytes,term_s,lock_s,state,since_ms,alias,verified,whereabouts,reason,"
    "offer_bytes,offer_term_s,offer_lock_s,revises,"
    "reciprocity,audit_bytes,egress_bytes,availability,"
    "offer_reciprocity,offer_audit_bytes,offer_egress_bytes,offer_availability"
)
REQUEST_QUERY: Final = f"SELECT {REQUEST_COLUMNS} FROM requests"  # noqa: S608 - constants


def peer_of(row: tuple[Any, ...]) -> PeerRecord:
    """Return the peer that a row of PEER_COLUMNS is."""
    return PeerRecord(PeerId(row[0]), row[1] or "", bool(row[2]), row[3], row[4], row[5])


def request_of(row: tuple[Any, ...]) -> RequestRecord:
    """Return the request that a row of REQUEST_COLUMNS is."""
    return RequestRecord(
        row[0],
        Direction(row[1]),
        PeerId(row[2]),
        row[3],
        row[4],
        row[5],
        RequestState(row[6]),
        row[7],
        row[8],
        bool(row[9]),
        row[10],
        row[11],
        Wish(row[12], row[13], row[14], Promises(*row[20:24])) if row[12] else None,
        row[15],
        Promises(*row[16:20]),
    )
