"""One backup: hosts gathered, files archived, the head signed and left with every host (DESIGN 2, "Streets").

Knows: the order of these steps. Must not know: how hosts are reached, how packs are sealed or sent.
"""

import getpass
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from backuppeer import __version__
from backuppeer.agent.owner.gathering import Gathering
from backuppeer.agent.owner.salvage import resend_metadata
from backuppeer.agent.owner.upload import Upload
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.reporter import Reporter, counting
from backuppeer.backup.archiver import ArchiveOptions, Archiver, ArchiveResult
from backuppeer.backup.counting import count_paths
from backuppeer.backup.exclusion import Exclusions, make_rules
from backuppeer.control.api import BackupRequest, BackupResult
from backuppeer.errors import LocalError
from backuppeer.ids import SnapshotId, format_peer_id
from backuppeer.repo.snapshot import Snapshot, decode_known
from backuppeer.trust.evidence import Kind


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
        self._hosts = Gathering(vault, reporter)

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
            partners = await self._hosts.meet(self._vault.partners(self._request.to))
        plan = self._plan()
        before = plan.before
        self._reporter.begin(
            "backing up", files_total=before.files if before else 0, bytes_total=before.bytes if before else 0
        )
        upload = self._hosts.make_upload(partners)
        self._reporter.sent_bytes = lambda: upload.sent_bytes
        count = counting(None if before else partial(count_paths, plan.paths, self._rules), self._reporter)
        result = await self._hosts.in_thread(upload, partial(self._archive, upload, plan), count)
        safe = [] if self._request.dry_run else await self._seal(result, partners, upload)
        return self._report(result, upload, safe)

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
            cancel=self._hosts.stop,
        )
        return _Plan(paths, parent, options)

    def _archive(self, upload: Upload, plan: _Plan) -> ArchiveResult:
        repository = self._vault.repository
        if not self._request.dry_run:
            resend_metadata(repository, upload, level=self._request.level)
            self._drop_lost()
        archiver = Archiver(
            repository.keys,
            repository.index,
            cache=repository.cache,
            sink=upload,
            progress=self._reporter,
            options=plan.options,
        )
        return archiver.run(plan.paths, plan.parent)

    def _drop_lost(self) -> None:
        """Let the next head name no more what is at no host, once every host told all that it holds."""
        for snapshot in self._vault.drop_lost() if self._hosts.are_all_heard else ():
            self._reporter.note(f"snapshot {snapshot.hex()[:8]} can't be had any more: from now on it is left out")

    async def _seal(self, result: ArchiveResult, partners: Sequence[Partner], upload: Upload) -> list[Partner]:
        """Sign the head and leave it with the hosts: only then the snapshot stands."""
        if result.inventory is None or result.index is None:
            raise LocalError("a finished backup has no inventory")
        self._vault.heads.extend(result.index, result.inventory)
        safe: list[Partner] = []

        def on_told(partner: Partner) -> None:
            self._vault.saw(partner, Kind.STORED, size_bytes=upload.sent_to(partner))
            safe.append(partner)

        await self._hosts.leave_head(partners, on_told)
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
            left_out=self._hosts.describe_left_out(hint="run the same backup again when it is back"),
        )


def choose_parent(rows: Sequence[tuple[SnapshotId, bytes]], paths: Sequence[bytes]) -> Snapshot | None:
    """Return the newest snapshot of the same paths, else the newest of all: files are looked up by path in it."""
    snapshots = sorted((snapshot for _, snapshot in decode_known(rows)), key=lambda s: s.time_ns, reverse=True)
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
