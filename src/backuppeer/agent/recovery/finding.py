"""Hosts found in a recovery: dialled where they left word to be, or a person says they are, else by the market.

Knows: notes, places, listings, in that order, and who could not be met and why. Must not know: heads, packs, the words.

Who keeps our packs is known from notes, if there are any; then no stranger is bothered with a knock that tells who we
are. Without notes (hosts or servers of a version of before) everybody on offer is asked, as it always was.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import structlog

from backuppeer.agent.brake import brake_of_job
from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.home.state import State
from backuppeer.agent.peers.knocking import Knocking
from backuppeer.agent.peers.market import Market
from backuppeer.agent.peers.names import name_of, say_of
from backuppeer.agent.peers.partners import Reach, remembered
from backuppeer.agent.peers.session import Session
from backuppeer.agent.peers.whereabouts import Whereabouts
from backuppeer.agent.recovery.adoption import adopt_agreements
from backuppeer.agent.recovery.inboxes import FoundNote
from backuppeer.agent.reporter import Reporter
from backuppeer.control.recovering import Place, RecoverRequest
from backuppeer.errors import BackupPeerError, NoSignaling, RefusedError, Unavailable
from backuppeer.ids import PeerId, parse_peer_id
from backuppeer.limits import RECOVERY_DIALS, RECOVERY_KNOCKS
from backuppeer.signaling.listing import VerifiedListing

_log = structlog.get_logger()
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ways:
    """By which hosts are found."""

    market: Market
    knocking: Knocking
    reach: Reach


class Finding:
    """One search. `met`: hosts in session that keep packs of ours. `notes`: what a person should know of the others.

    Strangers are asked too where no note says who keeps our packs: those that stay silent are counted, and only hosts
    that the person named, or that are known to be ours, are spoken of one by one.
    """

    def __init__(
        self,
        keys: HomeKeys,
        state: State,
        *,
        ways: Ways,
        request: RecoverRequest,
        reporter: Reporter,
    ) -> None:
        self._keys, self._state = keys, state
        self._market, self._knocking, self._reach = ways.market, ways.knocking, ways.reach
        self._request, self._reporter = request, reporter
        self.wanted = {parse_peer_id(text) for text in request.peers}
        self.met: set[PeerId] = set()
        self.notes: list[str] = []
        self.asked = 0
        self._silent = 0
        self._reasons: dict[PeerId, str] = {}

    async def dial(self, notes: Iterable[FoundNote]) -> None:
        """Dial the hosts that are known, and not met: where the person says, where they left word, where they were."""
        await self._dial_all(self._list_ways(notes))

    async def meet_named(self, notes: Iterable[FoundNote], servers: list[str]) -> None:
        """Meet the hosts that the person named, and nobody else, for what they show: later nobody asks under this name.

        One that can't be met is no error.
        """
        await self._dial_all([ways for ways in self._list_ways(notes) if ways[0][0] in self.wanted])
        if self.wanted - self.met:
            with suppress(NoSignaling):
                await self.ask_market(servers)

    def _list_ways(self, notes: Iterable[FoundNote]) -> list[list[tuple[PeerId, Whereabouts]]]:
        """Return where each host that is known, and not met, may be, the likeliest first."""
        places = {parse_peer_id(place.peer_id): _read_place(place) for place in self._request.places}
        told = {note.host: note.where for note in sorted(notes, key=lambda note: note.time_ms)}
        hosts = [host for _, host, _ in self._state.agreements()]
        ways: list[tuple[PeerId, Whereabouts]] = []
        for host in dict.fromkeys(host for host in [*places, *told, *hosts] if host not in self.met):
            known = (places.get(host), told.get(host), remembered(self._state, host))
            ways += [(host, where) for where in dict.fromkeys(known) if where is not None]
        return [[way for way in ways if way[0] == host] for host in dict.fromkeys(host for host, _ in ways)]

    async def _dial_all(self, by_host: list[list[tuple[PeerId, Whereabouts]]]) -> None:
        if by_host:
            self._reporter.begin("dialling hosts", unit="host", files_total=len(by_host))
        await self._each([(tries[0][0], tries) for tries in by_host], RECOVERY_DIALS, self._dial)

    def is_wanting(self) -> bool:
        """Whether hosts are still to be looked for: one that is ours or was named is not met, or all are asked for."""
        return bool(self._request.all or not self.met or self._missing() or self.wanted - self.met)

    def _missing(self) -> set[PeerId]:
        return {host for _, host, _ in self._state.agreements()} - self.met

    async def ask_market(self, servers: list[str]) -> None:
        """Ask hosts on offer whether they know us: those that are known to be ours, or else everybody.

        Raises:
            NoSignaling: no server answered.

        """
        missing = self._missing()
        listings = await self._market.everybody(servers)
        on_offer = {listing.peer for listing in listings}
        named = self.wanted - self.met
        self.notes += [f"{name_of(self._state, peer)} is not on offer" for peer in sorted(named - on_offer)]
        chosen = [listing for listing in listings if listing.peer not in self.met]
        if self.wanted:
            chosen = [listing for listing in chosen if listing.peer in self.wanted]
        elif self.met and not self._request.all:
            chosen = [listing for listing in chosen if listing.peer in missing]
        self._reporter.begin("asking hosts", unit="host", files_total=len(chosen))
        await self._each([(listing.peer, listing) for listing in chosen], RECOVERY_KNOCKS, self._knock(servers))
        self.asked = len(chosen)
        if self._silent and not self.wanted:
            self.notes.append(f"{self._silent} of {self.asked} hosts asked did not answer")

    def explain(self, peer: PeerId) -> str:
        """Return why a host could not be met, '' if nothing is known of it or it was met."""
        return self._reasons.get(peer, "")

    async def _each(
        self, items: Sequence[tuple[PeerId, T]], at_once: int, step: Callable[[T], Awaitable[None]]
    ) -> None:
        """Do a step for each host, so many side by side, and tell how far it is and who is waited for."""
        places, waiting, done = asyncio.Semaphore(at_once), list[str](), 0

        def tell() -> None:
            others = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
            self._reporter.count(done, current=f"waiting for {waiting[0]}{others}" if waiting else "")

        async def run(peer: PeerId, item: T) -> None:
            nonlocal done
            name = name_of(self._state, peer)
            async with places:
                await brake_of_job().held()
                waiting.append(name)
                tell()
                await step(item)
                waiting.remove(name)
            done += 1
            tell()

        await asyncio.gather(*(run(peer, item) for peer, item in items))

    async def _dial(self, tries: Sequence[tuple[PeerId, Whereabouts]]) -> None:
        for peer, where in tries:
            try:
                await self._greet(await self._reach.dial(peer, where), peer)
            except BackupPeerError as exc:
                self._reasons[peer] = exc.message
            else:
                return

    def _knock(self, servers: list[str]) -> Callable[[VerifiedListing], Awaitable[None]]:
        async def knock(listing: VerifiedListing) -> None:
            """Knock at one host; one that does not know us refuses, and is no error."""
            try:
                _, where = await self._knocking.knock_at(listing, self._knocking.empty_wish(listing.peer), servers)
                if where is not None:
                    await self._greet(await self._reach.dial(listing.peer, where), listing.peer)
            except RefusedError as exc:
                self._reasons.setdefault(listing.peer, exc.message)
            except Unavailable as exc:
                self._silent += 1
                self._reasons.setdefault(listing.peer, exc.message)
                if listing.peer in self.wanted:
                    self.notes.append(say_of(self._state, listing.peer, exc))
            except BackupPeerError as exc:
                self.notes.append(say_of(self._state, listing.peer, exc))

        return knock

    async def _greet(self, session: Session, peer: PeerId) -> None:
        """Take what a host shows of our agreements with it."""
        if adopt_agreements(self._state, self._keys, session):
            self.met.add(peer)
            self._reasons.pop(peer, None)
            await self._reporter.state("connected", f"{name_of(self._state, peer)} keeps backups of yours")
        else:
            self._reasons[peer] = "it is there, and keeps no backups of yours"


def _read_place(place: Place) -> Whereabouts:
    return Whereabouts(bytes.fromhex(place.transport), tuple(place.addresses))
