"""Presence: this home's doors in its networks, open and announced while somebody there may look for it (ADR 81).

Knows: when that is, in which networks, what the doors answer with. Must not know: how a knock is decided, sessions.

Open is a door while the person allows it and there is something to be found: a slot that is listed, or partners whose
packs lie here. A slot that is not listed is shown to nobody; its partners recognise the door all the same. Networks
come and go, and machines sleep: so they are looked at every few seconds, and a network that changed gets a new door
under a new name, which nothing links to the one before.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import structlog

from backuppeer.agent.host.hosting import Hosting
from backuppeer.agent.host.premises import Premises
from backuppeer.agent.peers.neighbours import recognition_of
from backuppeer.clock import Clock
from backuppeer.errors import BackupPeerError, RefusedError, Unavailable
from backuppeer.limits import LAN_SETTLE_S
from backuppeer.signaling.lan.door import Door
from backuppeer.signaling.lan.frames import SEALED_TEXT_BYTES, Sought, pack_text
from backuppeer.signaling.lan.interfaces import Interface, list_interfaces
from backuppeer.signaling.lan.multicast import SERVICE, Announcement, announce

_log = structlog.get_logger()


class _Standing(NamedTuple):
    """One open door, and its announcement."""

    door: Door
    announcement: Announcement


class Presence:
    """All doors of this home. One event loop."""

    def __init__(
        self, hosting: Hosting, premises: Premises, clock: Clock, binds: list[str], *, service: str = SERVICE
    ) -> None:
        self._hosting, self._premises, self._clock = hosting, premises, clock
        self._binds, self._service = binds, service
        self._standing: dict[Interface, _Standing] = {}
        self._settling = asyncio.Lock()
        self.is_set: Callable[[], bool] = lambda: False
        """Whether the settings allow it. Set by who reads them."""

    def places(self) -> list[str]:
        """Return the addresses at which this home is announced now."""
        return sorted(address for standing in self._standing.values() for address in standing.door.places())

    async def run(self) -> None:
        """Open and close doors as it is due, until cancelled."""
        while True:
            await self.settle()
            await asyncio.sleep(LAN_SETTLE_S)

    async def settle(self) -> bool:
        """Open and close doors as it is due now; return whether any stands, at which a listed slot is shown."""
        async with self._settling:
            wanted = set(list_interfaces(self._binds)) if await self._is_wanted() else set[Interface]()
            for gone in self._standing.keys() - wanted:
                await self._leave(gone)
            for new in wanted - self._standing.keys():
                try:
                    await self._enter(new)
                except Unavailable as exc:
                    _log.info("not announced in a network", network=new.name, reason=exc.message[:200])
            return self.is_shown()

    def is_shown(self) -> bool:
        """Tell whether a listed slot is shown in any network now."""
        return bool(self._standing) and self._may_show()

    async def close(self) -> None:
        """Close all doors."""
        async with self._settling:
            for interface in list(self._standing):
                await self._leave(interface)

    def show(self) -> bytes:
        """Return the signed listing of a listed slot; empty: there is none."""
        return self._hosting.shown if self._may_show() else b""

    async def reply(self, sealed: bytes) -> bytes:
        """Return the sealed reply to a sealed knock, as a server would bring them.

        Raises:
            PeerFault: it can't be opened, or was heard before.
            RefusedError: nothing is shown here, or there are too many knocks.

        """
        if not self._may_show():
            # Else who knows a listing from a server could try at each door whose it is.
            raise RefusedError("no slot is shown in this network")
        return await self._hosting.hear(sealed)

    async def recognise(self, sought: Sought, challenge: bytes) -> bytes | None:
        """Return where this home is, sealed for the partner that looks for it; None: it is none."""
        return await asyncio.to_thread(self._recognise, sought, challenge)

    def _recognise(self, sought: Sought, challenge: bytes) -> bytes | None:
        found = None
        with suppress(BackupPeerError):  # a store that is away: then nobody is recognised
            # All of them, whoever it is: how long it takes tells nobody how far it came.
            for lease in self._premises.open().leases.list_all():
                recognition = recognition_of(lease.terms)
                if recognition.is_tag(sought.tag, challenge, sought.nonce):
                    found = recognition
            if found is not None:
                return found.seal(pack_text(self._hosting.binding(), SEALED_TEXT_BYTES), challenge, sought.nonce)
        return None

    def _may_show(self) -> bool:
        offer = self._hosting.offer
        if offer is None or offer.unlisted:
            return False
        return self.is_set() if offer.lan is None else offer.lan

    async def _is_wanted(self) -> bool:
        return self._may_show() or (self.is_set() and await asyncio.to_thread(self._has_partners))

    def _has_partners(self) -> bool:
        if self._premises.directory is None:
            return False
        with suppress(BackupPeerError):
            return self._premises.count_agreements() > 0
        return False

    async def _enter(self, interface: Interface) -> None:
        door = Door(interface, self, self._clock)
        await door.open()
        try:
            announcement = await announce(interface, door.port, service=self._service)
        except BaseException:
            await door.close()
            raise
        self._standing[interface] = _Standing(door, announcement)
        _log.info("announced in a network", network=interface.name)

    async def _leave(self, interface: Interface) -> None:
        door, announcement = self._standing.pop(interface)
        await door.close()
        await announcement.close()
