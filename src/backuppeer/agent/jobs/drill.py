"""One restore drill: random files of the newest snapshot, brought back from one host alone, compared, thrown away.

Knows: which files, where they go meanwhile. Must not know: how files are restored. An audit proves that bytes are
there; a drill, that files come back from them: keys, index, directories and trees included. It writes into a folder of
its own in the home (0700), and deletes nothing else.
"""

import asyncio
import os
import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from backuppeer.agent.brake import Halt
from backuppeer.agent.home.home import DRILL, Home
from backuppeer.agent.jobs.pulling import run_aside
from backuppeer.agent.owner.fetch import Fetch
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.reporter import Reporter, beating
from backuppeer.backup.browse import list_roots, list_snapshots
from backuppeer.backup.restorer import RestoreOptions, Restorer
from backuppeer.backup.trees import TreeReader, Visit
from backuppeer.control.auditing import AuditRequest, DrilledHost, DrillResult
from backuppeer.control.saving import LeftOut
from backuppeer.errors import (
    BackupPeerError,
    IntegrityFault,
    InterruptedByUserError,
    LocalError,
    NotFoundError,
    Unavailable,
)
from backuppeer.ids import AgreementId, format_peer_id
from backuppeer.limits import DRILL_BYTES, DRILL_FILES
from backuppeer.repo.snapshot import Snapshot
from backuppeer.repo.tree import EntryKind
from backuppeer.trust.evidence import Kind


class DrillJob:
    """One run, host by host: what one of them can't give must not come from another."""

    def __init__(self, vault: Vault, home: Home, request: AuditRequest, reporter: Reporter) -> None:
        self._vault, self._home, self._request, self._reporter = vault, home, request, reporter
        reporter.traffic_bytes = vault.traffic_bytes
        self._stop = Halt()
        self._left_out: list[LeftOut] = []

    async def run(self) -> DrillResult:
        """Restore from each host, compare, delete.

        Raises:
            NotFoundError: no host, or no snapshot with files.
            IntegrityFault: the index can't be read.
            LocalError: a disk of this machine refuses.

        """
        partners = self._vault.partners(self._request.peers)
        await asyncio.to_thread(sweep_drills, self._home)
        snapshots = await asyncio.to_thread(list_snapshots, self._vault.repository.index)
        if not snapshots:
            raise NotFoundError("there is no snapshot to restore from", hint="make one: `backup-peer backup PATH`")
        name, snapshot = snapshots[-1]
        hosts = []
        async with beating(self._reporter):
            for partner in partners:
                host = await self._try(partner, snapshot)
                hosts += [host] if host is not None else []
        return DrillResult(
            snapshot=name.hex(),
            hosts=hosts,
            files=sum(host.files for host in hosts),
            bytes=sum(host.bytes for host in hosts),
            left_out=self._left_out,
            seconds=self._reporter.seconds,
        )

    async def _try(self, partner: Partner, snapshot: Snapshot) -> DrilledHost | None:
        """Return what came of one host; None if it could not be reached."""
        self._reporter.begin(f"restoring from {partner.name}")
        try:
            await partner.session()
            return await self._drill(partner, snapshot)
        except Unavailable as exc:
            self._vault.blame(partner, exc)
            told = LeftOut(peer_id=format_peer_id(partner.peer), name=partner.name, reason=exc.message, hint=exc.hint)
            self._left_out.append(told)
            return None

    async def _drill(self, partner: Partner, snapshot: Snapshot) -> DrilledHost:
        source = self._vault.source_of({partner.agreement: partner}, wait_s=0)
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=DRILL, dir=self._home.path))
        try:
            work = partial(self._restore, partner.agreement, source, snapshot, folder)
            host, failed, away = await run_aside(work, self._stop, source.cancel)
        finally:
            # Whatever ended it: what lies there is in the clear, and nobody's to find. It was made for this alone.
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        host.peer_id, host.alias = format_peer_id(partner.peer), self._vault.alias(partner.peer)
        if delivered := source.delivered_bytes(partner.agreement):
            self._vault.saw(partner, Kind.RESTORED, size_bytes=delivered)
        if failed:
            fault = IntegrityFault(f"files did not come back from it as they were saved: {failed}")
            self._reporter.fault(partner.peer, partner.name, fault, hint="`backup-peer check` says what is lost")
        if away:
            raise _explain_away(away)
        return host

    def _restore(
        self, agreement: AgreementId, source: Fetch, snapshot: Snapshot, folder: Path
    ) -> tuple[DrilledHost, int, int]:
        """Restore some files; return what came back, how many files were wrong, and how many could not be had now."""
        repository = self._vault.repository
        trees = TreeReader(repository.keys, repository.index, cache=repository.cache, source=source)
        chosen = choose_files(self._walk(trees, snapshot), random.Random())  # noqa: S311 - chance, no secret
        if not chosen:
            raise NotFoundError("the newest snapshot has no file to restore", hint="see `backup-peer snapshots`")
        restorer = Restorer(
            repository.keys,
            repository.index,
            cache=repository.cache,
            source=source,
            target=os.fsencode(folder),
            options=RestoreOptions(verify=True, cancel=self._stop),
        )
        host, failed, away = DrilledHost(), 0, 0
        for visit in chosen:
            if not self._is_kept(agreement, trees, visit):
                host.absent += 1
                continue
            done = restorer.run(snapshot, b"/" + visit.path)
            if done.local_errors:
                raise LocalError("a file of the drill can't be written", hint="is there room in the home's disk?")
            host.files, host.bytes = host.files + done.files, host.bytes + done.bytes
            failed, away = failed + done.integrity_errors, away + done.unavailable_errors
            self._reporter.update(files=host.files, bytes=host.bytes)
        host.failed = failed
        return host, failed, away

    def _is_kept(self, agreement: AgreementId, trees: TreeReader, visit: Visit) -> bool:
        """Whether all of a file is known to lie with a host: one that lags behind is not to blame for the rest."""
        repository = self._vault.repository
        found = [repository.index.find(chunk) for chunk in trees.chunks_of(visit.entry)]
        packs = {location.pack for location in found if location is not None}
        return None not in found and not list(repository.ledger.missing_at(agreement, packs))

    def _walk(self, trees: TreeReader, snapshot: Snapshot) -> Iterator[Visit]:
        for visit in list_roots(trees, snapshot, recursive=True):
            if self._stop.is_set():
                raise InterruptedByUserError("the drill was cancelled")
            yield visit


def sweep_drills(home: Home) -> None:
    """Remove what a drill left that was killed: files in the clear. Not while another one runs."""
    for left in home.path.glob(f"{DRILL}*"):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)


def choose_files(visits: Iterator[Visit], chance: random.Random) -> Sequence[Visit]:
    """Return files drawn from all, each as likely as any other: at most DRILL_FILES, with DRILL_BYTES together.

    One that is larger than that by itself is left out, and of hard links any.
    """
    drawn: list[Visit] = []
    seen = 0
    for visit in visits:
        if visit.entry.kind != EntryKind.FILE or visit.entry.size > DRILL_BYTES:
            continue
        seen += 1
        if len(drawn) < DRILL_FILES:
            drawn.append(visit)
        elif (place := chance.randrange(seen)) < DRILL_FILES:
            drawn[place] = visit
    chance.shuffle(drawn)
    return _fit(drawn)


def _fit(drawn: Sequence[Visit]) -> list[Visit]:
    taken, room = [], DRILL_BYTES
    for visit in drawn:
        if visit.entry.size <= room:
            taken.append(visit)
            room -= visit.entry.size
    return taken


def _explain_away(files: int) -> BackupPeerError:
    return Unavailable(f"it went away before {files} files came back", hint="run it again when it is back")
