"""Cards of invites: left where their bearers look for them, as long as an invite leads to the slot (ADR 75).

Knows: the slot and its servers, invites. Must not know: who may use one (`invites`), what becomes of a knock.
Each card goes to each server over a socket of its own, to an inbox that only the invite's bearers can name.

Who came by an invite and has an agreement here finds a slot that no server lists by its card alone, if this machine's
address has changed: so cards are renewed for them also when the invite gives nothing to anybody any more.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import msgspec
import structlog

from backuppeer.agent.host.hosting import Hosting
from backuppeer.agent.host.invites import Invites, InviteState, IssuedInvite
from backuppeer.agent.host.speaking import Speaking
from backuppeer.agent.peers.offers import Offer
from backuppeer.clock import Clock
from backuppeer.crypto.identity import SigningKey
from backuppeer.crypto.invitation import Invitation
from backuppeer.errors import BackupPeerError, NoSignaling, PeerFault, Unavailable
from backuppeer.ids import PeerId
from backuppeer.limits import CARD_AGAIN_S, CARD_LIFE_S, CARD_REFRESH_S
from backuppeer.signaling.card import seal_card, write_gift
from backuppeer.signaling.listing import Listing
from backuppeer.signaling.postbox import leave_note
from backuppeer.signaling.servers import authority

_log = structlog.get_logger()
_SECOND_MS = 1000


class Inviting:
    """All cards of this home. One event loop; `wake` from any thread."""

    def __init__(self, identity: SigningKey, clock: Clock, *, hosting: Hosting, invites: Invites) -> None:
        self._identity, self._clock = identity, clock
        self._hosting, self.invites = hosting, invites
        self.speaking = Speaking(identity, clock)
        self.is_partner: Callable[[PeerId], bool] = lambda _: False
        self._left: dict[tuple[bytes, str], float] = {}
        self._numbers: dict[tuple[bytes, str], int] = {}
        self._slot = b""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Look again which cards are due: an invite or the slot has changed."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._news.set)

    def renew(self) -> None:
        """Count cards that are a minute old as due: a server was lost or is back, and may have forgotten them."""
        now_s = self._clock.monotonic_s()
        self._left = {place: at_s for place, at_s in self._left.items() if now_s - at_s < CARD_AGAIN_S}
        self.wake()

    async def run(self) -> None:
        """Leave cards as they are due, until cancelled."""
        self._loop = asyncio.get_running_loop()
        self._hosting.on_reach = self.renew
        while True:
            self._news.clear()
            pause_s = CARD_REFRESH_S
            for invite in self._due_invites():
                if not await self._leave(invite):
                    pause_s = CARD_AGAIN_S
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._news.wait()

    async def deliver(self, invite: IssuedInvite) -> list[str]:
        """Leave the card of a new invite now; return the servers where it lies.

        Raises:
            NoSignaling: none of the slot's servers took it.

        """
        await self._leave(invite)
        name, offer = self.invites.keys_of(invite).name, self._hosting.offer
        places = [url for url in (offer.servers if offer else ()) if (name, url) in self._left]
        if not places:
            raise NoSignaling("no signaling server took the card of the invite", hint="check addresses and network")
        return places

    def _due_invites(self) -> list[IssuedInvite]:
        now_ms = self._clock.now_ms()
        return [
            invite
            for invite in self.invites.list_all()
            if invite.state(now_ms) is InviteState.LIVE or any(self.is_partner(use.owner) for use in invite.used)
        ]

    async def _leave(self, invite: IssuedInvite) -> bool:
        """Leave the card of an invite wherever it is due; return whether it lies at all servers of the slot."""
        offer = self._hosting.offer
        if offer is None or self._hosting.pool is None:
            return True
        self._forget_other_slots(offer)
        name, now_s = self.invites.keys_of(invite).name, self._clock.monotonic_s()
        due = [url for url in offer.servers if now_s - self._left.get((name, url), -CARD_LIFE_S) >= CARD_REFRESH_S]
        outcomes = [await self._leave_at(url, invite, offer) for url in due]
        return all(outcomes)

    async def _leave_at(self, url: str, invite: IssuedInvite, offer: Offer) -> bool:
        keys = self.invites.keys_of(invite)
        inbox = keys.inbox(authority(url))
        try:
            said = self._hosting.describe(offer, CARD_LIFE_S, **write_gift(invite.storage_bytes))
            sealed = await asyncio.to_thread(self._seal, said, keys, inbox)
            await leave_note(url, inbox, self._next_number(keys.name, url), sealed)
        except (Unavailable, PeerFault) as exc:
            _log.info("a card could not be left", server=url, reason=exc.message[:200])
            return False
        except BackupPeerError as exc:
            _log.warning("a card could not be written", reason=exc.message[:200])
            return False
        self._left[keys.name, url] = self._clock.monotonic_s()
        return True

    def _seal(self, said: Listing, keys: Invitation, inbox: SigningKey) -> bytes:
        return seal_card(said, self._identity, key=keys.opener().public, inbox=inbox.public)

    def _next_number(self, name: bytes, url: str) -> int:
        """Return a number above the last one of this inbox: the second, so that one after a restart is above it too."""
        second = self._clock.now_ms() // _SECOND_MS * _SECOND_MS
        number = self._numbers[name, url] = max(self._numbers.get((name, url), 0) + 1, second)
        return number

    def _forget_other_slots(self, offer: Offer) -> None:
        """Count what was left for another slot as not left: it leads nowhere."""
        slot = self._hosting.keys.name(offer) + msgspec.msgpack.encode(offer)
        if slot != self._slot:
            self._slot = slot
            self._left.clear()
