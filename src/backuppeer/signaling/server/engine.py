"""What the server needs of its memory: a small Protocol, so that several nodes may share one later.

Knows: peers, numbers, opaque bytes. Must not know: sockets, signatures (checked before), addresses. Every method is
a coroutine because a shared engine lives across the network; the one in this process never waits.
"""

from enum import StrEnum
from typing import NamedTuple, Protocol


class Put(StrEnum):
    """What became of a listing."""

    ACCEPTED = "accepted"
    STALE = "stale"
    FULL = "full"


class Shown(NamedTuple):
    """A verified listing for the engine. `digest`: hash of the signed bytes; `life_s`: how long it counts."""

    peer: bytes
    seq: int
    signed: bytes
    digest: bytes
    is_slot: bool
    life_s: float


class Slice(NamedTuple):
    """A page: signed listings, where to go on (empty = the end), slots on show."""

    rows: list[bytes]
    cursor: bytes
    total: int


class Stored(NamedTuple):
    """A message waiting in an inbox."""

    number: int
    sealed: bytes


class Engine(Protocol):
    """State of a signaling service. `holder` is a number the server gives each connection."""

    async def put_listing(self, shown: Shown, holder: int) -> Put:
        """Compare the number and replace, atomically. Equal bytes again are accepted and add a holder.

        A tombstone, or a listing that vanished, leaves its number behind for as long as an older listing could live.
        """
        ...

    async def lose_holder(self, peer: bytes, holder: int) -> None:
        """Let a listing vanish after the grace when this was its last holder."""
        ...

    async def page(self, cursor: bytes, limit: int) -> Slice:
        """Return the next listings of a random order, which an empty cursor starts.

        Raises:
            ProtocolViolation: not a cursor of ours.

        """
        ...

    async def drop_listing(self, peer: bytes) -> None:
        """Forget what a peer shows and its number."""
        ...

    async def has_seen(self, peer: bytes) -> bool:
        """Return whether a listing of a key was taken within KEY_REMEMBERED_DAYS, as far as there was room to know."""
        ...

    async def see(self, peer: bytes) -> None:
        """Remember that a listing of a key was taken today."""
        ...

    async def open_inbox(self, inbox: bytes) -> bool:
        """Create an inbox or keep it, its owner being here; False when there are too many."""
        ...

    async def leave_inbox(self, inbox: bytes) -> None:
        """Note that the owner's socket has gone; the inbox lives on for its time."""
        ...

    async def deposit(self, inbox: bytes, sealed: bytes) -> Stored | None:
        """Store a message; None when the inbox is unknown or full, which nobody outside may learn."""
        ...

    async def waiting(self, inbox: bytes) -> list[Stored]:
        """Return the messages of an inbox, oldest first."""
        ...

    async def take(self, inbox: bytes, number: int) -> None:
        """Forget one message; unknown numbers are ignored."""
        ...

    async def sweep(self) -> None:
        """Drop what has expired."""
        ...
