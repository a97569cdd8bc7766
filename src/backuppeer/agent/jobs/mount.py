"""One `mount`: as long as it lasts, folders and bytes of snapshots for the command that shows them (ADR 33).

Knows: which snapshots, threads that may wait for hosts, when it is over. Must not know: kernels, how a mount looks.
Plaintext is kept in memory only, and goes with the mount. Reads have threads of their own: those that wait for a host
must not take the place of other jobs' work.
"""

import asyncio
import math
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar
from weakref import WeakSet

import msgspec

from backuppeer.agent.jobs.lookup import Chosen, Lookup
from backuppeer.agent.jobs.patience import ENDED, Patience
from backuppeer.agent.jobs.pulling import batch_rows, make_rows_event
from backuppeer.agent.jobs.rows import make_mount_entry
from backuppeer.agent.owner.fetch import Fetch
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.reporter import Emit, Reporter
from backuppeer.backup.blocks import Blocks
from backuppeer.backup.browse import SnapshotFilter
from backuppeer.backup.trees import TreeReader
from backuppeer.backup.viewer import Viewer
from backuppeer.control.events import Event, EventName
from backuppeer.control.mounting import MountEntry, MountOpened, MountRequest, MountResult
from backuppeer.errors import InterruptedByUserError, NotFoundError, RefusedError, UserError
from backuppeer.ids import LogicalId, SnapshotId
from backuppeer.limits import (
    CONTROL_PIECE_BYTES,
    MOUNT_BLOCKS_BYTES,
    MOUNT_FOLDERS,
    MOUNT_FOLDERS_ENTRIES,
    MOUNT_LIST_S,
    MOUNT_READS_AT_ONCE,
    MOUNT_SMALL_FILES,
    MOUNTS,
)
from backuppeer.repo.snapshot import decode_known

T = TypeVar("T")
_NAME_BYTES: Final = 8
_AT_A_TIME: Final = "1 MiB at a time, see /v1/openapi.json"


class MountJob:
    """One run of `mount`; `name` is what other routes call it by."""

    def __init__(self, vault: Vault, request: MountRequest, emit: Emit, reporter: Reporter) -> None:
        self._vault, self._request, self._emit, self._reporter = vault, request, emit, reporter
        self.name = secrets.token_hex(_NAME_BYTES)
        self._stop = threading.Event()
        self._ended = asyncio.Event()
        self._pool = ThreadPoolExecutor(MOUNT_READS_AT_ONCE, thread_name_prefix="mount")
        self._sources: WeakSet[Fetch] = WeakSet()
        self._snapshots: dict[str, Chosen] = {}
        self._read_bytes = 0
        self._renewed_s = -math.inf

    async def run(self, mounts: dict[str, "MountJob"]) -> MountResult:
        """Be in `mounts` until told to end.

        Raises:
            NotFoundError: no such snapshot, or none fits.
            RefusedError: there are too many mounts.

        """
        try:
            chosen = await self._choose()
            self._open()
            if len(mounts) >= MOUNTS:
                raise RefusedError(f"{len(mounts)} mounts are open already", hint="end one of them first: `umount DIR`")
            mounts[self.name] = self
            opened = MountOpened(mount=self.name, snapshots=[name.hex() for name in chosen])
            await self._emit(Event(event=EventName.OPENED, data=msgspec.to_builtins(opened)))
            await self._ended.wait()
        finally:
            mounts.pop(self.name, None)
            self.end()
            # No thread of ours may still ask when the loop and the repository are closed.
            await asyncio.shield(asyncio.to_thread(self._pool.shutdown, cancel_futures=True))
        return self.result()

    def result(self) -> MountResult:
        """Return what went through it so far."""
        return MountResult(read_bytes=self._read_bytes, seconds=self._reporter.seconds)

    def end(self) -> None:
        """End it: reads under way fail, and whoever is dialled or asked for them is waited for no more."""
        self._stop.set()
        self._ended.set()
        for source in self._sources:
            source.cancel()

    async def tell_folders(self, snapshot: str, paths: Sequence[str], emit: Emit) -> int:
        """Hand on what the first folder holds, and of the others those at hand; return of how many all was told.

        Raises:
            UserError: no folder, or more than MOUNT_FOLDERS.
            BackupPeerError: as `Viewer.entries`, for the first.

        """
        if not 0 < len(paths) <= MOUNT_FOLDERS:
            raise UserError(f"{len(paths)} folders at once", hint="see /v1/openapi.json")
        self._renew()
        told: list[int] = []
        steps = batch_rows(self._rows(snapshot, [os.fsencode(path) for path in paths], told), _measure_row)
        while batch := await self._aside(lambda: next(steps, None)):
            await emit(make_rows_event(batch))
        return len(told)

    async def read(self, snapshot: str, path: str, *, offset: int, length: int) -> bytes:
        """Return bytes of a file.

        Raises:
            UserError: no such range.
            BackupPeerError: as `Viewer.read`.

        """
        if offset < 0 or not 0 < length <= CONTROL_PIECE_BYTES:
            raise UserError(f"no range of a file: {length} bytes at {offset}", hint=_AT_A_TIME)
        self._renew()

        def work() -> bytes:
            name, found = self._find(snapshot)
            return self._viewer.read(name, found, os.fsencode(path), offset=offset, length=length)

        return await self._count(work)

    async def read_files(self, snapshot: str, paths: Sequence[str]) -> bytes:
        """Return the bytes of small files, one behind the other.

        Raises:
            UserError: more than 1 MiB, or than MOUNT_SMALL_FILES.
            BackupPeerError: as `Viewer.read_files`; then nothing is told of any.

        """
        if len(paths) > MOUNT_SMALL_FILES:
            raise UserError(f"{len(paths)} files at once", hint=_AT_A_TIME)
        self._renew()

        def work() -> bytes:
            name, found = self._find(snapshot)
            return self._viewer.read_files(name, found, [os.fsencode(path) for path in paths])

        return await self._count(work)

    async def _count(self, work: Callable[[], bytes]) -> bytes:
        data = await self._aside(work)
        self._read_bytes += len(data)
        return data

    async def _choose(self) -> list[SnapshotId]:
        lookup = Lookup(self._vault, self._reporter)
        await lookup.mend(copies=True)
        request = self._request
        wanted = SnapshotFilter(
            set_name=request.set,
            hosts=tuple(request.hosts),
            tags=tuple(request.tags),
            path=os.fsencode(request.path),
        )
        return [name for name, _ in lookup.choose_all(request.snapshots, wanted)]

    def _open(self) -> None:
        vault, repository = self._vault, self._vault.repository
        self._hosts = {partner.agreement: partner.name for partner in vault.partners()}
        self._patience = Patience(
            self._make_source(), self._hosts_of, say=self._reporter.say_state, clock=vault.clock, stop=self._stop
        )
        trees = TreeReader(repository.keys, repository.index, cache=repository.cache, source=self._patience)
        blocks = Blocks(self._patience, self._measure, MOUNT_BLOCKS_BYTES)
        self._viewer = Viewer(repository.keys, repository.index, trees=trees, source=blocks)

    def _make_source(self) -> Fetch:
        partners = {partner.agreement: partner for partner in self._vault.partners()}
        source = self._vault.source_of(partners, wait_s=0.0, keep_bytes=0)
        self._sources.add(source)
        return source

    def _renew(self) -> None:
        """Read from hosts, too, that were not there yet when the mount was opened; it may last for weeks."""
        now_s = self._vault.clock.monotonic_s()
        if now_s - self._renewed_s < MOUNT_LIST_S:
            return
        self._renewed_s = now_s
        hosts = {partner.agreement: partner.name for partner in self._vault.partners()}
        if hosts != self._hosts:
            self._hosts = hosts
            self._patience.source = self._make_source()

    def _hosts_of(self, pack: LogicalId) -> tuple[str, ...]:
        copies = self._vault.repository.ledger.copies_of(pack)
        return tuple(self._hosts.get(copy.agreement, "a host") for copy in copies) or ("any host",)

    def _measure(self, pack: LogicalId) -> int:
        return min((copy.size for copy in self._vault.repository.ledger.copies_of(pack)), default=0)

    def _find(self, text: str) -> Chosen:
        """Return a snapshot by its full id; one that was forgotten meanwhile stays as long as its packs do.

        Raises:
            NotFoundError: there is no such snapshot.

        """
        if text not in self._snapshots:
            found = decode_known(self._vault.repository.index.snapshots())
            self._snapshots |= {name.hex(): (name, snapshot) for name, snapshot in found}
        if text not in self._snapshots:
            raise NotFoundError(f"there is no snapshot {text[:8]}", hint="`backup-peer snapshots` lists them")
        return self._snapshots[text]

    def _rows(self, snapshot: str, paths: Sequence[bytes], told: list[int]) -> Iterator[MountEntry]:
        """Yield the entries of folders; `told` gets the number of each once all of it was told."""
        name, found = self._find(snapshot)
        entries = 0
        for number, path in enumerate(paths):
            if number and (entries >= MOUNT_FOLDERS_ENTRIES or not self._viewer.is_at_hand(name, found, path)):
                return
            for entry in self._viewer.entries(name, found, path):
                entries += 1
                yield make_mount_entry(entry, number)
            told.append(number)

    async def _aside(self, work: Callable[[], T]) -> T:
        """Return what `work` does in a thread of the mount; it is left behind when the mount ends before."""
        if self._stop.is_set():
            raise InterruptedByUserError(ENDED)
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait((future, ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            future.add_done_callback(_look_at)
        if not future.done():
            raise InterruptedByUserError(ENDED)
        return future.result()


def _look_at(future: "asyncio.Future[T]") -> None:
    """Take the error of work that was left behind, or the loop would complain that nobody did."""
    if not future.cancelled():
        future.exception()


def _measure_row(row: MountEntry) -> int:
    return len(row.name) + len(row.target) + sum(2 * len(value) for value in row.attributes.values())
