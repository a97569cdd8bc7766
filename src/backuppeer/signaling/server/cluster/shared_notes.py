"""Notes in the Valkey that several nodes share: left at one, found at any (ADR 73).

Knows: which script does what. Must not know: who left a note. The rules are those of `notes`; networks have another
name at each node, so one that crowds counts for each node by itself.
"""

from typing import Final

from backuppeer.limits import CLOCK_SKEW_S, NOTE_KEPT_S, STORE_BATCH
from backuppeer.signaling.server.cluster import note_scripts
from backuppeer.signaling.server.cluster.store import Store

_SKEW_MS: Final = CLOCK_SKEW_S * 1000
_KEPT_MS: Final = NOTE_KEPT_S * 1000


class SharedNotes:
    """See `Notes`; every method that asks the store raises `Unavailable` when it is gone, but `sweep`."""

    def __init__(self, store: Store, most: int) -> None:
        self._store, self._most = store, most
        self._count = 0

    async def put(self, inbox: bytes, number: int, sealed: bytes, *, now_ms: int, network: bytes = b"") -> bool:
        """Compare the number and replace, in one script."""
        if not now_ms - _KEPT_MS < number <= now_ms + _SKEW_MS:
            return False
        life_ms = number + _KEPT_MS - now_ms
        is_kept, self._count = await self._store.run(
            note_scripts.PUT, inbox, f"{number:020d}", sealed, network, self._most, life_ms
        )
        return bool(is_kept)

    async def get(self, inbox: bytes, *, now_ms: int) -> bytes | None:
        """Look it up."""
        number, sealed = await self._store.run(note_scripts.GET, inbox)
        with self._store.reading():
            if number is None or not now_ms - _KEPT_MS < int(number) <= now_ms + _SKEW_MS:
                return None
            return bytes(sealed)

    async def sweep(self, *, now_ms: int) -> None:
        """Drop what is old; later, if the store is away."""
        if not self._store.is_up:
            return
        more = 1
        while more:
            more, self._count = await self._store.run(note_scripts.SWEEP, now_ms - _KEPT_MS, STORE_BATCH)

    def count(self) -> int:
        """Return their number when the store was asked last."""
        return self._count

    def close(self) -> None:
        """Have nothing to let go of: the store is closed by whoever opened it."""
