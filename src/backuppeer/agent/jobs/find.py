"""One `find`: snapshots chosen, searched, matches handed on (DESIGN 10).

Knows: rows, which failure ends the search. Must not know: patterns. A folder that came back wrong is named and left
out; a host that is away ends the search: every further folder would wait for it.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import aclosing

import msgspec

from backuppeer.agent.brake import Halt
from backuppeer.agent.jobs.lookup import Chosen, Lookup
from backuppeer.agent.jobs.pulling import batch_rows, make_rows_event, pull
from backuppeer.agent.jobs.rows import make_entry_row
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.reporter import Emit, Reporter, beating
from backuppeer.backup.browse import one_of_each
from backuppeer.backup.finder import Finder, Matcher, Wanted
from backuppeer.backup.kinds import KIND_NAMES
from backuppeer.backup.trees import TreeReader, Visit
from backuppeer.clock import format_time
from backuppeer.control.inspection import FindRequest, FindResult, FindRow
from backuppeer.errors import IntegrityFault, InterruptedByUserError, UserError


class FindJob:
    """One run of `find`."""

    def __init__(self, vault: Vault, request: FindRequest, emit: Emit, reporter: Reporter) -> None:
        self._vault, self._request, self._emit = vault, request, emit
        self._reporter = reporter
        reporter.traffic_bytes = vault.traffic_bytes
        self._stop = Halt()
        self._matches = self._unreadable = 0
        self._searched = ""

    async def run(self) -> FindResult:
        """Search, and hand on what was found as it is found.

        Raises:
            UserError: an empty pattern, or a kind that there is not.
            NotFoundError: no such snapshot.
            PeerUnreachable: a folder lies only with hosts that can't be reached.

        """
        matcher = Matcher(read_wanted(self._request))
        lookup = Lookup(self._vault, self._reporter)
        await lookup.mend(copies=False)
        request = self._request
        wanted = one_of_each(set_name=request.set, host=request.host, tag=request.tag, path=request.path)
        chosen = lookup.choose_all(self._request.snapshots, wanted)
        repository = self._vault.repository
        source = self._vault.source(self._reporter)
        trees = TreeReader(repository.keys, repository.index, cache=repository.cache, source=source)
        finder = Finder(trees, matcher, on_error=self._leave_out, check=self._check)
        self._reporter.begin("searching", unit="folder")
        batches = pull(self._search(finder, chosen), self._stop)
        async with beating(self._reporter), aclosing(batches):
            async for batch in batches:
                await self._emit(make_rows_event(batch))
        return FindResult(snapshots=len(chosen), matches=self._matches, unreadable=self._unreadable)

    def _search(self, finder: Finder, chosen: Sequence[Chosen]) -> Generator[list[FindRow], None, None]:
        for snapshot_id, snapshot in chosen:
            self._searched = snapshot_id.hex()[:8]
            made = format_time(snapshot.time_ns // 1_000_000)
            rows = self._rows(finder.search(snapshot.tree), snapshot_id.hex(), made)
            yield from batch_rows(rows, lambda row: len(row.path) + len(row.target))

    def _rows(self, visits: Iterator[Visit], snapshot: str, made: str) -> Iterator[FindRow]:
        for visit in visits:
            self._matches += 1
            yield make_row(visit, snapshot, made)

    def _check(self, directories: int) -> None:
        if self._stop.is_set():
            raise InterruptedByUserError("the search was cancelled")
        self._reporter.update(files=directories)

    def _leave_out(self, path: bytes, error: IntegrityFault) -> None:
        self._unreadable += 1
        self._reporter.error_file(b"/" + path, f"in snapshot {self._searched}: {error.message}")


def read_wanted(request: FindRequest) -> Wanted:
    """Return what a request looks for.

    Raises:
        UserError: a kind that there is not.

    """
    unknown = set(request.kinds) - set(KIND_NAMES.values())
    if unknown:
        known = ", ".join(KIND_NAMES.values())
        raise UserError(f"no such type: {min(unknown)[:40]!r}", hint=f"entries are of type {known}")
    return Wanted(
        patterns=tuple(request.patterns),
        ignore_case=request.ignore_case,
        kinds=frozenset(request.kinds),
        newer_ns=request.newer_ns,
        older_ns=request.older_ns,
        min_bytes=request.min_bytes,
        max_bytes=request.max_bytes,
    )


def make_row(visit: Visit, snapshot: str, made: str) -> FindRow:
    """Return an entry as a row; `made`: when the snapshot was, as text."""
    return FindRow(**msgspec.structs.asdict(make_entry_row(visit)), snapshot=snapshot, time=made)
