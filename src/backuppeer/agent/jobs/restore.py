"""One restore: snapshot found, packs fetched from whoever has them, files written (DESIGN 10, `restore`).

Knows: whose fault each missing file is, hence which exit code. Must not know: how files are written.
"""

import asyncio
import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from backuppeer.agent.brake import Halt
from backuppeer.agent.jobs.lookup import Lookup
from backuppeer.agent.jobs.pulling import batch_rows, make_rows_event, run_aside
from backuppeer.agent.owner.fetch import Fetch
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.reporter import Emit, Reporter, beating, counting
from backuppeer.backup.browse import one_of_each
from backuppeer.backup.counting import Tell, count_part
from backuppeer.backup.restorer import RestoreOptions, Restorer
from backuppeer.backup.restorer import RestoreResult as Restored
from backuppeer.backup.selection import Choice
from backuppeer.backup.standing import Overwrite
from backuppeer.backup.trees import TreeReader
from backuppeer.clock import format_time
from backuppeer.control.events import PeerShare
from backuppeer.control.restoring import Conflict, RemovalRow, RestorePlan, RestoreRequest, RestoreResult
from backuppeer.errors import IntegrityFault, NotFoundError, PeerUnreachable, UserError
from backuppeer.files.scan import Found, FoundKind
from backuppeer.files.surplus import Removal
from backuppeer.ids import AgreementId, SnapshotId
from backuppeer.limits import CONFLICTS_LISTED
from backuppeer.repo.snapshot import Snapshot
from backuppeer.trust.evidence import Kind

T = TypeVar("T")
_KINDS: Final = {
    FoundKind.FILE: "file",
    FoundKind.SYMLINK: "link",
    FoundKind.DIRECTORY: "folder",
    FoundKind.FIFO: "pipe",
    FoundKind.CHARACTER_DEVICE: "device",
    FoundKind.BLOCK_DEVICE: "device",
    FoundKind.OTHER: "socket",
}


class RestoreJob:
    """One run of `restore`."""

    def __init__(self, vault: Vault, request: RestoreRequest, reporter: Reporter, emit: Emit) -> None:
        """`emit`: takes the rows of a plan."""
        self._vault, self._request, self._reporter = vault, request, reporter
        self._emit = emit
        reporter.traffic_bytes = vault.traffic_bytes
        self._source: Fetch
        self._gone: set[AgreementId] = set()
        self._stop = Halt()
        self._choice = Choice(include=request.include, exclude=request.exclude)

    async def run(self) -> RestoreResult:
        """Bring the files back.

        Raises:
            NotFoundError: no such snapshot or path, or nothing fits.
            UserError: files stand in the way.
            LocalError: the target is full, IncompleteError: it is read-only; what is finished stays.
            IntegrityFault: some files could not be verified; the others are restored.
            PeerUnreachable: some files lie only with hosts that can't be reached; the others are restored.

        """
        snapshot_id, snapshot = await self._find()
        is_chosen = bool(self._request.include or self._request.exclude)
        is_whole = self._request.path in {"", "/"} and not is_chosen
        self._reporter.begin("restoring", files_total=snapshot.files * is_whole, bytes_total=snapshot.bytes * is_whole)
        count = None if is_whole or is_chosen else partial(self._count, snapshot)
        async with beating(self._reporter), counting(count, self._reporter):
            result = await self._in_thread(self._make_restorer().run, snapshot)
        return self._report(snapshot_id, snapshot, result)

    async def plan(self) -> RestorePlan:
        """Say which snapshot is meant and what in the target would be replaced; what would be removed comes in rows.

        Raises:
            NotFoundError: no such snapshot or path.
            UserError: the target can't be used, or something that is never replaced stands in the way.

        """
        snapshot_id, snapshot = await self._find()
        self._reporter.begin("comparing with the target")
        restorer = self._make_restorer()
        found = await self._in_thread(restorer.survey, snapshot)
        shown = await asyncio.to_thread(restorer.examine_existing, found.taken[:CONFLICTS_LISTED])
        rows = (self._describe_removal(removal) for removal in found.surplus)
        for batch in batch_rows(rows, lambda row: len(row.path)):
            await self._emit(make_rows_event(batch))
        return RestorePlan(
            snapshot=snapshot_id.hex(),
            time=format_time(snapshot.time_ns // 1_000_000),
            paths=[os.fsdecode(path) for path in snapshot.paths],
            conflicts=[_describe(item, self._request.target) for item in shown],
            conflicts_total=len(found.taken),
            files=found.files,
            bytes=found.bytes,
            first=self._place(found.named),
            kept=found.left.files,
            differing=found.left.differing,
            differing_first=self._place(found.left.named),
            removals_total=len(found.surplus),
        )

    def _describe_removal(self, removal: Removal) -> RemovalRow:
        (path,) = self._place([removal.path])
        return RemovalRow(path=path, kind="dir" if removal.is_directory else "file")

    def _place(self, paths: Sequence[bytes]) -> list[str]:
        """Return where paths of the target are on this machine."""
        return [os.path.join(self._request.target, os.fsdecode(path)) for path in paths]  # noqa: PTH118 - any bytes

    def _count(self, snapshot: Snapshot, tell: Tell, is_over: Callable[[], bool]) -> None:
        repository = self._vault.repository
        trees = TreeReader(repository.keys, repository.index, cache=repository.cache)
        if not is_over():
            count_part(trees, snapshot, os.fsencode(self._request.path), tell)

    async def _find(self) -> tuple[SnapshotId, Snapshot]:
        check_target(self._request.target)
        request = self._request
        lookup = Lookup(self._vault, self._reporter, wait_s=request.wait_s)
        await lookup.mend(copies=True)
        self._gone = lookup.gone
        wanted = one_of_each(set_name=request.set, host=request.host, tag=request.tag, path=request.backed_up)
        return lookup.choose(self._request.snapshot, wanted)

    def _make_restorer(self) -> Restorer:
        repository = self._vault.repository
        wait_s = math.inf if self._request.wait_s is None else self._request.wait_s
        self._source = self._vault.source(self._reporter, wait_s=wait_s)
        self._source.give_up(self._gone)
        self._reporter.by_peer = partial(self._shares, self._vault.partners())
        return Restorer(
            repository.keys,
            repository.index,
            cache=repository.cache,
            source=self._source,
            target=os.fsencode(self._request.target),
            progress=self._reporter,
            options=RestoreOptions(
                overwrite=Overwrite(self._request.overwrite),
                choice=self._choice,
                delete=self._request.delete,
                verify=self._request.verify,
                cancel=self._stop,
            ),
        )

    async def _in_thread(self, step: Callable[[Snapshot, bytes], T], snapshot: Snapshot) -> T:
        path = os.fsencode(self._request.path or "/")
        return await run_aside(partial(step, snapshot, path), self._stop, self._source.cancel)

    def _shares(self, partners: Sequence[Partner]) -> list[PeerShare]:
        """Return what each of several hosts gave."""
        given = {partner.name: self._source.delivered_bytes(partner.agreement) for partner in partners}
        return [PeerShare(name=name, bytes=size) for name, size in given.items()] if len(given) > 1 else []

    def _report(self, snapshot_id: SnapshotId, snapshot: Snapshot, result: Restored) -> RestoreResult:
        if self._request.include and not (result.files or result.dirs or result.left.files or result.errors):
            raise NotFoundError(
                f"nothing in snapshot {snapshot_id.hex()[:8]} fits {', '.join(self._request.include)}",
                hint="`backup-peer ls latest` shows what it is of; patterns are written as in .gitignore",
            )
        done = f"restored to {self._request.target}: {_count(result.files)}"
        if result.integrity_errors:
            lost = count_lost(result.integrity_errors, result.integrity_dirs)
            raise IntegrityFault(
                f"left out, as they came back wrong or not at all: {lost}; {done}",
                hint="an older snapshot may have them whole; keep this host's name in mind: `backup-peer peers`",
            )
        if result.unavailable_errors:
            away = count_lost(result.unavailable_errors, result.unavailable_dirs)
            raise PeerUnreachable(
                f"with hosts that can't be reached now: {away}; {done}",
                hint="run the same restore again when they are back; --wait 1h waits so long for them",
            )
        for partner in self._vault.partners():
            if size_bytes := self._source.delivered_bytes(partner.agreement):
                self._vault.saw(partner, Kind.RESTORED, size_bytes=size_bytes)
        return RestoreResult(
            snapshot=snapshot_id.hex(),
            time=format_time(snapshot.time_ns // 1_000_000),
            paths=[os.fsdecode(path) for path in snapshot.paths],
            files=result.files,
            bytes=result.bytes,
            seconds=self._reporter.seconds,
            errors=result.local_errors,
            target=self._request.target,
            kept=result.left.files,
            differing=result.left.differing,
            differing_first=self._place(result.left.named),
            removed=result.removed,
            verified=result.verified if self._request.verify else None,
        )


def _count(files: int) -> str:
    return "1 file" if files == 1 else f"{files:,} files"


def count_lost(errors: int, dirs: int) -> str:
    """Return how much lacks, in words. dirs: how many of these are folders; nobody knows what is in them."""
    files = [_count(errors - dirs)] if errors > dirs else []
    folders = {0: [], 1: ["1 folder with all in it"]}.get(dirs, [f"{dirs:,} folders with all in them"])
    return " and ".join(files + folders)


def _describe(found: Found, target: str) -> Conflict:
    """Return what stands in the way; `name` is its path below the target."""
    return Conflict(
        path=os.path.join(target, os.fsdecode(found.name)),  # noqa: PTH118 - any bytes
        kind=_KINDS[found.kind],
        target=os.fsdecode(found.target),
    )


def check_target(target: str) -> None:
    """Refuse a target that is not an absolute path: the agent's own folder is nobody's business.

    Raises:
        UserError: it is not.

    """
    if not target.startswith("/") or "\0" in target:
        raise UserError(f"not an absolute path: {target[:80]!r}", hint="name a folder with --target DIR")
