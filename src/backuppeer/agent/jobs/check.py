"""One `check`: this machine, the hosts, the trees; then as many copies as were asked for (ADR 24).

Knows: the order of these steps, which copies are read. Must not know: how any of it is looked at. It changes nothing
but what is remembered of it: when a copy was read, and that it came back wrong. What it finds is told; `RepairJob`
mends.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TypeVar

from backuppeer.agent.audits.proofreading import read_directory
from backuppeer.agent.audits.stocktaking import Stock, take_stock
from backuppeer.agent.brake import Halt
from backuppeer.agent.jobs.findings import Findings
from backuppeer.agent.jobs.pulling import for_each, run_aside
from backuppeer.agent.jobs.reading import Reading, check_share
from backuppeer.agent.owner.fetch import Fetch
from backuppeer.agent.owner.meeting import Meeting
from backuppeer.agent.owner.selfcheck import (
    blobs_of_list,
    compare_pack,
    compare_with_head,
    examine_databases,
    find_uncompared,
    read_faults,
)
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import AbsentPartner, Partner
from backuppeer.agent.peers.retry import Herald
from backuppeer.agent.reporter import Reporter, beating
from backuppeer.backup.browse import find_snapshot, list_snapshots
from backuppeer.backup.checker import Checker, Found, Hit
from backuppeer.backup.trees import TreeReader
from backuppeer.control.checking import CheckRequest, CheckResult
from backuppeer.errors import (
    BackupPeerError,
    DamagedStateError,
    IntegrityFault,
    InterruptedByUserError,
    Unavailable,
)
from backuppeer.ids import AgreementId, LogicalId, SnapshotId
from backuppeer.limits import CHECK_AT_ONCE, CHECK_NAMED
from backuppeer.repo.snapshot import Snapshot, find_newer
from backuppeer.repo.tally import Tally

T = TypeVar("T")
Chosen = list[tuple[SnapshotId, Snapshot]]


class CheckJob:
    """One run of `check`."""

    def __init__(self, vault: Vault, request: CheckRequest, reporter: Reporter) -> None:
        check_share(request)
        self._vault, self._request, self._reporter = vault, request, reporter
        reporter.traffic_bytes = vault.traffic_bytes
        self._stop = Halt()
        self._found = Findings(vault)
        self._hits, self._hit_snapshots = 0, dict[str, None]()
        self._packs: list[LogicalId] = []
        self._source: Fetch
        self._sources: dict[AgreementId, Fetch] = {}

    async def run(self) -> CheckResult:
        """Look at everything.

        Raises:
            NotFoundError: no host is agreed, or no such snapshot.
            UserError: a share that is none.

        """
        partners = self._vault.partners()
        # A backup beside this would be seen half done. Beside the reading, which may take days, it may run.
        self._vault.check_idle()
        async with self._vault.busy:
            await self._reporter.state("searching", "checking what this machine keeps")
            local = await self._aside(partial(examine_databases, self._vault.repository, self._check))
            for about, text in local.found:
                self._found.note(about, text)
            if not local.is_readable:
                # Index and ledger say what hosts should have: without them there is nothing to compare with.
                self._reporter.note("hosts and snapshots were not looked at: what is known of them here is damaged")
                return self._report([])
            await self._take_stocks(partners)
            if any(map(self._is_behind, self._found.stocks.values())):
                await self._catch_up(partners)
            self._tell_stocks()
            self._packs = list(self._vault.repository.index.packs())
            self._make_sources()
            repository = self._vault.repository
            trees = TreeReader(repository.keys, repository.index, cache=repository.cache, source=self._source)
            stack = ExitStack()
            checker = stack.enter_context(Checker(trees, repository.index, check=self._check_pieces))
            with stack:
                chosen = await self._aside(partial(self._try, partial(self._examine, checker)))
                later = stack.pop_all()
        with later:
            if chosen is None:
                return self._report([])
            return await self._aside(partial(self._conclude, checker, chosen))

    def _try(self, examine: Callable[[], T]) -> T | None:
        """Return what `examine` gives; None when the index can't be read, which is noted."""
        try:
            return examine()
        except DamagedStateError as exc:
            self._found.note("index", exc.message)
            return None

    async def _aside(self, work: Callable[[], T]) -> T:
        async with beating(self._reporter):
            return await run_aside(work, self._stop)

    async def _take_stocks(self, partners: Sequence[Partner]) -> None:
        await self._reporter.state("connecting", f"connecting to {', '.join(p.name for p in partners)}")
        self._reporter.begin("reading lists of packs", unit="pack")
        listed: dict[AgreementId, int] = {}

        def count(agreement: AgreementId, packs: int) -> None:
            listed[agreement] = packs
            self._reporter.update(files=sum(listed.values()))

        # Side by side: one that is slow holds up no other.
        herald = Herald(self._reporter.say_state, self._vault.clock)
        stocks = await asyncio.gather(
            *(take_stock(self._vault, p, partial(count, p.agreement), herald) for p in partners)
        )
        herald.give_up()
        for partner, stock in zip(partners, stocks, strict=True):
            self._found.stocks[partner.agreement] = stock
        heard = [stock.partner.name for stock in self._found.heard]
        await self._reporter.state(
            "connected", f"connected to {', '.join(heard)}" if heard else "no host can be reached"
        )

    def _is_behind(self, stock: Stock) -> bool:
        """Whether this home need not know all that a host has, without anything being wrong."""
        if stock.partner.agreement in self._vault.unread:
            return bool(stock.unknown)
        return not self._vault.writer.may_write and (stock.is_ahead or bool(stock.unknown))

    async def _catch_up(self, partners: Sequence[Partner]) -> None:
        """Take in what hosts have and this home never read: what another machine wrote is no damage, nor any host's."""
        meeting = Meeting(self._vault, self._reporter, lambda *_: None)  # who is away or at fault, the stock tells
        await meeting.refresh(await meeting.hear(partners))
        await self._vault.ensure_whole(patient=False)
        await self._take_stocks(partners)

    def _tell_stocks(self) -> None:
        for stock in self._found.stocks.values():
            if stock.away is not None:
                self._reporter.note(f"{stock.partner.name}: {stock.away.message}")
            elif stock.unknown:
                self._reporter.note(f"{stock.partner.name} keeps packs that this home does not know: {stock.unknown}")

    def _examine(self, checker: Checker) -> Chosen:
        """Look at what hosts keep, without reading it; in a thread."""
        self._compare_head()
        chosen = self._choose()
        found = self._walk(checker, chosen)
        self._compare_directories()
        self._judge_trees(found)
        return chosen

    def _conclude(self, checker: Checker, chosen: Chosen) -> CheckResult:
        """Read what was asked for, and tell what all of it means; in a thread."""
        self._found.needed = set(checker.needed_packs())
        if self._is_reading:
            self._read_copies()
        self._found.judge_packs(self._packs, checker)
        self._found.judge_hosts()
        if self._found.spare and not self._request.snapshots:
            self._reporter.note(f"packs that are with no host whole, and that no snapshot needs: {self._found.spare}")
        if not checker.has_bad:
            return self._report(chosen)
        if self._found.abouts & {"index", "ledger"}:
            # What looks lost may only be unknown here: no file is called so before this machine's part is in order.
            self._reporter.note("which files are hit can be said once index and ledger are in order again")
        else:
            self._name_hits(checker, chosen)
        return self._report(chosen)

    def _make_sources(self) -> None:
        heard = [stock.partner.agreement for stock in self._found.heard]
        self._source = self._make_source(list(self._found.stocks), wait_s=0)
        self._sources = {agreement: self._make_source([agreement]) for agreement in heard}

    def _make_source(self, agreements: Sequence[AgreementId], *, wait_s: float | None = None) -> Fetch:
        """Return where packs are read from; hosts that could not be asked are not dialled again for each of them."""
        partners: dict[AgreementId, Partner] = {}
        for agreement in agreements:
            stock = self._found.stocks[agreement]
            partners[agreement] = AbsentPartner.of(stock.partner, stock.away) if stock.away else stock.partner
        return self._vault.source_of(partners, self._reporter, wait_s=wait_s, keep_bytes=0)

    def _compare_head(self) -> None:
        newest = self._vault.heads.newest()
        if newest is None:
            return
        try:
            for text in read_faults(lambda: compare_with_head(self._vault.repository, newest[0], self._source)):
                self._found.note("index", text)
        except Unavailable:
            self._reporter.note(f"the list of head {newest[0].number} lies with hosts that can't be reached")

    def _choose(self) -> Chosen:
        index = self._vault.repository.index
        newer = find_newer(index.snapshots())
        for name, version in newer.items():
            self._reporter.note(f"snapshot {name.hex()[:8]} is of a newer format ({version}): left as it is, unchecked")
        if not self._request.snapshots:
            try:
                return list_snapshots(index)
            except IntegrityFault as exc:
                self._found.note("index", f"the index holds what is no snapshot: {exc.message}")
                return []
        return list(dict(find_snapshot(index, text) for text in self._request.snapshots).items())

    def _walk(self, checker: Checker, chosen: Chosen) -> Found:
        self._reporter.begin("checking folders", unit="folder")
        newest = self._vault.heads.newest()
        if newest is not None:
            checker.add_blobs(blobs_of_list(self._vault.repository, newest[0], self._source))
        for name, snapshot in chosen:
            checker.add(name, snapshot)
        return checker.finish()

    def _judge_trees(self, found: Found) -> None:
        # Where index and ledger agree with head and directories there is no more to be learnt from packs: it is lost.
        about = "index" if self._found.abouts & {"index", "ledger"} else "snapshots"
        if found.missing and "index" not in self._found.abouts:  # else that is why they seem to be missing
            self._found.note(about, f"snapshots need blobs that are in no known pack: {found.missing}")
        if found.wrong:
            self._found.note("snapshots", f"folders of snapshots can't be read: {found.wrong}")
        if found.unread:
            self._reporter.note(f"folders that lie with hosts that can't be reached: {found.unread}")

    def _compare_directories(self) -> None:
        """Compare rows of the index with the packs' directories, where that was not done yet."""
        repository = self._vault.repository
        waiting = find_uncompared(repository, self._check)
        if not waiting:
            return
        self._reporter.begin("comparing the index", unit="pack", files_total=len(waiting))
        done = [0]
        wrong: list[str] = []

        def compare(pair: tuple[LogicalId, Tally]) -> None:
            done[0] += 1
            self._reporter.update(files=done[0])
            copy = next(filter(self._found.is_readable, repository.ledger.copies_of(pair[0])), None)
            if copy is None:
                return
            try:
                directory = read_directory(repository, self._source, copy)
            except BackupPeerError as exc:
                # That says nothing about the index; whether the copy is whole, reading it tells.
                if isinstance(exc, IntegrityFault):
                    self._reporter.note(f"the directory of pack {pair[0].hex()[:8]} can't be read: {exc.message}")
                return
            fault = compare_pack(repository, directory, pair[1])
            if fault:
                wrong.append(f"{pair[0].hex()[:8]}: blobs: {fault}")

        for_each(waiting, compare, self._stop, at_once=CHECK_AT_ONCE)
        self._check()
        if wrong:
            self._found.note("index", f"the index does not agree with {len(wrong)} packs, the first {min(wrong)}")

    @property
    def _is_reading(self) -> bool:
        request = self._request
        return bool(request.read_data or request.percent or request.most_bytes or request.parts)

    def _read_copies(self) -> None:
        reading = Reading(self._vault, self._request, self._found, self._reporter, stop=self._stop)
        reading.run(self._sources)
        self._check()
        for text in self._found.newer:
            self._reporter.note(f"left as it is, unchecked: {text}")

    # naming
    def _name_hits(self, checker: Checker, chosen: Chosen) -> None:
        self._reporter.begin("finding the files that are hit")
        for hit in checker.name_hits(chosen):
            self._check()
            self._name(hit)
        if self._hits:
            more = self._hits - CHECK_NAMED
            if more > 0:
                self._reporter.note(f"and {more:,} more files and folders")
            self._found.note(
                "snapshots",
                f"files and folders with no host whole: {self._hits:,}, in snapshots: {len(self._hit_snapshots)}",
            )

    def _name(self, hit: Hit) -> None:
        self._hits += 1
        self._hit_snapshots[hit.snapshot.hex()] = None
        if self._hits <= CHECK_NAMED:
            self._reporter.error_file(b"/" + hit.path, f"in snapshot {hit.snapshot.hex()[:8]}: {hit.reason}")

    def _check_pieces(self, pieces: int) -> None:
        self._check()
        self._reporter.update(files=pieces)

    def _check(self) -> None:
        if self._stop.is_set():
            raise InterruptedByUserError("the check was cancelled")

    def _report(self, chosen: Chosen) -> CheckResult:
        return self._found.report(
            snapshots=len(chosen),
            packs=len(self._packs),
            hits=(self._hits, list(self._hit_snapshots)),
            seconds=self._reporter.seconds,
        )
