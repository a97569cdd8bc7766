"""One amendment of the list of snapshots (`forget`, `tag`): hosts gathered, the list stored, the head left (ADR 0017).

Knows: the order of these steps, and when an amendment stands. Must not know: what is amended, or why. It stands once
one host has the head; only then the index follows. Killed before that, the newest head here says the new thing and
the index still the old one: the next job that asks hosts follows the head. When no host takes it, a further head says
the old thing again, and nothing was changed.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from backuppeer.agent.owner.gathering import Gathering
from backuppeer.agent.owner.leaving import prefer_staying
from backuppeer.agent.owner.unfinished import find_named
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.reporter import Reporter
from backuppeer.backup.amending import Amended, Amendment, amend
from backuppeer.control.saving import LeftOut
from backuppeer.errors import PeerUnreachable, Unavailable
from backuppeer.ids import LogicalId, PeerId, SnapshotId
from backuppeer.limits import AMEND_COPY_BYTES

_AWAY: Final = "the next backup tells it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What stands. `told`: who has the head. `renamed`: new ids by old ones. `kept`: how many snapshots there are."""

    amendment: Amendment
    renamed: dict[SnapshotId, SnapshotId]
    kept: int
    told: list[PeerId]
    left_out: list[LeftOut]


class AmendJob:
    """One run of `forget` or `tag`."""

    def __init__(self, vault: Vault, reporter: Reporter) -> None:
        self._vault, self._reporter = vault, reporter
        self._hosts = Gathering(vault, reporter)

    async def run(self, decide: Callable[[], Amendment]) -> Outcome:
        """Do what `decide` says: asked at once, so that a mistake costs nobody's time, and again after the hosts.

        Raises:
            NotFoundError: no host is agreed.
            PeerUnreachable: no host can be reached; nothing was changed.
            RefusedError: no host takes the list, or this home may only read.
            BackupPeerError: what `decide` raises.

        """
        self._vault.check_writable()
        amendment = decide()
        if not amendment:
            return self._report(amendment, None, [])
        # What is stored here is not for a prune beside this, until the head names it.
        with self._vault.repository.index.turnover.relying():
            return await self._run(decide)

    async def _run(self, decide: Callable[[], Amendment]) -> Outcome:
        try:
            # A host that lacks a lot, a new one for example, waits for a backup: nobody expects hours of a `tag`.
            staying = prefer_staying(self._vault.deeds, self._vault.partners())
            partners = await self._hosts.meet(staying, copy_bytes=AMEND_COPY_BYTES)
            amendment = decide()
            return await self._do(amendment, partners) if amendment else self._report(amendment, None, [])
        except Unavailable as exc:
            raise PeerUnreachable(f"nothing was changed: {exc.message}", hint=exc.hint) from exc

    async def _do(self, amendment: Amendment, partners: list[Partner]) -> Outcome:
        repository = self._vault.repository
        self._reporter.begin("storing the list of snapshots", unit="pack")
        upload = self._hosts.make_upload(partners, is_list=True)
        step = partial(
            amend,
            amendment,
            upload,
            keys=repository.keys,
            index=repository.index,
            cache=repository.cache,
            named=await asyncio.to_thread(find_named, self._vault, self._vault.source(wait_s=0)),
        )
        amended = await self._hosts.in_thread(upload, step)
        told = await seal(self._vault, self._hosts, amended, partners)
        # What was forgotten need not be copied to who lacks it; `status` is to say so from now on.
        await self._vault.learn_waste()
        return self._report(amendment, amended, told)

    def _report(self, amendment: Amendment, amended: Amended | None, told: list[PeerId]) -> Outcome:
        self._hosts.note_failures()
        return Outcome(
            amendment=amendment,
            renamed=amended.renamed if amended else {},
            kept=len(self._vault.repository.index.snapshot_names()),
            told=told,
            left_out=self._hosts.describe_left_out(hint=_AWAY),
        )


async def seal(
    vault: Vault, hosts: Gathering, amended: Amended, partners: list[Partner], *, again: Iterable[LogicalId] = ()
) -> list[PeerId]:
    """Sign the head and leave it with the hosts; the first that has it makes it stand. Return who has it.

    `again`: dropped packs that it names once more.

    Raises:
        BackupPeerError: no host took it; then a further head says what was said before.

    """
    heads, index = vault.heads, vault.repository.index
    await hosts.complete(partners, amended.published.inventory)
    before = heads.newest()
    heads.extend(amended.published.index, amended.published.inventory)
    hosts.named = set(amended.published.inventory.packs)
    told: list[PeerId] = []

    def on_told(partner: Partner) -> None:
        if not told:
            index.set_snapshots(amended.rows.items())
            index.turnover.take_back(again)
            index.turnover.name(amended.published.inventory.packs)
        told.append(partner.peer)

    try:
        return [partner.peer for partner in await hosts.leave_head(partners, on_told)]
    finally:
        # Also when the person left in between: half a change must not come true later, behind their back.
        if not told and before is not None:
            heads.take_back(before[0])
