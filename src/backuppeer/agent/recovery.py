"""Recovery: from an identity derived from the words to a readable repository (DESIGN 10 `recover`).

Knows: how to ask hosts whether they know us, how their answers become an index. Must not know: the words; the command
turned them into keys and forgot them. Read-only: the home has no grant.
"""

import asyncio
from collections.abc import Coroutine

import structlog

from backuppeer.agent.adoption import adopt_agreements
from backuppeer.agent.keyring import HomeKeys
from backuppeer.agent.knocking import Knocking
from backuppeer.agent.market import Market
from backuppeer.agent.names import name_of
from backuppeer.agent.partners import Partner, Reach
from backuppeer.agent.reporter import Reporter
from backuppeer.agent.state import State
from backuppeer.agent.vault import Vault
from backuppeer.control.api import RecoverRequest, RecoverResult
from backuppeer.errors import BackupPeerError, IntegrityFault, NotFoundError, RefusedError, Unavailable, UserError
from backuppeer.ids import PeerId, format_peer_id, parse_peer_id
from backuppeer.limits import RECOVERY_KNOCKS
from backuppeer.signaling.listing import VerifiedListing

_log = structlog.get_logger()


class Recovery:
    """One run of `recover`."""

    def __init__(
        self, keys: HomeKeys, state: State, vault: Vault, *, market: Market, knocking: Knocking, reach: Reach
    ) -> None:
        self._keys, self._state, self._vault = keys, state, vault
        self._market, self._knocking, self._reach = market, knocking, reach
        self._notes: list[str] = []

    async def run(self, request: RecoverRequest, servers: list[str], reporter: Reporter) -> RecoverResult:
        """Find hosts that keep our packs, take the newest head among them, rebuild the index.

        Raises:
            NotFoundError: nobody who could be asked keeps anything of ours.
            NoSignaling: no server answered.
            IntegrityFault: hosts hold back or lost what the newest head commits to.

        """
        wanted = {_read_id(text) for text in request.peers}
        await reporter.state("searching", "looking for hosts that keep your backups")
        listings = await self._market.everybody(servers)
        candidates = [listing for listing in listings if not wanted or listing.peer in wanted]
        await self._ask_all(candidates, servers, reporter)
        partners = self._partners(wanted)
        count = await self._read(partners, reporter)
        newest = self._vault.heads.newest()
        if len(partners) == 1:
            self._notes.append("one host was heard: the newest state can't be proven against another witness")
        return RecoverResult(
            peer_id=format_peer_id(self._keys.peer),
            peers=[format_peer_id(partner.peer) for partner in partners],
            snapshots=len(self._vault.repository.index.snapshots()),
            packs=count,
            head=newest[0].number if newest else 0,
            notes=self._notes,
        )

    async def _ask_all(self, listings: list[VerifiedListing], servers: list[str], reporter: Reporter) -> None:
        places = asyncio.Semaphore(RECOVERY_KNOCKS)
        done = 0

        async def ask(listing: VerifiedListing) -> None:
            nonlocal done
            async with places:
                await self._ask(listing, servers, reporter)
            done += 1
            reporter.update(files=done)

        reporter.begin("asking hosts", files_total=len(listings))
        await asyncio.gather(*(ask(listing) for listing in listings))

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
        except BackupPeerError as exc:
            self._notes.append(f"{name_of(self._state, listing.peer)}: {exc.message}")

    def _partners(self, wanted: set[PeerId]) -> list[Partner]:
        try:
            everybody = self._vault.partners()
        except NotFoundError as exc:
            heard = f" ({'; '.join(self._notes)})" if self._notes else ""
            raise NotFoundError(
                f"no host that could be asked keeps backups of yours{heard}",
                hint="hosts must be online and on offer; name them with --peer ID, and their servers with --server URL",
            ) from exc
        return [partner for partner in everybody if not wanted or partner.peer in wanted] or everybody

    async def _read(self, partners: list[Partner], reporter: Reporter) -> int:
        """Take heads from all hosts first, so that the newest decides; then read directories from each."""
        for partner in partners:
            await self._hear(partner, self._vault.hear(partner, reporter))
        for partner in partners:
            await self._hear(partner, self._vault.refresh(partner, reporter))
        try:
            await self._vault.ensure_whole()
        except (IntegrityFault, Unavailable) as exc:
            self._notes.append(exc.message)
            if not self._vault.repository.index.snapshots():
                raise
        return sum(1 for _ in self._vault.repository.index.packs())

    async def _hear(self, partner: Partner, step: Coroutine[None, None, object]) -> None:
        """Do a step with one host; what goes wrong there is noted, and the others are still heard."""
        try:
            await step
        except BackupPeerError as exc:
            self._vault.blame(partner, exc)
            self._notes.append(f"{partner.name}: {exc.message}")


def _read_id(text: str) -> PeerId:
    if "@" in text:
        raise UserError(
            "--peer ID@ADDR is not supported yet: hosts are found through signaling servers",
            hint="give --peer ID, and --server URL for the server that the host uses",
        )
    return parse_peer_id(text)
