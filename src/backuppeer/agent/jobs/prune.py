"""One `prune`: counted, planned, marked, moved, published, told (DESIGN 4, ADR 22).

Knows: the order of these steps, and when the prune stands. Must not know: how blobs are counted, how hosts delete.
Backups are made beside it: only the last step, from the list to the head, keeps them waiting, for seconds.

    count what all snapshots need → plan → mark victims as leaving (no backup relies on them from now on)
    → new packs durable → index drops what broke off, hosts erase it at once (ADR 31) → list of snapshots and packs
    durable → nothing needed is left in a victim → head signed
    → the first host has the head: the prune stands → index drops the victims → ledger dooms their copies → hosts told

Killed before the head, nothing that a head named was dropped, and what was moved is simply there twice, for the next
prune. Killed after it, the next job follows the head, and the next prune finds the copies that no head names.
"""

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

from backuppeer.agent.jobs.prune_report import Drop, describe_plan, describe_result, list_going
from backuppeer.agent.owner.copying import ask_usage
from backuppeer.agent.owner.gathering import Gathering
from backuppeer.agent.owner.leaving import prefer_staying
from backuppeer.agent.owner.meeting import Meeting
from backuppeer.agent.owner.unfinished import find_withdrawable
from backuppeer.agent.owner.upload import Upload
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.reporter import Reporter
from backuppeer.backup.browse import list_snapshots
from backuppeer.backup.census import Census
from backuppeer.backup.packer import Packer
from backuppeer.backup.prune_plan import PruneLimits, PrunePlan
from backuppeer.backup.pruning import check_moved, plan_packs, repack, weigh_packs
from backuppeer.backup.publisher import Published, Publisher
from backuppeer.backup.streams import PackSource
from backuppeer.backup.trees import TreeReader
from backuppeer.control.pruning import SNAPSHOT_DIGITS, PruneRequest, PruneResult
from backuppeer.control.pruning import PrunePlan as PlanShown
from backuppeer.errors import (
    BackupPeerError,
    InterruptedByUserError,
    PeerUnreachable,
    RefusedError,
    Unavailable,
)
from backuppeer.ids import LogicalId
from backuppeer.limits import LIST_RESERVE_BYTES
from backuppeer.sizes import format_size

_LEVEL: Final = 3
_ANY_BYTES: Final = 2**63 - 1


class PruneJob:
    """One run of `prune`, or of its plan alone."""

    def __init__(self, vault: Vault, request: PruneRequest, reporter: Reporter) -> None:
        self._vault, self._request, self._reporter = vault, request, reporter
        self._hosts = Gathering(vault, reporter)
        self._room_bytes = _ANY_BYTES
        self._waste: set[LogicalId] = set()

    async def plan(self) -> PlanShown:
        """Count, and say what would be done; nothing is changed.

        Raises:
            NotFoundError: no host is agreed.
            PeerUnreachable: what is needed can't be known: no host is there, or the one that has a folder is away.
            IntegrityFault: something that a snapshot needs is missing.

        """
        there = await self._meet()
        with self._census() as census:
            partners, plan = await self._weigh(census, there)
            drop = Drop(set(plan.victims), await asyncio.to_thread(self._find_droppable, census))
        drop.strays = await asyncio.to_thread(self._find_strays)
        drop.unfinished_bytes, drop.strays_bytes = self._measure(drop.unfinished), self._measure(drop.strays)
        for partner in partners:
            found = await find_withdrawable(partner, list_going(self._vault, partner, drop.unnamed))
            if found is not None:
                drop.at_once[partner.agreement] = found
        return describe_plan(
            self._vault,
            plan,
            drop,
            partners,
            self._hosts,
            room_bytes=self._room_bytes,
            wish_bytes=self._request.max_repack_bytes,
        )

    async def run(self) -> PruneResult:
        """Prune; what stood before is what stands when it fails.

        Raises:
            as `plan`, and RefusedError: no host takes the packs, or this home may only read.

        """
        # From before the count on: what backups beside this rely on, also those that end meanwhile, can't be taken.
        with self._vault.repository.index.turnover.relying(), self._census() as census:
            try:
                return await self._prune(census)
            finally:
                self._vault.repository.index.turnover.stay()

    async def _prune(self, census: Census) -> PruneResult:
        partners, plan = await self._weigh(census, await self._meet())
        turnover = self._vault.repository.index.turnover
        unfinished = await asyncio.to_thread(self._find_droppable, census)
        leaving = await asyncio.to_thread(turnover.mark_leaving, [*plan.victims, *unfinished])
        upload = self._hosts.make_upload(partners)
        packer = Packer(self._vault.repository.index, upload)
        moving = [pack for pack in plan.repack if pack in leaving]
        self._reporter.begin("packing anew", unit="pack", files_total=len(moving), bytes_total=plan.move_bytes)
        self._reporter.sent_bytes = lambda: upload.sent_bytes
        source = self._vault.source(self._reporter)
        staying = await self._hosts.in_thread(upload, partial(self._repack, census, moving, packer, source))
        drop = Drop(leaving - staying - unfinished, leaving & unfinished)
        told: list[Partner] = []
        async with self._vault.writing_briefly(self._say_waiting):
            # Nobody writes now: what backups beside this added is in the list that is stored next.
            losses = await self._vault.ensure_whole()
            if losses.hides_snapshots or not losses.is_list_read:
                raise PeerUnreachable("nothing was pruned: the newest state can't be read", hint="run it again later")
            await self._hosts.aside(partial(self._drop_unnamed, census, drop))
            if drop.victims or not packer.is_empty:
                told = await self._publish(census, packer, upload, drop)
            else:
                # The newest head names none of them already, so no further one is needed.
                for partner in partners:
                    if await self._has_erased(partner) and await self._hosts.clear_out(partner):
                        told.append(partner)
        self._hosts.note_failures()
        return describe_result(
            self._vault, plan, drop, self._hosts, told, sent_bytes=upload.sent_bytes, reporter=self._reporter
        )

    async def _meet(self) -> list[Partner]:
        """Hear all hosts, and bring the index in line; return those that are there.

        Raises:
            BackupPeerError: the newest state can't be read.

        """
        everybody = prefer_staying(self._vault.deeds, self._vault.partners())
        await self._reporter.state("connecting", f"connecting to {', '.join(p.name for p in everybody)}")
        meeting = Meeting(self._vault, self._reporter, self._hosts.drop)
        before = self._vault.asked.mark()
        there = await meeting.refresh(await meeting.hear(everybody))
        self._hosts.watch.note(meeting.held, since=before)
        await self._follow_head(meeting)
        return there

    async def _weigh(self, census: Census, there: Sequence[Partner]) -> tuple[list[Partner], PrunePlan]:
        """Count what all snapshots need; return the hosts that have it, and so can take part, and what to do.

        Raises:
            BackupPeerError: no host can.

        """
        self._waste = await self._hosts.aside(partial(self._count, census))
        members = [partner for partner in there if await self._can_take_part(partner)]
        if not members:
            worst = next(iter(self._hosts.failures.values()))
            if isinstance(worst, Unavailable):
                raise PeerUnreachable(f"nothing was pruned: {worst.message}", hint=worst.hint) from worst
            raise worst
        return members, await self._hosts.aside(partial(self._plan_packs, census))

    async def _follow_head(self, meeting: Meeting) -> None:
        """Bring the index in line with the newest head, but not beside a backup, whose snapshot no head names yet.

        Raises:
            BackupPeerError: the newest state can't be read.

        """
        if self._vault.busy.locked():
            losses = self._vault.named_losses()
        else:
            async with self._vault.writing_briefly(self._say_waiting):
                losses = await self._vault.ensure_whole()
        if losses.hides_snapshots or not losses.is_list_read:
            raise meeting.witnesses().explain(losses)

    async def _can_take_part(self, partner: Partner) -> bool:
        """Whether a host has all that it should, so that it may have the next head; ask how much room it has."""
        named = self._vault.repository.index.turnover.named()
        lacking = await asyncio.to_thread(self._measure_lacking, partner, named)
        if lacking:
            self._hosts.leave_out(
                partner,
                RefusedError(
                    f"it lacks {format_size(lacking)} of your backup",
                    hint=f"`backup-peer backup` brings {partner.name} up first",
                ),
            )
            return False
        try:
            usage = await ask_usage(partner)
        except BackupPeerError as exc:
            self._hosts.drop(partner, exc)
            return False
        self._room_bytes = min(self._room_bytes, usage.free_bytes)
        self._hosts.spare_bytes[partner.peer] = usage.spare_bytes
        return True

    def _measure_lacking(self, partner: Partner, packs: Iterable[LogicalId]) -> int:
        """Return the bytes of those packs, but for waste, that a host lacks and another one is known to hold."""
        ledger = self._vault.repository.ledger
        return ledger.measure(p for p in ledger.missing_at(partner.agreement, packs) if p not in self._waste)

    def _census(self) -> Census:
        repository = self._vault.repository
        source = self._vault.source(self._reporter)
        trees = TreeReader(repository.keys, repository.index, cache=repository.cache, source=source)
        return Census(trees, repository.index, check=self._check)

    def _count(self, census: Census) -> set[LogicalId]:
        """Count what all snapshots need, and return the packs that a head names for nothing; in a thread."""
        repository = self._vault.repository
        self._reporter.begin("counting", unit="folder")
        without = frozenset(self._request.without)
        for snapshot_id, snapshot in list_snapshots(repository.index):
            if snapshot_id.hex()[:SNAPSHOT_DIGITS] not in without:
                census.add(snapshot_id, snapshot)
        needed = {place.pack for _, places in census.places() for place in places.values()}
        return set(repository.index.turnover.named()) - needed - self._vault.owed.lists()

    def _plan_packs(self, census: Census) -> PrunePlan:
        """Plan what becomes of each pack; in a thread."""
        repository = self._vault.repository
        if self._vault.heads.newest() is None:
            return PrunePlan()  # no head: what no snapshot here needs is of work that broke off
        uses = weigh_packs(census, repository.index, repository.ledger.sizes)
        plan = plan_packs(uses, self._limits(), self._vault.owed.lists())
        census.sort_by_pack(frozenset(plan.repack))
        return plan

    def _limits(self) -> PruneLimits:
        wish = self._request
        # A list beside what is moved: a host that is full to the last byte has a reserve for that alone.
        room = max(0, self._room_bytes - LIST_RESERVE_BYTES)
        return PruneLimits(
            max_unused_permille=wish.max_unused_permille,
            max_unused_bytes=wish.max_unused_bytes,
            max_repack_bytes=room if wish.max_repack_bytes is None else min(room, wish.max_repack_bytes),
            has_small=wish.repack_small,
        )

    def _check(self, pieces: int) -> None:
        if self._hosts.stop.is_set():
            raise InterruptedByUserError("the prune was cancelled", hint="nothing was pruned; run it again any time")
        self._reporter.update(files=pieces)

    def _repack(
        self, census: Census, moving: Sequence[LogicalId], packer: Packer, source: PackSource
    ) -> set[LogicalId]:
        """Move what is needed of packs; return those that can't be read whole, and stay."""
        repository = self._vault.repository
        failed = repack(
            census,
            moving,
            packer,
            keys=repository.keys,
            source=source,
            level=_LEVEL,
            on_pack=self._on_pack,
        )
        for pack, error in failed.items():
            self._reporter.note(f"pack {pack.hex()[:8]} stays as it is: {error.message}")
        packer.flush()
        repository.index.turnover.stay(failed)
        return set(failed)

    def _on_pack(self, done: int, moved_bytes: int) -> None:
        if self._hosts.stop.is_set():
            raise InterruptedByUserError("the prune was cancelled", hint="nothing was pruned; run it again any time")
        self._reporter.update(files=done, bytes=moved_bytes)

    def _say_waiting(self) -> None:
        self._reporter.say_state("waiting", "waiting for the backup that is running to end")

    def _find_unfinished(self, census: Census) -> set[LogicalId]:
        """Return the packs of backups that broke off, but those with something that a snapshot needs."""
        # A pack whose acknowledgement was lost was found there later. Only where every host says that it has no head,
        # all packs are of work that broke off.
        has_head = self._vault.heads.newest() is not None or bool(self._hosts.failures)
        found = self._vault.repository.index.turnover.unfinished(has_head=has_head) - self._vault.owed.lists()
        for _, places in census.places() if found else ():
            found.difference_update(place.pack for place in places.values())
        return found

    def _find_droppable(self, census: Census) -> set[LogicalId]:
        return set() if self._request.keep_unfinished else self._find_unfinished(census)

    def _measure(self, packs: set[LogicalId]) -> int:
        return sum(self._vault.repository.ledger.sizes(packs).values())

    def _drop_unnamed(self, census: Census, drop: Drop) -> None:
        """Let the index and the ledger let go of what no head names, so that hosts may be told; nobody writes now.

        First the index, durably: nobody may rely on a pack that hosts are asked to erase.
        """
        repository = self._vault.repository
        turnover = repository.index.turnover
        # A pack whose acknowledgement came late, or that a head named meanwhile, is somebody's after all.
        drop.victims = turnover.still_leaving(drop.victims)
        drop.unfinished = turnover.still_leaving(drop.unfinished) & self._find_unfinished(census)
        drop.strays = self._find_strays()
        drop.strays_bytes = self._measure(drop.strays)  # before hosts erase them, and the ledger forgets
        if drop.unfinished:
            check_moved(census, drop.unfinished)
            drop.unfinished_bytes = self._measure(drop.unfinished)
            turnover.drop(drop.unfinished, ())
        repository.ledger.doom(drop.strays | drop.unfinished)

    async def _has_erased(self, partner: Partner) -> bool:
        """Whether a host could be asked to erase at once what no head ever named."""
        try:
            await self._hosts.withdraw(partner)
        except BackupPeerError as exc:
            self._hosts.drop(partner, exc)
            return False
        return True

    def _find_strays(self) -> set[LogicalId]:
        """Return the packs that hosts hold and no head names: of an index that was lost, or of a prune that was killed.

        Only right while nobody writes: a pack just stored enters the ledger before the index.
        """
        repository = self._vault.repository
        return {
            copy.logical
            for partner in self._vault.partners()
            for copy in repository.ledger.copies_at(partner.agreement)
            if not repository.index.has_pack(copy.logical)
        }

    async def _publish(self, census: Census, packer: Packer, upload: Upload, drop: Drop) -> list[Partner]:
        """Store the new list, sign the head and leave it with the hosts; the first that has it makes it stand."""
        repository, heads = self._vault.repository, self._vault.heads
        self._reporter.begin("storing the list of packs", unit="pack")
        upload.is_list = packer.is_empty
        published = await self._hosts.in_thread(upload, partial(self._store_list, census, packer, drop.victims))
        await self._hosts.aside(partial(check_moved, census, drop.victims))
        partners = [partner for partner in upload.partners if self._may_have_head(partner, published)]
        before = heads.newest()
        heads.extend(published.index, published.inventory)
        self._hosts.named = set(published.inventory.packs)
        told: list[Partner] = []

        def on_told(partner: Partner) -> None:
            if not told:
                # It stands. First the index, durably: nobody may rely on a pack that hosts are told to delete.
                repository.index.turnover.drop(drop.victims, published.inventory.packs)
                repository.ledger.doom(drop.victims)
            told.append(partner)

        try:
            return await self._hosts.leave_head(partners, on_told)
        finally:
            if not told and before is not None:
                heads.take_back(before[0])

    def _may_have_head(self, partner: Partner, published: Published) -> bool:
        """Whether a host has what the next head names; it lacks packs of a backup beside this that did not go to it."""
        if not self._measure_lacking(partner, published.inventory.packs):
            return True
        self._hosts.leave_out(
            partner,
            RefusedError("it lacks a part of your backup", hint=f"`backup-peer backup` brings {partner.name} up first"),
        )
        return False

    def _store_list(self, census: Census, packer: Packer, victims: set[LogicalId]) -> Published:
        repository = self._vault.repository
        publisher = Publisher(repository.keys, repository.index, cache=repository.cache, level=_LEVEL)
        # What broke off and stays is named by the head of the backup that goes on from it, and until then no waste.
        without = victims | self._find_unfinished(census)
        return publisher.publish(packer, list(repository.index.snapshot_names()), [], without=without)
