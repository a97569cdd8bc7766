"""Hosts on offer: browsed, remembered for prefixes, shown with what we think of them (W2, W5).

Knows: listings, filters, scores. Must not know: how to connect. Servers are never told what is looked for.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from backuppeer.agent.home.identity_alarms import Sort
from backuppeer.agent.home.state import State
from backuppeer.agent.peers.misbinding import raise_alarm
from backuppeer.agent.peers.neighbours import Neighbours
from backuppeer.agent.peers.offers import describe_promises
from backuppeer.agent.repute.explaining import Regard
from backuppeer.agent.repute.views import Views
from backuppeer.clock import Clock, format_time
from backuppeer.control.api import BrowseRequest, BrowseRow
from backuppeer.errors import DamagedStateError, NoSignaling
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.limits import BROWSE_SLICE_ROWS
from backuppeer.proof.promises import join_promises
from backuppeer.signaling.health import HealthBook
from backuppeer.signaling.listing import ListingKind, VerifiedListing
from backuppeer.signaling.merge import Merger, SeqMemory
from backuppeer.signaling.pool import BrowseResult, Pool

_MEMORY = "market.seqs"
_HEALTH = "market.servers"
_NO_NETWORK: Final = "this network can't be looked at: this home listens at no address in it (BACKUPPEER_BIND)"
OnRows = Callable[[list[BrowseRow]], None]
"""Called with rows as they arrive, filtered and sorted among themselves; a row may come again, changed."""


class Market:
    """The market as this home sees it."""

    def __init__(
        self, state: State, clock: Clock, own: PeerId, *, views: Views, neighbours: Neighbours | None = None
    ) -> None:
        self._state, self._clock, self._own = state, clock, own
        self._views, self.neighbours = views, neighbours or Neighbours(state, clock, [])
        raw = state.setting(_MEMORY)
        self.memory = SeqMemory.import_bytes(raw) if raw else SeqMemory()
        self.health = _read_health(state.setting(_HEALTH))

    async def browse(
        self, servers: list[str], request: BrowseRequest, *, on_rows: OnRows | None = None
    ) -> list[BrowseRow]:
        """Ask all servers and, where allowed, the local network; filter and sort here.

        Everybody heard of is remembered, also those not shown (ADR 0014).

        on_rows: told of rows before all servers have answered.

        Raises:
            NoSignaling: no server answered.

        """
        names = {record.peer: record.alias for record in self._state.peers()}
        regards: dict[PeerId, Regard] = {}

        def tell(news: list[VerifiedListing]) -> None:
            slots = [one for one in news if one.listing.kind is ListingKind.SLOT and one.peer != self._own]
            found = [(self._row(one, names, regards), one) for one in slots]
            passing = _sort([pair for pair in found if _passes(pair[0], request)], request.sort)
            if passing and on_rows is not None:
                on_rows([row for row, _ in passing])

        result = await self._ask(servers, everything=request.all, on_rows=tell if on_rows is not None else None)
        others = [listing for listing in result.listings if listing.peer != self._own]
        rows = []
        for start in range(0, len(others), BROWSE_SLICE_ROWS):
            slice_ = others[start : start + BROWSE_SLICE_ROWS]
            rows += [(self._row(listing, names, regards), listing) for listing in slice_]
            # Heartbeats and other requests go on meanwhile: 10,000 rows are 1.5 s of work.
            await asyncio.sleep(0)
        shown = _sort([pair for pair in rows if _passes(pair[0], request)], request.sort)
        if request.limit:
            shown = shown[: request.limit]
        # Those shown go last, the best at the end: what a person sees is forgotten after everything else.
        seen = [listing.peer for _, listing in reversed(shown)]
        last = set(seen)
        self._state.put_heard([*(listing.peer for _, listing in rows if listing.peer not in last), *seen])
        return [row for row, _ in shown]

    async def find(self, servers: list[str], peer: PeerId) -> VerifiedListing | None:
        """Return the newest listing of `peer`, asking servers and network; None when it is not on offer anywhere.

        Raises:
            NoSignaling: no server answered.

        """
        result = await self._ask(servers, everything=True, wanted=peer)
        found = next((listing for listing in result.listings if listing.peer == peer), None)
        if found is not None:
            self._views.apart.note_region(peer, found.listing.region)
        return found

    async def everybody(self, servers: list[str]) -> list[VerifiedListing]:
        """Return all listings but our own, asking the servers.

        Raises:
            NoSignaling: no server answered.

        """
        result = await self._ask(servers, everything=True)
        return [listing for listing in result.listings if listing.peer != self._own]

    def _row(self, verified: VerifiedListing, names: Mapping[PeerId, str], regards: dict[PeerId, Regard]) -> BrowseRow:
        """Return a row; regards: what was found of peers in this browse, filled here."""
        listing = verified.listing
        if verified.peer not in regards:
            regards[verified.peer] = self._views.explaining.regard(verified.peer)
        regard = regards[verified.peer]
        return BrowseRow(
            peer_id=format_peer_id(verified.peer),
            alias=names.get(verified.peer, ""),
            storage_bytes=listing.storage_bytes,
            free_bytes=listing.free_bytes,
            region=listing.region,
            availability=listing.availability / 1000,
            trust=regard.trust,
            trust_level=regard.level,
            expires=format_time(listing.expires_ms),
            servers=list(verified.servers),
            promises=describe_promises(join_promises(listing.availability, listing.ext)),
            capped=regard.capped,
            reason=regard.reason,
            forked=verified.is_equivocating,
            lan=self.neighbours.is_allowed() and verified.peer in self.neighbours.seen(),
        )

    async def _ask(
        self,
        servers: list[str],
        *,
        everything: bool,
        on_rows: Callable[[list[VerifiedListing]], None] | None = None,
        wanted: PeerId | None = None,
    ) -> BrowseResult:
        before = self._find_forked()
        nearby = asyncio.create_task(self._look_around(wanted))
        try:
            result = await self._ask_servers(servers, everything=everything, on_rows=on_rows, wanted=wanted)
        except NoSignaling as exc:
            if not (found := await nearby) and not (self.neighbours.is_allowed() and not servers):
                raise self._advise(exc) from exc
            result = BrowseResult(listings=[], seen=0, refused=0, answered=[], failed=[])
        else:
            found = await nearby
        finally:
            nearby.cancel()
        result = self._join(result, found) if found else result
        self._state.put_setting(_MEMORY, self.memory.export_bytes())
        # Once, and not for as long as the memory of it lasts.
        for peer in self._find_forked() - before:
            raise_alarm(self._state, peer, Sort.FORKED, now_ms=self._clock.now_ms())
        return result

    async def _ask_servers(
        self,
        servers: list[str],
        *,
        everything: bool,
        on_rows: Callable[[list[VerifiedListing]], None] | None,
        wanted: PeerId | None,
    ) -> BrowseResult:
        async with Pool(servers, clock=self._clock, memory=self.memory, health=self.health) as pool:
            try:
                return await pool.browse(everything=everything, on_rows=on_rows, wanted=wanted)
            finally:
                self._state.put_setting(_HEALTH, self.health.export_bytes())

    def _advise(self, exc: NoSignaling) -> NoSignaling:
        """Return the error with the way out that needs no server, or with what came of it."""
        can_look = self.neighbours.can_look()
        if self.neighbours.is_allowed():
            found = "nobody offers space in this network, either" if can_look else _NO_NETWORK
            return NoSignaling(f"{exc.message}; {found}", hint=exc.hint)
        if not can_look:
            return exc
        return NoSignaling(exc.message, hint=f"{exc.hint}; `backup-peer browse --lan` looks in this network, too")

    async def _look_around(self, wanted: PeerId | None) -> list[VerifiedListing]:
        return await self.neighbours.listings(wanted) if self.neighbours.is_allowed() else []

    def _join(self, result: BrowseResult, nearby: list[VerifiedListing]) -> BrowseResult:
        """Return a result with what the network shows: of each host the newest, none older than was seen before."""
        merger = Merger(self.memory)
        rows = {listing.peer: listing for listing in result.listings}
        for listing in nearby:
            merger.add(listing, "")
        for listing in merger.listings():
            known = rows.get(listing.peer)
            if known is None or listing.listing.seq > known.listing.seq:
                rows[listing.peer] = msgspec.structs.replace(listing, servers=())
        return msgspec.structs.replace(result, listings=list(rows.values()), seen=result.seen + len(nearby))

    def _find_forked(self) -> set[PeerId]:
        """Return who is known here and signed two offers of one number."""
        seen = ((record.peer, self.memory.get(record.peer)) for record in self._state.peers())
        return {peer for peer, found in seen if found is not None and found.is_equivocating}


def _read_health(kept: bytes | None) -> HealthBook:
    """Return what was known of the servers; it is no loss to begin anew."""
    try:
        return HealthBook.import_bytes(kept) if kept else HealthBook()
    except DamagedStateError:
        return HealthBook()


def _passes(row: BrowseRow, request: BrowseRequest) -> bool:
    return (
        row.trust >= request.min_trust
        and row.free_bytes >= request.min_storage
        and row.availability >= request.min_availability
        and (not request.region or row.region.upper().startswith(request.region.upper()))
    )


_ORDERS: Final[dict[str, Callable[[BrowseRow], tuple[float, float]]]] = {
    "trust": lambda row: (-row.trust, -row.free_bytes),
    "free": lambda row: (-row.free_bytes, -row.trust),
    "availability": lambda row: (-row.availability, -row.trust),
}


def _sort(pairs: list[tuple[BrowseRow, VerifiedListing]], key: str) -> list[tuple[BrowseRow, VerifiedListing]]:
    """Best first; ties by id, so that the order doesn't jump about."""
    value = _ORDERS.get(key, _ORDERS["trust"])
    return sorted(pairs, key=lambda pair: (*value(pair[0]), pair[0].peer_id))
