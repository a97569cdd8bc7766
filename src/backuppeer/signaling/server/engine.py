"""What the server needs of its memory: a small Protocol, so that several nodes may share one (ADR 73).

Knows: peers, numbers, opaque bytes. Must not know: sockets, signatures (checked before), addresses. Every method is
a coroutine because a shared engine lives across the network; the one in this process never waits.

Where the place that nodes share can't be reached, every method raises `Unavailable`, but `page`, which hands out what
this node has seen lately.
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


class Ears(Protocol):
    """Who is told what happened to the inboxes that are attended at this node."""

    def arrived(self, inbox: bytes, stored: Stored) -> None:
        """Hand a message on to the socket that attends this inbox, if it is here."""
        ...

    def displaced(self, inbox: bytes) -> None:
        """Close the socket that attends this inbox: its owner has opened it at another node."""
        ...

    def forgotten(self) -> None:
        """Send all who publish or attend away to come back: what was known of them is lost."""
        ...


class Deaf:
    """Ears of nobody."""

    def arrived(self, inbox: bytes, stored: Stored) -> None:
        """Hear nothing."""

    def displaced(self, inbox: bytes) -> None:
        """Hear nothing."""

    def forgotten(self) -> None:
        """Hear nothing."""


class Rate(NamedTuple):
    """`burst` at once, then `per_s` a second."""

    per_s: float
    burst: int


class Engine(Protocol):
    """State of a signaling service. `holder` is a number the server gives each connection."""

    async def open(self, ears: Ears) -> None:
        """Begin: `ears` are told from now on.

        Raises:
            UserError: the place that nodes share is none of ours, or there is none.

        """
        ...

    async def close(self) -> None:
        """End, and keep what outlives this process. Idempotent."""
        ...

    def is_whole(self) -> bool:
        """Tell whether everything works; False: only `page` does, and what it hands out is of before."""
        ...

    async def put_listing(self, shown: Shown, holder: int) -> Put:
        """Compare the number and replace, atomically. Equal bytes again are accepted and add a holder.

        A tombstone, or a listing that vanished, leaves its number behind for as long as an older listing could live.
        """
        ...

    async def is_newer(self, peer: bytes, seq: int) -> bool:
        """Tell whether a listing with this number would be taken as another one than what is known of its peer."""
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
        """Store a message and tell the ears of the node that attends the inbox.

        None when the inbox is unknown or full, which nobody outside may learn.
        """
        ...

    async def waiting(self, inbox: bytes) -> list[Stored]:
        """Return the messages of an inbox, oldest first."""
        ...

    async def take(self, inbox: bytes, number: int) -> None:
        """Forget one message; unknown numbers are ignored."""
        ...

    async def spend(self, name: bytes, rate: Rate) -> bool:
        """Take one token from the bucket of this name, which all nodes share; False when it is empty."""
        ...

    async def network_key(self) -> bytes:
        """Return the 32 secret bytes by which all nodes turn networks into names; others every day."""
        ...

    async def count(self) -> int:
        """Return how many slots are on show."""
        ...

    async def sweep(self) -> None:
        """Drop what has expired."""
        ...
