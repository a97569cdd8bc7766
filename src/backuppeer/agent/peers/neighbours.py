"""Neighbours: peers in the same network, found and asked without any server (ADR 81).

Knows: when this home may look around, which places show whose offer, how a partner is recognised. Must not know: what
a knock wants, what happens in a session. Whatever a place says is anybody's word: an offer counts with its host's
signature, a reply with the host's, whereabouts with the partner's. So a false one costs a question, or a dial.

Nothing is sent to any network before something needs it, and nothing at all unless the person allows it: by the
setting `network.lan`, or for one command.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from backuppeer.agent.home.state import State
from backuppeer.agent.peers.whereabouts import Whereabouts, read_binding
from backuppeer.clock import Clock
from backuppeer.crypto.recognition import Recognition, derive_recognition
from backuppeer.errors import BackupPeerError, PeerFault, Unavailable
from backuppeer.ids import AgreementId, PeerId, RepositoryId, shorten_peer_id
from backuppeer.limits import (
    LAN_BROWSE_S,
    LAN_CLAIMS,
    LAN_KNOCK_S,
    LAN_LOOK_S,
    LAN_PLACES_AT_ONCE,
    LAN_SEEN_KEPT_S,
)
from backuppeer.proof.statements import Agreement, peek_statement
from backuppeer.signaling.lan.asking import fetch_listing, knock_at, seek_at
from backuppeer.signaling.lan.interfaces import list_interfaces
from backuppeer.signaling.lan.multicast import SERVICE, Place, hear
from backuppeer.signaling.listing import ListingKind, VerifiedListing, open_listing

_log = structlog.get_logger()
_WISH: Final[ContextVar[bool | None]] = ContextVar("lan", default=None)
"""What the command said for whose sake something is done; tasks take it from whoever starts them."""
OnPlace = Callable[[Place], Coroutine[None, None, None]]


def use_lan(wish: bool | None) -> None:  # noqa: FBT001 - a wish and nothing else
    """Let what is done from here on look around in the local network, or not; None: as the settings say."""
    _WISH.set(wish)


@dataclass(slots=True)
class Seen:
    """A host that was seen in the network; places: where its offer was shown."""

    time_ms: int
    places: list[Place] = field(default_factory=list)


class Neighbours:
    """What this home sees of its networks. One event loop."""

    def __init__(self, state: State, clock: Clock, binds: list[str], *, service: str = SERVICE) -> None:
        self._state, self._clock, self._binds, self._service = state, clock, binds, service
        self._seen: dict[PeerId, Seen] = {}
        self.is_set: Callable[[], bool] = lambda: False
        """Whether the settings allow it. Set by who reads them."""

    def is_allowed(self) -> bool:
        """Tell whether what is done now may look around."""
        wish = _WISH.get()
        return self.is_set() if wish is None else wish

    def can_look(self) -> bool:
        """Tell whether this home is in any network, by the addresses that it listens on; loopback is none."""
        return any(not own.ip.is_loopback for each in list_interfaces(self._binds) for own in each.addresses)

    def seen(self) -> dict[PeerId, Seen]:
        """Return whose offers the last looks found, and where."""
        least_ms = self._clock.now_ms() - int(LAN_SEEN_KEPT_S * 1000)
        self._seen = {peer: seen for peer, seen in self._seen.items() if seen.time_ms >= least_ms}
        return self._seen

    async def listings(self, wanted: PeerId | None = None) -> list[VerifiedListing]:
        """Return offers that are shown in the network, within LAN_BROWSE_S; with `wanted`, once that one is found.

        Of each host the newest. Nothing where the network can't be asked.
        """
        found: dict[PeerId, VerifiedListing] = {}
        done = asyncio.Event()

        async def fetch(place: Place) -> None:
            verified = open_listing(signed, self._clock.now_ms()) if (signed := await fetch_listing(place)) else None
            if verified is None or verified.listing.kind is not ListingKind.SLOT:
                return
            self._note(verified.peer, place)
            known = found.get(verified.peer)
            if known is None or verified.listing.seq > known.listing.seq:
                found[verified.peer] = verified
            if verified.peer == wanted:
                done.set()

        seen = self.seen().get(wanted) if wanted is not None else None
        await self._look(fetch, done, known=seen.places if seen is not None else ())
        return list(found.values())

    async def knock(self, host: PeerId, make: Callable[[], bytes], take: Callable[[bytes], None]) -> bool:
        """Knock where a host's offer was shown, until there is a reply that holds; return whether there was one.

        Within LAN_KNOCK_S: a place that says nothing leaves the next ones their part of it.

        make: a new sealed knock. take: opens a reply to the last one made; raises PeerFault for one that is none.
        """
        seen = self.seen().get(host) if self.is_allowed() else None
        places = list(seen.places) if seen is not None else []
        for place in places:
            try:
                async with asyncio.timeout(LAN_KNOCK_S / len(places)):
                    sealed = await knock_at(place, make())
                take(sealed)
            except TimeoutError:
                _log.info("no reply of a neighbour", peer=shorten_peer_id(host), reason="no answer in time")
            except (Unavailable, PeerFault) as exc:
                _log.info("no reply of a neighbour", peer=shorten_peer_id(host), reason=exc.message[:200])
            else:
                return True
        return False

    async def find_partner(self, host: PeerId) -> Whereabouts | None:
        """Return where a host that has an agreement with us is in the network; None: nowhere that could be told."""
        recognition = self._recognition_of(host) if self.is_allowed() else None
        if recognition is None:
            return None
        found: list[Whereabouts] = []
        done = asyncio.Event()

        async def seek(place: Place) -> None:
            if (binding := await seek_at(place, recognition)) is not None:
                found.append(read_binding(binding, host))
                done.set()

        await self._look(seek, done)
        return found[0] if found else None

    def _recognition_of(self, host: PeerId) -> Recognition | None:
        signed = next((signed for _, peer, signed in self._state.agreements() if peer == host), None)
        return recognition_of(peek_statement(Agreement, signed)) if signed is not None else None

    def _note(self, peer: PeerId, place: Place) -> None:
        seen = self._seen.setdefault(peer, Seen(0))
        seen.time_ms = self._clock.now_ms()
        # The newest first: a machine that moved is asked where it is now, before where it was.
        seen.places = [place, *(known for known in seen.places if known != place)][:LAN_CLAIMS]

    async def _look(self, ask: OnPlace, done: asyncio.Event, *, known: Iterable[Place] = ()) -> None:
        """Ask each place that is heard of, until `done` or for LAN_BROWSE_S; what fails is passed over.

        known: places to ask at once, while others are still to be heard of.
        """
        asked = set[Place]()
        room, asking = asyncio.Semaphore(LAN_PLACES_AT_ONCE), set[asyncio.Task[None]]()

        async def ask_in_turn(place: Place) -> None:
            try:
                async with room:
                    await ask(place)
            except BackupPeerError as exc:
                _log.info("a neighbour is of no use", reason=exc.message[:200])

        def take(place: Place) -> None:
            if place not in asked:
                asked.add(place)
                asking.add(asyncio.create_task(ask_in_turn(place)))

        for place in list(known):
            take(place)
        try:
            async with asyncio.timeout(LAN_BROWSE_S):
                networks = list_interfaces(self._binds)
                await _until(done, hear(networks, take, for_s=LAN_LOOK_S, service=self._service))
                await _until(done, asyncio.wait(asking) if asking else None)
        except TimeoutError:
            pass  # what was found by now counts
        except Unavailable as exc:
            _log.info("the local network can't be asked", reason=exc.message[:200])
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)


async def _until(done: asyncio.Event, work: Coroutine[Any, Any, Any] | None) -> None:
    """Do some work until it ends, or until `done`."""
    if work is None:
        return
    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(work), asyncio.create_task(done.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def recognition_of(agreement: Agreement) -> Recognition:
    """Return what both sides of an agreement recognise each other by in a network."""
    return derive_recognition(AgreementId(agreement.agreement), RepositoryId(agreement.repository))
