"""One backup: hosts reached and heard, files archived, the head signed and left with every host (DESIGN 2, "Streets").

Knows: the order of these steps, and what it means when a host drops out. Must not know: how packs are sealed or sent.
"""

import asyncio
import getpass
import os
import platform
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from backuppeer import __version__
from backuppeer.agent.meeting import Meeting
from backuppeer.agent.partners import Partner
from backuppeer.agent.reporter import Reporter, beating, counting
from backuppeer.agent.salvage import resend_metadata
from backuppeer.agent.upload import Upload
from backuppeer.agent.vault import Vault
from backuppeer.backup.archiver import ArchiveOptions, Archiver, ArchiveResult
from backuppeer.backup.counting import count_paths
from backuppeer.backup.exclusion import Exclusions, make_rules
from backuppeer.control.api import BackupRequest, BackupResult, LeftOut
from backuppeer.errors import (
    BackupPeerError,
    LocalError,
    PeerUnreachable,
    Unavailable,
)
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.limits import WITNESS_S
from backuppeer.repo.pack import Entry
from backuppeer.repo.snapshot import Snapshot, decode_snapshot
from backuppeer.shares.ledger import Copy
from backuppeer.trust.evidence import Kind
from backuppeer.wire.messages import HeadIs


@dataclass(frozen=True, slots=True)
class _Plan:
    paths: list[bytes]
    parent: Snapshot | None
    options: ArchiveOptions

    @property
    def before(self) -> Snapshot | None:
        """The parent, if it says about how much there is to do; a total from other paths would be worse than none."""
        return self.parent if self.parent is not None and is_of_paths(self.parent, self.paths) else None


class BackupJob:
    """One run of `backup`."""

    def __init__(self, vault: Vault, request: BackupRequest, reporter: Reporter) -> None:
        self._vault, self._request, self._reporter = vault, request, reporter
        self._exclusions = Exclusions(**msgspec.structs.asdict(request.leave_out))
        self._rules = make_rules(self._exclusions)
        reporter.traffic_bytes = vault.traffic_bytes
        self._stop = threading.Event()
        self._failures: dict[PeerId, BackupPeerError] = {}
        self._are_all_heard = False

    async def run(self) -> BackupResult:
        """Make the snapshot and bring it to the hosts; those that do not hold all of it come back in `left_out`.

        Raises:
            NotFoundError: no host is agreed, or none of the paths exists.
            PeerUnreachable: no host can be reached.
            RefusedError: no host takes the packs.
            IncompleteError: nothing at the given paths could be read.

        """
        partners: Sequence[Partner] = ()
        if not self._request.dry_run:
            self._vault.check_writable()
            partners = await self._meet(self._vault.partners(self._request.to))
        plan = self._plan()
        before = plan.before
        self._reporter.begin(
            "backing up", files_total=before.files if before else 0, bytes_total=before.bytes if before else 0
        )
        upload = self._make_upload(partners)
        self._reporter.sent_bytes = lambda: upload.sent_bytes
        result = await self._in_thread(upload, plan)
        self._failures |= upload.failures
        safe = [p for p in partners if p.peer not in self._failures]
        if not self._request.dry_run:
            safe = await self._seal(result, safe, upload)
        return self._report(result, upload, safe)

    async def _meet(self, partners: Sequence[Partner]) -> list[Partner]:
        """Reach every host, and take over what a host knows better; at least one must be there."""
        await self._reporter.state("connecting", f"connecting to {', '.join(p.name for p in partners)}")
        others = await self._hear_others(partners)
        meeting = Meeting(self._vault, self._reporter, self._drop)
        met = self._live(await meeting.refresh(self._live(await meeting.hear(partners))))
        await self._resync(meeting, others)
        is_waited_for = len(met) > 1
        met = self._live([p for p in met if await self._is_level(p, meeting.held[p.agreement], is_waited_for)])
        self._vault.conceal_missing(met)
        self._are_all_heard = not meeting.witnesses().away
        await self._reporter.state("connected", f"connected to {', '.join(p.name for p in met)}")
        return met

    def _live(self, partners: list[Partner]) -> list[Partner]:
        if not partners:
            raise next(iter(self._failures.values()))
        return partners

    def _drop(self, partner: Partner, error: BackupPeerError) -> None:
        """Leave a host out of this backup; what is its fault is written down, and nobody else is held up."""
        self._vault.blame(partner, error)
        self._leave_out(partner, error)

    def _tell(self, partner: Partner, error: BackupPeerError) -> None:
        """Write down and tell what is wrong with a host, which may still be of use in this backup."""
        self._vault.blame(partner, error)
        self._reporter.note(f"{partner.name}: {error.message}")

    def _leave_out(self, partner: Partner, error: BackupPeerError) -> None:
        self._failures[partner.peer] = error
        self._reporter.note(f"{partner.name}: {error.message}")

    async def _hear_others(self, partners: Sequence[Partner]) -> list[Partner]:
        """Hear the hosts too that this backup does not go to: one of them may hold a newer head than we know."""
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

    async def _is_level(self, partner: Partner, held: HeadIs, is_waited_for: bool) -> bool:  # noqa: FBT001
        """Give a host what it lacks; one that refuses, or can't be brought up, drops out and holds up nobody else."""
        try:
            self._vault.heads.way_from(held, partner.name)
            shortage = await self._vault.find_shortage(partner)
            if shortage is not None:
                # It keeps what it agreed to: nothing to blame it for.
                self._leave_out(partner, shortage)
                return False
            async with beating(self._reporter):
                await self._vault.level(partner, self._reporter, self._stop, is_waited_for=is_waited_for)
        except BackupPeerError as exc:
            self._drop(partner, exc)
            return False
        return True

    def _plan(self) -> _Plan:
        paths = [os.fsencode(path) for path in self._request.paths]
        parent = choose_parent(self._vault.repository.index.snapshots(), paths)
        options = ArchiveOptions(
            host=platform.node(),
            user=_user_name(),
            tags=tuple(self._request.tags),
            program=f"backup-peer {__version__}",
            level=self._request.level,
            dry_run=self._request.dry_run,
            one_file_system=self._request.one_file_system,
            exclusions=self._exclusions,
            cancel=self._stop,
        )
        return _Plan(paths, parent, options)

    def _make_upload(self, partners: Sequence[Partner]) -> Upload:
        def on_copy(entries: Sequence[Entry], copy: Copy) -> None:
            # Acknowledged, hence durable at the host: only now may later files rely on these blobs.
            self._vault.repository.ledger.register_copy(copy)
            self._vault.repository.index.register(copy.logical, entries)

        return Upload(
            self._vault.repository,
            partners,
            on_copy=on_copy,
            say=self._reporter.say_state,
            clock=self._vault.clock,
            stop=self._stop,
        )

    async def _in_thread(self, upload: Upload, plan: _Plan) -> ArchiveResult:
        repository = self._vault.repository
        archiver = Archiver(
            repository.keys,
            repository.index,
            cache=repository.cache,
            sink=upload,
            progress=self._reporter,
            options=plan.options,
        )
        work = asyncio.create_task(asyncio.to_thread(self._archive, archiver, upload, plan))
        try:
            count = None if plan.before else partial(count_paths, plan.paths, self._rules)
            async with beating(self._reporter), counting(count, self._reporter):
                return await asyncio.shield(work)
        except asyncio.CancelledError:
            # The person left: let the engine end cleanly (its thread can't be killed), then pass the news on.
            self._stop.set()
            upload.cancel()
            await asyncio.gather(work, return_exceptions=True)
            raise

    def _archive(self, archiver: Archiver, upload: Upload, plan: _Plan) -> ArchiveResult:
        if not self._request.dry_run:
            resend_metadata(self._vault.repository, upload, level=self._request.level)
            self._drop_lost()
        return archiver.run(plan.paths, plan.parent)

    def _drop_lost(self) -> None:
        """Let the next head name no more what is at no host, once every host told all that it holds."""
        for snapshot in self._vault.drop_lost() if self._are_all_heard else ():
            self._reporter.note(f"snapshot {snapshot.hex()[:8]} can't be had any more: from now on it is left out")

    async def _seal(self, result: ArchiveResult, partners: list[Partner], upload: Upload) -> list[Partner]:
        """Sign the head and leave it with the hosts: only then the snapshot stands."""
        if result.inventory is None or result.index is None:
            raise LocalError("a finished backup has no inventory")
        self._vault.heads.extend(result.index, result.inventory)
        safe = []
        for partner in partners:
            try:
                await self._vault.heads.leave_with(partner)
                self._vault.saw(partner, Kind.STORED, size_bytes=upload.sent_to(partner))
                safe.append(partner)
            except BackupPeerError as exc:
                self._failures[partner.peer] = exc
                self._vault.blame(partner, exc)
        if not safe:
            raise next(iter(self._failures.values()))
        return safe

    def _report(self, result: ArchiveResult, upload: Upload, safe: list[Partner]) -> BackupResult:
        return BackupResult(
            snapshot="" if self._request.dry_run else result.snapshot_id.hex(),
            files=result.files,
            bytes=result.bytes,
            new_bytes=result.new_bytes,
            sent_bytes=upload.sent_bytes,
            seconds=self._reporter.seconds,
            errors=result.errors,
            peers=[format_peer_id(p.peer) for p in safe],
            left_out=[self._describe(peer, exc) for peer, exc in self._failures.items()],
        )

    def _describe(self, peer: PeerId, error: BackupPeerError) -> LeftOut:
        is_away = isinstance(error, Unavailable)
        hint = "run the same backup again when it is back" if is_away else error.hint
        return LeftOut(peer_id=format_peer_id(peer), name=self._vault.name(peer), reason=error.message, hint=hint)


def choose_parent(rows: Sequence[tuple[bytes, bytes]], paths: Sequence[bytes]) -> Snapshot | None:
    """Return the newest snapshot of the same paths, else the newest of all: files are looked up by path in it."""
    snapshots = sorted((decode_snapshot(body) for _, body in rows), key=lambda s: s.time_ns, reverse=True)
    same = [s for s in snapshots if is_of_paths(s, paths)]
    return next(iter(same or snapshots), None)


def is_of_paths(snapshot: Snapshot, paths: Sequence[bytes]) -> bool:
    """Whether a snapshot is of just these paths."""
    return sorted(snapshot.paths) == sorted({os.path.normpath(path) for path in paths})


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.geteuid())
