"""One `dump`: a place found, its bytes handed on as fast as they are taken (DESIGN 10).

Knows: what a place is dumped as. Must not know: archives, frames. Nothing but verified bytes leaves; who reads learns
from the last event whether they were all.
"""

import math
import os
from collections.abc import Awaitable, Callable, Generator
from contextlib import aclosing
from functools import partial
from typing import Final

import msgspec

from backuppeer.agent.brake import Halt
from backuppeer.agent.jobs.lookup import Lookup
from backuppeer.agent.jobs.pulling import pull, run_aside
from backuppeer.agent.owner.fetch import Fetch
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.reporter import Reporter, beating, counting
from backuppeer.backup.browse import SnapshotFilter
from backuppeer.backup.counting import Tell, count_part
from backuppeer.backup.dumper import Dumped, Dumper
from backuppeer.backup.kinds import name_kind
from backuppeer.backup.roots import normalise_path, split_path
from backuppeer.backup.selection import Selection
from backuppeer.backup.trees import TreeReader, find_entry
from backuppeer.clock import format_time
from backuppeer.control.events import Event, EventName
from backuppeer.control.inspection import DumpRequest, DumpResult, DumpStart
from backuppeer.errors import UserError
from backuppeer.ids import SnapshotId
from backuppeer.repo.snapshot import Snapshot
from backuppeer.repo.tree import EntryKind, TreeEntry

EmitAll = Callable[[Event | bytes], Awaitable[None]]
"""Takes events, and pieces of at most 1 MiB between them."""
TAR: Final = "tar"
FILE: Final = "file"


class DumpJob:
    """One run of `dump`."""

    def __init__(self, vault: Vault, request: DumpRequest, emit: EmitAll, reporter: Reporter) -> None:
        self._vault, self._request, self._emit = vault, request, emit
        self._reporter = reporter
        reporter.traffic_bytes = vault.traffic_bytes
        self._stop = Halt()
        self._path = normalise_path(os.fsencode(request.path or "/"))

    async def run(self) -> DumpResult:
        """Hand on the bytes.

        Raises:
            UserError: something that has no bytes, or an archive that there is not.
            NotFoundError: no such snapshot or path.
            IntegrityFault: a part is wrong or missing; what was handed on is not all.
            PeerUnreachable: a part lies only with hosts that can't be reached; the same.

        """
        if self._request.archive not in {"", TAR}:
            raise UserError(f"no such archive: {self._request.archive[:40]!r}", hint="there is --archive tar")
        lookup = Lookup(self._vault, self._reporter, wait_s=self._request.wait_s)
        await lookup.mend(copies=True)
        snapshot_id, snapshot = lookup.choose(self._request.snapshot, SnapshotFilter(set_name=self._request.set))
        repository = self._vault.repository
        wait_s = math.inf if self._request.wait_s is None else self._request.wait_s
        source = self._vault.source(self._reporter, wait_s=wait_s)
        trees = TreeReader(repository.keys, repository.index, cache=repository.cache, source=source)
        way = await run_aside(
            lambda: find_entry(trees, snapshot.tree, split_path(self._path), is_typed=True), self._stop, source.cancel
        )
        self._path = b"/" + b"/".join(entry.name for entry in way)
        start = self._plan(snapshot_id, snapshot, way)
        dumper = Dumper(
            repository.keys,
            repository.index,
            trees=trees,
            source=source,
            progress=self._reporter,
            cancel=self._stop,
        )
        await self._emit(Event(event=EventName.START, data=msgspec.to_builtins(start)))
        if start.format == FILE:
            self._reporter.begin("dumping", files_total=1, bytes_total=way[-1].size)
            await self._hand_on(dumper.dump_file(self._path.lstrip(b"/"), way[-1]), source)
        else:
            self._reporter.begin("dumping")
            async with counting(partial(self._count, snapshot), self._reporter):
                await self._hand_on(dumper.dump_tar(Selection(trees, snapshot.tree, way)), source)
        return self._report(start, dumper.done)

    async def _hand_on(self, pieces: Generator[bytes, None, None], source: Fetch) -> None:
        async with beating(self._reporter), aclosing(pull(pieces, self._stop, source.cancel)) as steps:
            async for piece in steps:
                await self._emit(piece)

    def _plan(self, snapshot_id: SnapshotId, snapshot: Snapshot, way: list[TreeEntry]) -> DumpStart:
        """Say how a place is told.

        Raises:
            UserError: it has no bytes of its own.

        """
        path = os.fsdecode(self._path)
        is_folder = not way or way[-1].kind == EntryKind.DIRECTORY
        if not is_folder and not self._request.archive and way[-1].kind != EntryKind.FILE:
            kind = name_kind(way[-1].kind)
            aim = f" to {os.fsdecode(way[-1].target)!r}" if way[-1].target else ""
            raise UserError(
                f"{path!r} is a {kind}{aim}: it has no bytes to dump", hint="--archive tar puts it into an archive"
            )
        return DumpStart(
            snapshot=snapshot_id.hex(),
            time=format_time(snapshot.time_ns // 1_000_000),
            path=path,
            format=TAR if is_folder or self._request.archive else FILE,
        )

    def _count(self, snapshot: Snapshot, tell: Tell, is_over: Callable[[], bool]) -> None:
        """Count what is to come, for people who watch, from the tree cache alone."""
        repository = self._vault.repository
        trees = TreeReader(repository.keys, repository.index, cache=repository.cache)
        if not is_over():
            count_part(trees, snapshot, self._path, tell)

    def _report(self, start: DumpStart, done: Dumped) -> DumpResult:
        return DumpResult(
            snapshot=start.snapshot,
            path=start.path,
            format=start.format,
            files=done.files,
            bytes=done.bytes,
            seconds=self._reporter.seconds,
            errors=done.left_out,
        )
