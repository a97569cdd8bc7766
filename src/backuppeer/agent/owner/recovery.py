"""Recovery: from an identity derived from the words to a readable repository (DESIGN 10 `recover`).

Knows: how to ask hosts whether they know us, how their answers become an index. Must not know: the words; the command
turned them into keys and forgot them. Read-only: the home has no grant.
"""

import asyncio
from typing import Final

import structlog

from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.home.state import State
from backuppeer.agent.owner.adoption import adopt_agreements
from backuppeer.agent.owner.meeting import Meeting
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.knocking import Knocking
from backuppeer.agent.peers.market import Market
from backuppeer.agent.peers.names import name_of, say_of
from backuppeer.agent.peers.partners import Partner, Reach
from backuppeer.agent.reporter import Reporter
from backuppeer.control.api import RecoverRequest, RecoverResult
from backuppeer.errors import BackupPeerError, NotFoundError, RefusedError, Unavailable
from backuppeer.ids import PeerId, format_peer_id, parse_peer_id
from backuppeer.limits import RECOVERY_KNOCKS
from backuppeer.signaling.listing import VerifiedListing

_log = structlog.get_logger()
_ASK_AGAIN: Final = (
    "ask the person who keeps your backups to run `host` again, then run `backup-peer recover` again: it "
    "goes on without the words; if that host uses other servers, name them with --server URL. Were these the words of "
    "another backup? Then recover into another folder: --home DIR"
)


class Recovery:
    """One run of `recover`.

    Strangers are asked too, since the words don't say who keeps our packs: those that stay silent are counted, and only
    hosts that the person named are spoken of one by one.
    """

    def __init__(
        self, keys: HomeKeys, state: State, vault: Vault, *, market: Market, knocking: Knocking, reach: Reach
    ) -> None:
        self._keys, self._state, self._vault = keys, state, vault
        self._market, self._knocking, self._reach = market, knocking, reach
        self._notes: list[str] = []
        self._wanted: set[PeerId] = set()
        self._asked, self._silent = 0, 0

    async def run(self, request: RecoverRequest, servers: list[str], reporter: Reporter) -> RecoverResult:
        """Find hosts that keep our packs, take the newest head among them, rebuild the index.

        Raises:
            NotFoundError: nobody who could be asked keeps anything of ours.
            NoSignaling: no server answered.
            IntegrityFault: hosts hold back or lost some of what the newest head commits to; the rest is there now.
            IncompleteError: so, but a host that may have it could not be heard.

        """
        self._wanted = {parse_peer_id(text) for text in request.peers}
        await reporter.state("searching", "looking for hosts that keep your backups")
        listings = await self._market.everybody(servers)
        on_offer = {listing.peer for listing in listings}
        self._notes += [f"{name_of(self._state, peer)} is not on offer" for peer in sorted(self._wanted - on_offer)]
        candidates = [listing for listing in listings if not self._wanted or listing.peer in self._wanted]
        await self._ask_all(candidates, servers, reporter)
        partners = self._partners()
        missing = await self._read(partners, reporter)
        self._vault.end_recovery()
        newest = self._vault.heads.newest()
        if len(partners) == 1:
            self._notes.append("one host was heard: the newest state can't be proven against another witness")
        if missing is not None:
            for note in self._notes:
                reporter.note(note)
            raise missing
        return RecoverResult(
            peer_id=format_peer_id(self._keys.peer),
            peers=[format_peer_id(partner.peer) for partner in partners],
            snapshots=len(self._vault.repository.index.snapshots()),
            packs=sum(1 for _ in self._vault.repository.index.packs()),
            head=newest[0].number if newest else 0,
            notes=self._notes,
        )

    async def _ask_all(self, listings: list[VerifiedListing], servers: list[str], reporter: Reporter) -> None:
        places = asyncio.Semaphore(RECOVERY_KNOCKS)
        waiting: list[str] = []

        def tell() -> None:
            others = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
            reporter.count(self._asked, current=f"waiting for {waiting[0]}{others}" if waiting else "")

        async def ask(listing: VerifiedListing) -> None:
            name = name_of(self._state, listing.peer)
            async with places:
                waiting.append(name)
                tell()
                await self._ask(listing, servers, reporter)
                waiting.remove(name)
            self._asked += 1
            tell()

        reporter.begin("asking hosts", unit="host", files_total=len(listings))
        await asyncio.gather(*(ask(listing) for listing in listings))
        if self._silent and not self._wanted:
            self._notes.append(f"{self._silent} of {self._asked} hosts asked did not answer")

    async def _ask(self, listing: VerifiedListing, servers: list[str], reporter: Reporter) -> None:
        """Knock at one host; one that does not know us refuses, and is no error."""
        try:
            _, where = await self._knocking.knock_at(listing, self._knocking.empty_wish(listing.peer), servers)
            if where is None:
                return
            session = await self._reach.dial(listing.peer, where)
            if adopt_agreements(self._state, self._keys, session):
                await reporter.state("connected", f"{name_of(self._state, listing.peer)} keeps backups of yours")
        except RefusedError:
            return
        except Unavailable as exc:
            self._silent += 1
            if listing.peer in self._wanted:
                self._notes.append(say_of(self._state, listing.peer, exc))
        except BackupPeerError as exc:
            self._notes.append(say_of(self._state, listing.peer, exc))

    def _partners(self) -> list[Partner]:
        try:
            everybody = self._vault.partners()
        except NotFoundError as exc:
            heard = f" ({'; '.join(self._notes)})" if self._notes else ""
            found = "that could be asked keeps backups of yours" if self._asked else "is on offer"
            raise NotFoundError(f"no host {found}{heard}", hint=_ASK_AGAIN) from exc
        return [partner for partner in everybody if not self._wanted or partner.peer in self._wanted] or everybody

    async def _read(self, partners: list[Partner], reporter: Reporter) -> BackupPeerError | None:
        """Take heads from all hosts first, so that the newest decides; then read directories from each.

        Return what to tell of that which the newest head commits to and is not there.
        """
        meeting = Meeting(self._vault, reporter, self._note)
        losses = await meeting.mend(partners)
        for partner in partners:
            held = meeting.held.get(partner.agreement)
            if held is not None and self._vault.heads.find_stray(held):
                text = "has not heard of the last take-over: what it alone keeps joins the list with the next backup"
                self._notes.append(f"{partner.name} {text}")
        count = len(self._vault.repository.index.snapshots())
        found = f"found {count} snapshot{'' if count == 1 else 's'}"
        return meeting.witnesses().explain(losses, found=found) if losses else None

    def _note(self, partner: Partner, error: BackupPeerError) -> None:
        """Note what went wrong with one host; the others are still heard."""
        self._vault.blame(partner, error)
        self._notes.append(say_of(self._state, partner.peer, error))
