"""The hosts of one job that writes: reached, heard, brought level, given packs and the head; who dropped out, and why.

Knows: what every change of the repository needs of its hosts (ADR 0010, 0011, 0015, 0017). Must not know: what the
change is. Backups and amendments do it alike, so that no two ways of writing a head can differ.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TypeVar

from backuppeer.agent.brake import Halt, brake_of_job, in_job_thread
from backuppeer.agent.owner.admission import Purpose, find_refusal, note_whole
from backuppeer.agent.owner.asking import RemovalWatch
from backuppeer.agent.owner.clearing import Cleared, Withdrawal, clear_out, limited, withdraw
from backuppeer.agent.owner.dropouts import explain_dropouts
from backuppeer.agent.owner.joining import join_stray
from backuppeer.agent.owner.leveling import Leveling
from backuppeer.agent.owner.meeting import Meeting
from backuppeer.agent.owner.unfinished import list_drafts
from backuppeer.agent.owner.upload import Upload
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.names import say_named
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.reporter import Reporter, beating
from backuppeer.control.saving import LeftOut
from backuppeer.errors import (
    BackupPeerError,
    DamagedStateError,
    ExposedError,
    IntegrityFault,
    PeerUnreachable,
    RefusedError,
    Unavailable,
    is_full_disk,
)
from backuppeer.ids import LogicalId, PeerId, format_peer_id
from backuppeer.limits import CLEAR_S, WITNESS_S
from backuppeer.repo.head import Inventory
from backuppeer.repo.pack import Entry
from backuppeer.shares.ledger import Copy
from backuppeer.wire.messages import HeadIs

T = TypeVar("T")


class Gathering:
    """The hosts of one job.

    `failures`: who dropped out. `cleared`: who was told which packs go. `withdrawn`: who erased unfinished work.
    `spare_bytes`: what may be deleted at a host before its hold doubles.
    `untold`: who has the head, and could not be told which packs go.
    `purpose`: what hosts are met for: one that was caught at something is no host for all of it (ADR 53).
    `named`: the packs of the head that is left next; what else hosts were sent since the last one stays unfinished.
    `are_all_heard`: every host with an agreement told all that it holds. `stop`: set when the person has left; the
    engine's thread ends then.
    """

    def __init__(self, vault: Vault, reporter: Reporter, *, purpose: Purpose = Purpose.NEW) -> None:
        self._vault, self._reporter, self._purpose = vault, reporter, purpose
        reporter.traffic_bytes = vault.traffic_bytes
        self._brake = brake_of_job()
        self.stop = Halt(self._brake)
        self._leveling = Leveling(vault, reporter, self.stop)
        self.failures: dict[PeerId, BackupPeerError] = {}
        self.cleared: dict[PeerId, Cleared] = {}
        self.withdrawn: dict[PeerId, Withdrawal] = {}
        self.spare_bytes: dict[PeerId, int] = {}
        self.untold: dict[PeerId, BackupPeerError] = {}
        self.watch = RemovalWatch(vault.asked)
        self.are_all_heard = False
        self.named: set[LogicalId] | None = None
        self._noted: set[PeerId] = set()
        self._is_alone = False

    async def meet(self, partners: Sequence[Partner], *, copy_bytes: int | None = None) -> list[Partner]:
        """Reach every host, and take over what a host knows better; return those that can take what is written next.

        `copy_bytes`: what may be copied to a host that lacks packs; one that lacks more drops out. None: any number.

        Raises:
            RefusedError: one of them, or any other host, knows another writer: this machine was taken over.
            BackupPeerError: none is left; why the first one dropped out.

        """
        await self._brake.held()
        partners = self._live(self._admit(partners))
        self._is_alone = len(partners) == 1
        await self._reporter.state("connecting", f"connecting to {', '.join(p.name for p in partners)}")
        others = await self._hear_others(partners)
        meeting = Meeting(self._vault, self._reporter, self.drop)
        before = self._vault.asked.mark()
        heard = await meeting.hear(partners)
        await self._stop_if_taken(meeting, heard)
        # Again: what it is caught at now counts now.
        met = self._live(self._admit(await meeting.refresh(self._live(heard))))
        self.watch.note(meeting.held, since=before)
        await self._resync(meeting, others)
        met = self._live([partner for partner in met if await self._has_joined(meeting, partner)])
        is_waited_for = len(met) > 1
        await self._leveling.prepare(met)
        level = [await self._is_level(p, meeting.held[p.agreement], is_waited_for, copy_bytes) for p in met]
        met = self._live([p for p, is_level in zip(met, level, strict=True) if is_level])
        await asyncio.to_thread(self._vault.owed.conceal_missing, [p.agreement for p in met])
        self.are_all_heard = not meeting.witnesses().away
        await self._reporter.state("connected", f"connected to {', '.join(p.name for p in met)}")
        return met

    def _admit(self, partners: Sequence[Partner]) -> list[Partner]:
        """Return the hosts that may get what is written; the others are left out by name, and heard all the same."""
        refused = {partner.peer: find_refusal(self._vault, partner, self._purpose) for partner in partners}
        for partner in partners:
            if (why := refused[partner.peer]) is not None:
                self.leave_out(partner, why)
        return [partner for partner in partners if refused[partner.peer] is None]

    async def _stop_if_taken(self, meeting: Meeting, heard: Sequence[Partner]) -> None:
        """End the job if another device is the writer now, once the index here is that of its head: to be read."""
        if not self._vault.writer.may_write:
            await meeting.refresh(heard)
            await self._vault.ensure_whole(patient=False)
        self._vault.check_writable()

    def make_upload(self, partners: Sequence[Partner], *, is_list: bool = False) -> Upload:
        """Return the way for packs to these hosts; what one of them acknowledged enters index and ledger.

        `is_list`: packs of lists alone, for which a full host has a reserve.
        """

        def on_copy(entries: Sequence[Entry], copy: Copy) -> None:
            # Acknowledged, hence durable at the host: only now may later files rely on these blobs.
            self._vault.repository.ledger.register_copy(copy)
            self._vault.repository.index.register(copy.logical, entries)

        upload = Upload(
            self._vault.repository,
            partners,
            on_copy=on_copy,
            say=self._reporter.say_state,
            clock=self._vault.clock,
            stop=self.stop,
            exposing=self._vault.exposing,
        )
        upload.is_list = is_list
        upload.is_draft = True
        return upload

    async def in_thread(
        self,
        upload: Upload,
        step: Callable[[], T],
        beside: AbstractAsyncContextManager[object] | None = None,
    ) -> T:
        """Run the engine in a thread and note which hosts dropped out meanwhile; `beside`: what goes on as long."""
        work = asyncio.create_task(in_job_thread(step))
        try:
            async with beating(self._reporter), beside or nullcontext(), upload:
                return await asyncio.shield(work)
        except asyncio.CancelledError:
            # The person left: let the engine end cleanly (its thread can't be killed), then pass the news on.
            self.stop.set()
            upload.cancel()
            await asyncio.gather(work, return_exceptions=True)
            raise
        finally:
            self.failures |= upload.failures

    async def aside(self, step: Callable[[], T]) -> T:
        """Run what sends nothing in a thread; `stop` is set when the person has left, and the step looks at it."""
        async with beating(self._reporter):
            work = asyncio.create_task(in_job_thread(step))
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                self.stop.set()
                await asyncio.gather(work, return_exceptions=True)
                raise

    async def leave_head(self, partners: Sequence[Partner], on_told: Callable[[Partner], None]) -> list[Partner]:
        """Leave the newest head with those of the hosts that did not drop out; `on_told` hears of each that has it.

        Side by side: one that takes its time does not keep it from the others. Return who has it, in their order.

        Raises:
            BackupPeerError: no host took it; why the first one did not.

        """
        await self._brake.held()
        live = [partner for partner in partners if partner.peer not in self.failures]
        told = await asyncio.gather(*(self._has_head(partner, on_told) for partner in live), return_exceptions=True)
        for outcome in told:
            if isinstance(outcome, BaseException):
                raise outcome
        if not any(told):
            raise self._explain_all()
        return [partner for partner, has_it in zip(live, told, strict=True) if has_it]

    async def _has_head(self, partner: Partner, on_told: Callable[[Partner], None]) -> bool:
        try:
            await self.withdraw(partner)
            named = self.named
            drafts = await asyncio.to_thread(list_drafts, self._vault, partner, named) if named is not None else None
            self.watch.check(partner, await self._vault.heads.leave_with(partner, drafts))
        except BackupPeerError as exc:
            _raise_own(exc)
            if isinstance(exc, DamagedStateError):
                self._vault.heads.disclaim(partner)
            # Taken over in mid-work: that is no host's fault, and ends the job.
            self._vault.check_writable()
            self.failures[partner.peer] = exc
            self._blame(partner, exc)
            return False
        on_told(partner)
        await note_whole(self._vault, partner)
        await self.clear_out(partner)
        return True

    async def withdraw(self, partner: Partner) -> None:
        """Have a host erase what no head ever named and nothing here needs; what fails is deleted with the next head.

        Raises:
            Unavailable: it went away.

        """
        try:
            async with limited(CLEAR_S, "it takes too long to erase packs"):
                done = await withdraw(self._vault, partner)
        except RefusedError as exc:
            self._tell(partner, exc)
            return
        if done.packs:
            self.withdrawn[partner.peer] = done

    async def clear_out(self, partner: Partner) -> bool:
        """Tell a host that has the newest head which packs go with it; what fails is told with a later head."""
        try:
            async with limited(CLEAR_S, "it takes too long to delete packs"):
                self.cleared[partner.peer] = await clear_out(self._vault, partner)
        except BackupPeerError as exc:
            self._tell(partner, exc)
            self.untold[partner.peer] = exc
            return False
        return True

    def note_failures(self) -> None:
        """Tell of each host that dropped out why it did, once."""
        for peer, error in self.failures.items():
            # The only host of a job: the job ends with that, and says why itself.
            if peer not in self._noted and not self._is_alone:
                self._noted.add(peer)
                self._reporter.note(say_named(self._vault.name(peer), error))

    def describe_left_out(self, *, hint: str, with_untold: bool = False) -> list[LeftOut]:
        """Return who dropped out; `hint`: what a person can do about one that is merely away.

        `with_untold`: and who could not be told which packs go.
        """
        return [
            LeftOut(
                peer_id=format_peer_id(peer),
                name=self._vault.name(peer),
                reason=error.message,
                hint=hint if isinstance(error, Unavailable) else error.hint,
                capped=isinstance(error, ExposedError),
            )
            for peer, error in self._in_order((self.untold if with_untold else {}) | self.failures)
        ]

    def _in_order(self, errors: Mapping[PeerId, BackupPeerError]) -> list[tuple[PeerId, BackupPeerError]]:
        """Return them in the order of the hosts, not in that in which they happened to answer."""
        places = {partner.peer: place for place, partner in enumerate(self._vault.partners())}
        return sorted(errors.items(), key=lambda item: places.get(item[0], len(places)))

    def _live(self, partners: list[Partner]) -> list[Partner]:
        if not partners:
            raise self._explain_all()
        return partners

    def _explain_all(self) -> BackupPeerError:
        """Return the error when no host is left."""
        return explain_dropouts([(self._vault.name(p), error) for p, error in self._in_order(self.failures)])

    def drop(self, partner: Partner, error: BackupPeerError) -> None:
        """Leave a host out of this job; what is its fault is written down, and nobody else is held up."""
        _raise_own(error)
        self._blame(partner, error)
        self.leave_out(partner, error)

    def _blame(self, partner: Partner, error: BackupPeerError) -> None:
        self._vault.blame(partner, error)
        if isinstance(error, IntegrityFault):
            self._reporter.fault(partner.peer, partner.name, error, hint=error.hint)

    def _tell(self, partner: Partner, error: BackupPeerError) -> None:
        """Write down and tell what is wrong with a host, which may still be of use in this job."""
        _raise_own(error)
        self._vault.blame(partner, error)
        self._reporter.note(say_named(partner.name, error))

    def leave_out(self, partner: Partner, error: BackupPeerError) -> None:
        """Leave a host out of this job, without blame."""
        self.failures[partner.peer] = error
        self.note_failures()

    async def _hear_others(self, partners: Sequence[Partner]) -> list[Partner]:
        """Hear the hosts too that this job does not go to: one of them may hold a newer head than we know."""
        chosen = {partner.agreement for partner in partners}
        others = [partner for partner in self._vault.partners() if partner.agreement not in chosen]
        heard = await asyncio.gather(*(self._has_heard(partner) for partner in others))
        return [other for other, is_there in zip(others, heard, strict=True) if is_there]

    async def _has_heard(self, partner: Partner) -> bool:
        try:
            async with asyncio.timeout(WITNESS_S):
                await self._vault.hear(partner, self._reporter)
        except (Unavailable, TimeoutError):
            return False
        except BackupPeerError as exc:
            self._tell(partner, exc)
            return False
        return True

    async def _resync(self, meeting: Meeting, others: Sequence[Partner]) -> None:
        """Bring the index in line with the newest head, with the help of all hosts that are there.

        Raises:
            PeerUnreachable: what that head consists of can't be read, and a host that may have it is away: a head
                upon it would drop its snapshots.

        """
        losses = await self._vault.ensure_whole()
        if losses and others:
            await meeting.refresh(others, on_failure=self._tell)
            losses = await self._vault.ensure_whole()
        if not losses:
            return
        told = meeting.witnesses().explain(losses)
        if isinstance(told, Unavailable) and (losses.hides_snapshots or not losses.is_list_read):
            raise PeerUnreachable(
                f"the newest state of this backup can't be read, so nothing was written: {told.message}", hint=told.hint
            )
        self._reporter.note(told.message)

    async def _has_joined(self, meeting: Meeting, partner: Partner) -> bool:
        """Join what an earlier writer left at a host alone; a host where that can't be done drops out, untouched."""
        try:
            stray = self._vault.heads.find_stray(meeting.held[partner.agreement])
            if stray is not None:
                source = self._vault.source(wait_s=0)
                found = await asyncio.to_thread(join_stray, self._vault.repository, stray, source)
                self._reporter.note(found.describe(partner.name))
        except BackupPeerError as exc:
            self.drop(partner, exc)
            return False
        return True

    async def _is_level(
        self,
        partner: Partner,
        held: HeadIs,
        is_waited_for: bool,  # noqa: FBT001 - as for `copy_bytes`
        copy_bytes: int | None,
    ) -> bool:
        """Give a host what it lacks; one that refuses, or can't be brought up, drops out and holds up nobody else."""
        try:
            self._vault.heads.way_from(held, partner.name)
            shortage = await self._leveling.bring_up(partner, copy_bytes=copy_bytes, is_waited_for=is_waited_for)
        except BackupPeerError as exc:
            self.drop(partner, exc)
            return False
        return self._is_in(partner, shortage)

    async def complete(self, partners: Sequence[Partner], inventory: Inventory) -> None:
        """Give hosts what the head that is made next names and they lack; who can't have it drops out.

        Raises:
            BackupPeerError: none is left; why the first one dropped out.

        """
        await self._brake.held()
        live = [partner for partner in partners if partner.peer not in self.failures]
        for partner in live:
            try:
                self._is_in(partner, await self._leveling.complete(partner, inventory))
            except BackupPeerError as exc:
                self.drop(partner, exc)
        self._live([partner for partner in live if partner.peer not in self.failures])

    def _is_in(self, partner: Partner, obstacle: BackupPeerError | None) -> bool:
        if obstacle is not None:
            # It keeps what it agreed to: nothing to blame it for.
            self.leave_out(partner, obstacle)
        return obstacle is None


def _raise_own(error: BackupPeerError) -> None:
    """End the job when it is this machine whose disk is full: no host is to be left out, or named, for that."""
    if is_full_disk(error):
        raise error
