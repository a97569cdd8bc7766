"""One `peers undelete`: what a host holds as deleted, listed; or snapshots put back, and their packs revived (ADR 37).

Knows: the order of these steps. Must not know: how a host revives. It is an amendment of the list (jobs.amend) that
names packs again which a head had dropped:

    hosts heard, the newest head followed → what each holds as deleted enters ledger and index, as dropped
    → directories of the chosen snapshots read: which dropped packs they need → list stored → head that names them
    → the first host has the head: they are listed → each host told to keep the packs that the head names again

Killed before the head, nothing was changed. Killed after it, hosts are told with the next head, or by the same again.
"""

import os
from collections.abc import Sequence
from functools import partial

from backuppeer.agent.jobs.amend import seal
from backuppeer.agent.owner.admission import Purpose
from backuppeer.agent.owner.deleted import Deleted, read_deleted
from backuppeer.agent.owner.gathering import Gathering
from backuppeer.agent.owner.leaving import prefer_staying
from backuppeer.agent.owner.meeting import Meeting
from backuppeer.agent.owner.undeleting import Salvage, choose, find_unlisted, find_unrevived, plan_salvage
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.reporter import Reporter
from backuppeer.backup.amending import Amended, relist
from backuppeer.backup.streams import PackSource
from backuppeer.clock import format_time
from backuppeer.control.undeleting import DeletedSnapshot, UndeletePlan, UndeleteRequest, UndeleteResult
from backuppeer.errors import (
    BackupPeerError,
    IncompleteError,
    IntegrityFault,
    InterruptedByUserError,
    NotFoundError,
    PeerUnreachable,
    RefusedError,
)
from backuppeer.host.hold import held_s
from backuppeer.ids import SnapshotId, format_peer_id
from backuppeer.limits import AMEND_COPY_BYTES
from backuppeer.repo.snapshot import Snapshot

_LATER = "the next backup tells it"


class UndeleteJob:
    """One run; nobody else writes meanwhile."""

    def __init__(self, vault: Vault, request: UndeleteRequest, reporter: Reporter) -> None:
        self._vault, self._request, self._reporter = vault, request, reporter
        self._hosts = Gathering(vault, reporter, purpose=Purpose.UNDO)

    async def list_all(self) -> UndeletePlan:
        """Return what the host holds as deleted, and which snapshots could be had back; at the host nothing changes.

        Raises:
            NotFoundError: no such host.
            PeerUnreachable: it is away.

        """
        (partner,) = self._vault.partners([self._request.peer])
        await self._reporter.state("connecting", f"connecting to {partner.name}")
        meeting = Meeting(self._vault, self._reporter, self._hosts.drop)
        if not await meeting.refresh(await meeting.hear([partner])):
            raise self._hosts.failures[partner.peer]
        await self._vault.ensure_whole()
        deleted = await self._read(partner)
        found = await self._hosts.aside(partial(find_unlisted, self._vault.repository, self._source()))
        return UndeletePlan(
            peer_id=format_peer_id(partner.peer),
            name=partner.name,
            packs=deleted.packs,
            bytes=deleted.size_bytes,
            first=format_time(deleted.first_ms) if deleted.packs else "",
            last=format_time(deleted.last_ms) if deleted.packs else "",
            unreadable=len(deleted.unreadable),
            snapshots=[_describe(name, snapshot) for name, (_, snapshot) in found.items()],
        )

    async def run(self) -> UndeleteResult:
        """Put snapshots back.

        Raises:
            NotFoundError: no such host, or a snapshot that can't be had back.
            PeerUnreachable: the host is away; nothing was changed.
            IntegrityFault: nothing of what is wanted is whole any more, or it was erased in this very moment.
            RefusedError: no host takes the list, or this home may only read.

        """
        self._vault.check_writable()
        (chosen,) = self._vault.partners([self._request.peer])
        with self._vault.repository.index.turnover.relying():
            everybody = self._vault.partners()
            staying = [partner.peer for partner in prefer_staying(self._vault.deeds, everybody)]
            meant = [partner for partner in everybody if partner.peer in {*staying, chosen.peer}]
            await self._look_up(chosen, [partner for partner in meant if partner.peer != chosen.peer])
            partners = await self._hosts.meet(meant, copy_bytes=AMEND_COPY_BYTES)
            if chosen.agreement not in {partner.agreement for partner in partners}:
                error = self._hosts.failures[chosen.peer]
                raise PeerUnreachable(f"nothing was changed: {error.message}", hint=error.hint) from error
            for partner in partners:
                await self._read_all(partner, must=partner.agreement == chosen.agreement)
            salvage = await self._hosts.aside(partial(self._plan, self._source()))
            if not salvage.bodies:
                raise IntegrityFault(
                    "nothing was changed: a part of what you want back is erased already",
                    hint="`backup-peer snapshots` lists what is there",
                )
            return await self._put_back(salvage, partners)

    async def _look_up(self, chosen: Partner, others: Sequence[Partner]) -> None:
        """See that what is wanted can be had back, before anything is copied to anybody.

        Raises:
            NotFoundError: no host that can be asked has it; nothing was changed.

        """
        missed: NotFoundError | None = None
        meeting = Meeting(self._vault, self._reporter, lambda *_: None)  # who is away or at fault is told when met
        for partner in (chosen, *others):
            if not await meeting.refresh(await meeting.hear([partner])):
                if partner is chosen:
                    return
                continue
            if await self._vault.ensure_whole(patient=False):
                return
            try:
                await self._read(partner)
                await self._hosts.aside(partial(self._choose, self._source()))
            except NotFoundError as exc:
                missed = missed or exc
            except BackupPeerError:
                return
            else:
                return
        if missed is not None:
            raise missed

    async def _read_all(self, partner: Partner, *, must: bool) -> None:
        """Read what a host holds as deleted; of others than the one that is asked for, as well as can be."""
        try:
            await self._read(partner)
        except BackupPeerError as exc:
            if must:
                raise
            self._hosts.drop(partner, exc)

    async def _read(self, partner: Partner) -> Deleted:
        hold_s = held_s(self._vault.lock_s(partner), is_doubled=True)
        deleted = await read_deleted(
            partner, self._vault.repository, clock=self._vault.clock, hold_s=hold_s, reporter=self._reporter
        )
        for failure in deleted.unreadable[:1]:
            # Held until the hold is over, it says: so it must be able to give it.
            self._vault.blame(partner, failure)
            count = len(deleted.unreadable)
            self._reporter.note(f"{partner.name}: deleted packs that can't be opened: {count}: {failure.message}")
        return deleted

    def _source(self) -> PackSource:
        # Made in the loop that it fetches in, and used in a thread.
        return self._vault.source(self._reporter)

    def _plan(self, source: PackSource) -> Salvage:
        """Choose, and read the directories of what is chosen; in a thread."""
        names, found = self._choose(source)
        self._reporter.begin("reading directories", unit="folder")
        wanted = ((name, *found[name]) for name in names)
        return plan_salvage(self._vault.repository, source, wanted, check=self._check)

    def _choose(self, source: PackSource) -> tuple[list[SnapshotId], dict[SnapshotId, tuple[bytes, Snapshot]]]:
        """Return which snapshots are meant, and all that could be had back; in a thread."""
        found = find_unlisted(self._vault.repository, source)
        if not found:
            raise NotFoundError(
                "there is nothing to have back: every snapshot that can be read is listed",
                hint="`backup-peer snapshots` lists them",
            )
        return choose(self._request.snapshots, found, is_all=self._request.all, peer=self._request.peer), found

    def _check(self, pieces: int) -> None:
        if self._hosts.stop.is_set():
            raise InterruptedByUserError("cancelled: nothing was changed", hint="run it again any time")
        self._reporter.update(files=pieces)

    async def _put_back(self, salvage: Salvage, partners: list[Partner]) -> UndeleteResult:
        repository = self._vault.repository
        upload = self._hosts.make_upload(partners, is_list=True)
        self._reporter.begin("storing the list of snapshots", unit="pack")
        step = partial(
            relist,
            salvage.bodies,
            list(salvage.packs),
            upload,
            keys=repository.keys,
            index=repository.index,
            cache=repository.cache,
        )
        amended: Amended = await self._hosts.in_thread(upload, step)
        able = [partner for partner in upload.partners if self._may_have_head(partner, salvage)]
        sizes = repository.ledger.sizes(salvage.packs)
        told = await seal(self._vault, self._hosts, amended, able, again=salvage.packs)
        self._hosts.note_failures()
        self._check_revived(salvage)
        return UndeleteResult(
            snapshots=[name.hex() for name in salvage.bodies],
            incomplete=[name.hex() for name in salvage.incomplete],
            kept=len(amended.rows),
            packs=len(sizes),
            bytes=sum(sizes.values()),
            peers=[format_peer_id(peer) for peer in told],
            left_out=self._hosts.describe_left_out(hint=_LATER),
        )

    def _may_have_head(self, partner: Partner, salvage: Salvage) -> bool:
        """Whether a host has all that comes back: a backup brings up one that erased a part, or never had it."""
        if next(self._vault.repository.ledger.missing_at(partner.agreement, sorted(salvage.needed)), None) is None:
            return True
        hint = f"`backup-peer backup` brings {partner.name} up first"
        self._hosts.leave_out(partner, RefusedError("it lacks a part of what comes back", hint=hint))
        return False

    def _check_revived(self, salvage: Salvage) -> None:
        """Check that hosts keep from now on what is listed again.

        Raises:
            IncompleteError: they don't yet.
            IntegrityFault: some of it was erased in this moment.

        """
        held, nowhere = find_unrevived(
            self._vault.repository, [partner.agreement for partner in self._vault.partners()], salvage.packs
        )
        if nowhere:
            raise IntegrityFault(
                f"the snapshots are listed again, but {len(nowhere)} of their packs were erased just now",
                hint="`backup-peer check` says which files are whole",
            )
        if held:
            raise IncompleteError(
                "the snapshots are listed again, but no host has yet said that it keeps them",
                hint="run `backup-peer backup` soon: with it every host is told, before what was deleted is erased",
            )


def _describe(name: SnapshotId, snapshot: Snapshot) -> DeletedSnapshot:
    return DeletedSnapshot(
        snapshot=name.hex(),
        time=format_time(snapshot.time_ns // 1_000_000),
        host=snapshot.host,
        paths=[os.fsdecode(path) for path in snapshot.paths],
        files=snapshot.files,
        bytes=snapshot.bytes,
        tags=list(snapshot.tags),
        set=snapshot.set,
    )
