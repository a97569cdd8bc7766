"""The engine in memory, with a file that brings what was on show over a restart (ADR 73).

Knows: one file, what may stand in it: signed listings and nothing else, so that who can write the file can forge
nothing, and who reads it learns what every viewer does. Each is checked as if it had just been published; it goes after
the grace unless its host comes back. Layout: 8 bytes of name and version, then `u32be(length) ‖ signed` for each.
"""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from backuppeer import limits
from backuppeer.clock import Clock
from backuppeer.crypto.digest import Domain, hash_bytes
from backuppeer.errors import LocalError, PeerFault, UserError
from backuppeer.signaling.listing import ListingKind, open_listing
from backuppeer.signaling.server.caps import Caps
from backuppeer.signaling.server.engine import Ears, Put, Shown
from backuppeer.signaling.server.memory import MemoryEngine

_MAGIC: Final = b"bp-shown"
_VERSION: Final = b"\x01"
_NAME: Final = "listings.snapshot"
_NOBODY: Final = -1
_AT_ONCE: Final = 50
"""Signatures checked before others have their turn: some 10 ms."""


class KeptEngine(MemoryEngine):
    """See `Engine` for the contract; the file is written when it closes, and now and then."""

    def __init__(self, folder: Path, caps: Caps, *, clock: Clock) -> None:
        """Take the folder, which must be there.

        Raises:
            UserError: the file in it is none of ours, or of a version that this program does not know.

        """
        super().__init__(caps, clock=clock)
        self._path, self._caps, self._wall = folder / _NAME, caps, clock
        self._kept = read_snapshot(self._path)
        self._written_s = clock.monotonic_s()
        self._loading: asyncio.Task[None] | None = None

    async def open(self, ears: Ears) -> None:
        """Begin; what was kept is checked and shown by and by."""
        await super().open(ears)
        self._loading = asyncio.create_task(self._load())

    async def close(self) -> None:
        """Write what is on show.

        Raises:
            LocalError: the disk refuses.

        """
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
            self._loading = None
            await self._save()
        await super().close()

    async def sweep(self) -> None:
        """Drop what has expired; write the file when it is time.

        Raises:
            LocalError: the disk refuses.

        """
        await super().sweep()
        now_s = self._wall.monotonic_s()
        if now_s - self._written_s >= limits.SNAPSHOT_EVERY_S and self._loading is not None and self._loading.done():
            self._written_s = now_s
            await self._save()

    async def loaded(self) -> None:
        """Return when all that was kept is on show, or was dropped."""
        if self._loading is not None:
            await asyncio.wait({self._loading})

    async def _load(self) -> None:
        kept, self._kept = self._kept, []
        for number, signed in enumerate(kept, start=1):
            await self._show(signed)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _show(self, signed: bytes) -> None:
        now_ms = self._wall.now_ms()
        try:
            opened = open_listing(signed, now_ms)
        except PeerFault:
            return  # expired meanwhile, or somebody wrote in the file
        listing = opened.listing
        if listing.kind is not ListingKind.SLOT or listing.expires_ms <= now_ms:
            return
        life_s = (listing.expires_ms - now_ms) / 1000 + limits.CLOCK_SKEW_S
        digest = hash_bytes(Domain.STATEMENT, signed)
        shown = Shown(opened.peer, listing.seq, signed, digest, is_slot=True, life_s=life_s)
        if await self.put_listing(shown, _NOBODY) is Put.ACCEPTED:
            await self.see(opened.peer)
            await self.lose_holder(opened.peer, _NOBODY)

    async def _save(self) -> None:
        listings = list(_cap(self.shown()))
        await asyncio.to_thread(write_snapshot, self._path, listings)


def _cap(listings: list[bytes]) -> Iterator[bytes]:
    """Return as many as the file takes: they stand in random order, so no host is favoured."""
    room = limits.SNAPSHOT_BYTES - len(_MAGIC + _VERSION)
    for signed in listings:
        room -= 4 + len(signed)
        if room < 0:
            return
        yield signed


def write_snapshot(path: Path, listings: list[bytes]) -> None:
    """Put signed listings into a file, all or none of it.

    Raises:
        LocalError: the disk refuses.

    """
    draft = path.with_suffix(".draft")
    try:
        with draft.open("wb") as file:
            file.write(_MAGIC + _VERSION)
            file.writelines(len(signed).to_bytes(4, "big") + signed for signed in listings)
            file.flush()
            os.fsync(file.fileno())  # before the rename: a power cut must not leave a name without contents
        draft.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as exc:
        raise LocalError(f"can't write {path}: {exc.strerror or exc}", hint="is its disk full?") from exc


def read_snapshot(path: Path) -> list[bytes]:
    """Return what stands in a file, unchecked; what is cut off or too long ends it. No file: nothing.

    Raises:
        UserError: it is no such file, or of another version, or can't be read.

    """
    try:
        with path.open("rb") as file:
            data = file.read(limits.SNAPSHOT_BYTES)
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise UserError(f"can't read {path}: {exc.strerror or exc}", hint="is it yours?") from exc
    if not data.startswith(_MAGIC) or data[len(_MAGIC) : len(_MAGIC) + 1] != _VERSION:
        known = f"version {_VERSION[0]}"
        raise UserError(f"{path} is not a snapshot of {known}", hint="move it away: hosts publish again by themselves")
    return list(_split(data, len(_MAGIC + _VERSION)))


def _split(data: bytes, start: int) -> Iterator[bytes]:
    while start + 4 <= len(data):
        size = int.from_bytes(data[start : start + 4], "big")
        signed = data[start + 4 : start + 4 + size]
        if size > limits.LISTING_BYTES or len(signed) < size:
            return
        yield signed
        start += 4 + size
