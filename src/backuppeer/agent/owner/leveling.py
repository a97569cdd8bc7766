"""One host of a job brought level: given what it lacks of the newest head, then of the one that is about to be made.

Knows: what hosts owe (`owed`), where it can be copied from. Must not know: who takes part in a job, and what becomes
of a host that can't be brought up.

Twice, because a backup may go on from packs that an earlier one, which broke off, left at some of its hosts: which of
them it needs is known when it is done. Nobody gets the rest, which a prune drops (ADR 55).
"""

import asyncio
import threading
from collections.abc import Sequence

from backuppeer.agent.owner.copying import copy_missing, find_shortage
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.reporter import Reporter, beating
from backuppeer.errors import PeerUnreachable, RefusedError
from backuppeer.ids import LogicalId
from backuppeer.repo.head import Inventory
from backuppeer.sizes import format_size


class Leveling:
    """The ways of one job to its hosts. `stop`: set when the person has left."""

    def __init__(self, vault: Vault, reporter: Reporter, stop: threading.Event) -> None:
        self._vault, self._reporter, self._stop = vault, reporter, stop

    async def prepare(self, partners: Sequence[Partner]) -> None:
        """Find out what need not be copied to any of these hosts, if one of them lacks something."""
        async with beating(self._reporter):
            await self._vault.learn_waste(partners)

    async def bring_up(self, partner: Partner, *, copy_bytes: int | None, is_waited_for: bool) -> RefusedError | None:
        """Copy to a host what it lacks of the newest head, and other hosts give; return why that can't be, if so.

        `copy_bytes`: no more than that; None: any number. `is_waited_for`: other hosts wait for this one.

        Raises:
            BackupPeerError: it takes no packs, or can't be asked.

        """
        missing = await asyncio.to_thread(self._vault.owed.lacking_at, partner.agreement)
        if copy_bytes is not None:
            lacking = await asyncio.to_thread(self._vault.repository.ledger.measure, missing)
            if lacking > copy_bytes:
                return RefusedError(
                    f"it lacks {format_size(lacking)} of your backup",
                    hint=f"`backup-peer backup` brings {partner.name} up first",
                )
        shortage = await self._find_obstacle(partner, missing)
        if shortage is None:
            await self._copy(partner, missing, is_waited_for=is_waited_for)
        return shortage

    async def complete(self, partner: Partner, inventory: Inventory) -> RefusedError | PeerUnreachable | None:
        """Copy to a host what the next head names, no head before did, and it lacks; as `bring_up`.

        Raises:
            BackupPeerError: it takes no packs, or can't be asked.

        """
        missing = await asyncio.to_thread(self._find_new, partner, inventory)
        shortage = await self._find_obstacle(partner, missing)
        if shortage is None and await self._copy(partner, missing, is_draft=True):
            return PeerUnreachable(
                "it lacks a part that an earlier backup, which broke off, sent to others, and they don't give it now",
                hint=f"run the same again: what {partner.name} lacks is sent to it from your files then",
            )
        return shortage

    async def _find_obstacle(self, partner: Partner, missing: Sequence[LogicalId]) -> RefusedError | None:
        """Return why a host can't have all of these packs: no room, or too much for a stranger."""
        vault = self._vault
        lacking = await asyncio.to_thread(vault.repository.ledger.measure, missing)
        if lacking and (exposed := vault.exposing.find_refusal(partner.peer, lacking, name=partner.name)):
            return exposed
        return await find_shortage(vault.repository, partner, missing, vault.clock.now_ms())

    def _find_new(self, partner: Partner, inventory: Inventory) -> list[LogicalId]:
        pending = self._vault.owed.pending()
        named = (pack for pack in inventory.packs if pack in pending)
        return list(self._vault.repository.ledger.lacking_at(partner.agreement, named))

    async def _copy(
        self, partner: Partner, missing: Sequence[LogicalId], *, is_waited_for: bool = False, is_draft: bool = False
    ) -> int:
        async with beating(self._reporter):
            return await copy_missing(
                self._vault.repository,
                partner,
                missing,
                self._vault.source(wait_s=0),
                self._reporter,
                clock=self._vault.clock,
                stop=self._stop,
                exposing=self._vault.exposing,
                is_waited_for=is_waited_for,
                is_draft=is_draft,
            )
