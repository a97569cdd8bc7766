"""Taking over: what a person is to know before it, and the first head of the new writer (ADR 35).

Knows: the order of these steps. Must not know: the words; the command signed the grant, and this agent was started with
it. Nothing is written before all hosts that can be reached were heard: the epoch is chosen above every one they know.
"""

from collections.abc import Sequence
from typing import Final

from backuppeer.agent.owner.meeting import Meeting
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.reporter import Reporter
from backuppeer.backup.browse import list_snapshots
from backuppeer.clock import format_time
from backuppeer.control.saving import LeftOut
from backuppeer.control.taking_over import TakeOverPlan, TakeOverResult
from backuppeer.errors import BackupPeerError, DamagedStateError, NewerFormatError, PeerUnreachable, Unavailable
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.proof.writer import FIRST_EPOCH
from backuppeer.repo.snapshot import Snapshot

_LATER: Final = "it learns of it with the next backup"


class TakeOverJob:
    """One plan, or one announcement."""

    def __init__(self, vault: Vault, peer: PeerId, reporter: Reporter) -> None:
        """`peer`: our own id."""
        self._vault, self._peer, self._reporter = vault, peer, reporter
        self._failures: dict[PeerId, BackupPeerError] = {}
        self._has_stray = False

    async def plan(self) -> TakeOverPlan:
        """Hear all hosts, and say which epoch is the highest; nothing is changed but what is known here.

        Raises:
            NotFoundError: no host is known.
            BackupPeerError: none could be heard; why the first one could not.

        """
        plan = TakeOverPlan(peer_id=format_peer_id(self._peer), is_recovered=not self._vault.is_unrecovered)
        if not plan.is_recovered:
            return plan
        try:
            heard = await self._hear(self._vault.partners())
        except Unavailable as exc:
            raise PeerUnreachable(
                f"no host can be reached: {exc.message}",
                hint="taking over needs one at least, to know what was backed up last; nothing was changed",
            ) from exc
        if not self._vault.is_whole():
            # So that the person is told of the newest snapshots, not of those that this machine knew.
            await self._meeting.refresh(heard)
            await self._vault.ensure_whole(patient=False)
        writer = self._vault.writer
        newest = self._newest_snapshot()
        plan.is_writer = writer.may_write and not self._has_fork()
        plan.repository = self._vault.repository.id.hex()
        # At least the first: its grant shows only in heads, and there may be none yet.
        plan.epoch = max(FIRST_EPOCH, writer.highest_epoch)
        plan.snapshots = len(self._vault.repository.index.snapshots())
        plan.host = newest.host if newest else ""
        plan.time = format_time(newest.time_ns // 1_000_000) if newest else ""
        plan.heard = [partner.name for partner in heard]
        plan.left_out = self._describe_left_out(hint="what it alone knows is not known here")
        return plan

    def _has_fork(self) -> bool:
        """Whether a host keeps another history of this very epoch: a further one makes that stray, to be joined."""
        forks = (exc for exc in self._failures.values() if isinstance(exc, DamagedStateError))
        return any(not isinstance(exc, NewerFormatError) for exc in forks)

    async def announce(self) -> TakeOverResult:
        """Sign the first head under this home's grant, which says what the newest one says, and leave it with hosts.

        Done before, it only reaches those that do not have it yet.

        Raises:
            RefusedError: this home may only read, or a host knows another writer of that epoch, or a higher one.
            BackupPeerError: no host took it; why the first one did not.

        """
        self._vault.check_writable()
        try:
            partners = await self._hear(self._vault.partners())
        except Unavailable as exc:
            raise PeerUnreachable(
                f"no host could be told that this machine makes the backups now: {exc.message}",
                hint="the next backup tells it, or the same command again",
            ) from exc
        self._vault.check_writable()
        newest, own = self._vault.heads.newest(), self._vault.writer.own
        if newest is not None and own is not None and newest[0].epoch < own.epoch:
            # Until a head of the new epoch is there, hosts take heads of the old writer.
            self._vault.heads.take_back(newest[0])
        told = [partner for partner in partners if newest is None or await self._tell(partner)]
        if not told and not self._has_stray:
            raise next(iter(self._failures.values()))
        return self._report(told)

    async def settle(self) -> TakeOverResult:
        """Return what stands in a home that has no host to tell."""
        return self._report([])

    async def _hear(self, partners: Sequence[Partner]) -> list[Partner]:
        await self._reporter.state("connecting", f"connecting to {', '.join(p.name for p in partners)}")
        self._meeting = Meeting(self._vault, self._reporter, self._leave_out)
        heard = await self._meeting.hear(partners)
        if not heard:
            raise next(iter(self._failures.values()))
        await self._reporter.state("connected", f"connected to {', '.join(p.name for p in heard)}")
        return heard

    async def _tell(self, partner: Partner) -> bool:
        try:
            if self._vault.heads.find_stray(self._meeting.held[partner.agreement]):
                # A newer head would wipe out the only list of what the other machine left there: the next backup
                # joins it first (owner.joining).
                self._failures[partner.peer] = PeerUnreachable("what it alone keeps of the other machine joins first")
                self._has_stray = True
                return False
            await self._vault.heads.leave_with(partner)
        except BackupPeerError as exc:
            self._vault.check_writable()
            self._leave_out(partner, exc)
            return False
        return True

    def _leave_out(self, partner: Partner, error: BackupPeerError) -> None:
        self._vault.blame(partner, error)
        self._failures[partner.peer] = error

    def _newest_snapshot(self) -> Snapshot | None:
        found = list_snapshots(self._vault.repository.index)
        return max((snapshot for _, snapshot in found), key=lambda snapshot: snapshot.time_ns, default=None)

    def _describe_left_out(self, *, hint: str) -> list[LeftOut]:
        return [
            LeftOut(peer_id=format_peer_id(peer), name=self._vault.name(peer), reason=error.message, hint=hint)
            for peer, error in self._failures.items()
        ]

    def _report(self, told: Sequence[Partner]) -> TakeOverResult:
        newest, index = self._vault.heads.newest(), self._vault.repository.index
        return TakeOverResult(
            peer_id=format_peer_id(self._peer),
            peers=[format_peer_id(partner.peer) for partner in told],
            names=[partner.name for partner in told],
            snapshots=len(index.snapshots()),
            packs=sum(1 for _ in index.packs()),
            head=newest[0].number if newest else 0,
            notes=[],
            epoch=self._vault.writer.highest_epoch,
            left_out=self._describe_left_out(hint=_LATER),
        )
