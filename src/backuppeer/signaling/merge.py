"""Merging what several servers say: one row per peer, the highest number wins, equivocation is flagged.

Knows: verified listings and the highest number seen of each peer. Must not know: sockets. Pure but for the memory it
is handed. A server can hold listings back, but not bring an older one back: what was seen once stays the least.
"""

import struct
from collections import OrderedDict
from typing import Final, NamedTuple

import msgspec

from backuppeer import limits
from backuppeer.crypto.digest import Domain, hash_bytes
from backuppeer.errors import DamagedStateError
from backuppeer.ids import PEER_ID_BYTES, PeerId
from backuppeer.signaling.health import Tally
from backuppeer.signaling.listing import ListingKind, VerifiedListing
from backuppeer.signaling.verified import Verified

_VERSION: Final = b"BPSEQS\0\x01"
_ROW: Final = struct.Struct(f">{PEER_ID_BYTES}sQ32s?")


class Seen(NamedTuple):
    """The highest listing number seen of a peer, the hash of that listing, and whether the peer ever signed two."""

    seq: int
    digest: bytes
    is_equivocating: bool


class SeqMemory:
    """The highest number of each peer; the peers unseen for longest are forgotten above `capacity`."""

    def __init__(self, *, capacity: int = limits.SEQ_MEMORY_PEERS) -> None:
        self._seen: OrderedDict[bytes, Seen] = OrderedDict()
        self._capacity = capacity
        self.verified = Verified()
        """Listings whose signatures this viewer has verified; not kept beyond its process."""

    def get(self, peer: PeerId) -> Seen | None:
        """Return what is remembered of a peer."""
        return self._seen.get(peer)

    def put(self, peer: PeerId, seen: Seen) -> None:
        """Remember this of a peer."""
        self._seen[peer] = seen
        self._seen.move_to_end(peer)
        if len(self._seen) > self._capacity:
            self._seen.popitem(last=False)

    def export_bytes(self) -> bytes:
        """Return all of it: an 8-byte header, then 73 bytes a peer."""
        return _VERSION + b"".join(_ROW.pack(peer, *seen) for peer, seen in self._seen.items())

    @classmethod
    def import_bytes(cls, data: bytes, *, capacity: int = limits.SEQ_MEMORY_PEERS) -> "SeqMemory":
        """Return the memory that `export_bytes` wrote.

        Raises:
            DamagedStateError: not what it wrote.

        """
        rows = data[len(_VERSION) :]
        if not data.startswith(_VERSION) or len(rows) % _ROW.size:
            raise DamagedStateError("the memory of listing numbers can't be read")
        memory = cls(capacity=capacity)
        for peer, *seen in _ROW.iter_unpack(rows):
            memory.put(PeerId(peer), Seen(*seen))
        return memory


class Merger:
    """One browse: rows go in from every server, one row per peer comes out."""

    def __init__(self, memory: SeqMemory) -> None:
        self._memory = memory
        self._rows: dict[PeerId, VerifiedListing] = {}
        self._shown: dict[str, dict[PeerId, int]] = {}

    def fill(self, server: str, tally: Tally) -> Tally:
        """Note in a tally which hosts a server showed as they are, as they were, and doubly.

        By what is known now: which server answered first says nothing about any of them.
        """
        for peer, seq in self._shown.get(server, {}).items():
            seen = self._memory.get(peer)
            is_newest = seen is None or seq >= seen.seq
            (tally.newest if is_newest else tally.outdated).add(peer)
            if seen is not None and seen.is_equivocating and is_newest:
                tally.forked.add(peer)
        return tally

    def has(self, peer: PeerId) -> bool:
        """Tell whether a peer's row has been seen."""
        return peer in self._rows

    def listings(self) -> list[VerifiedListing]:
        """Return the slots merged so far; tombstoned peers are left out."""
        return [row for row in self._rows.values() if row.listing.kind is ListingKind.SLOT]

    def add(self, row: VerifiedListing, server: str) -> VerifiedListing | None:
        """Take a verified row; return the peer's row if that made it new or different, else None."""
        seq, digest = row.listing.seq, hash_bytes(Domain.STATEMENT, row.signed)
        seen, shown = self._memory.get(row.peer), self._shown.setdefault(server, {})
        shown[row.peer] = max(seq, shown.get(row.peer, 0))
        if seen is not None and seq < seen.seq:
            return None
        is_twin = seen is not None and seq == seen.seq and digest != seen.digest
        is_equivocating = is_twin or (seen is not None and seen.is_equivocating)
        # Of two listings under one number the smaller hash stays: every viewer settles on the same one.
        kept = seen.digest if seen is not None and is_twin and seen.digest < digest else digest
        self._memory.put(row.peer, Seen(seq, kept, is_equivocating))
        return self._place(row, server, is_kept=kept == digest, is_equivocating=is_equivocating)

    def _place(
        self, row: VerifiedListing, server: str, *, is_kept: bool, is_equivocating: bool
    ) -> VerifiedListing | None:
        old = self._rows.get(row.peer)
        base = row if is_kept or old is None else old
        servers = old.servers if old is not None and old.listing.seq == row.listing.seq else ()
        servers = servers if server in servers else (*servers, server)
        new = msgspec.structs.replace(base, servers=servers, is_equivocating=is_equivocating)
        self._rows[row.peer] = new
        is_news = old is None or (new.signed, new.is_equivocating) != (old.signed, old.is_equivocating)
        return new if is_news else None
