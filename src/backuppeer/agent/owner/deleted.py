"""What hosts hold as deleted and can still give back: listed, and told from what they lost (ADR 22, 37).

Knows: `ListDeleted`, the ledger, the directories of packs. Must not know: snapshots, what is to come back. A deleted
pack is readable until its hold is over; here it enters the index as dropped, so readers find it and no writer relies on
it. How long it stays is the host's word, believed up to two locks.
"""

import asyncio
import shlex
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import partial

from backuppeer.agent.home.deeds import Deeds
from backuppeer.agent.owner.erased import hear_any_deletes, hear_deletes, say_erased
from backuppeer.agent.owner.heads import HeadChain
from backuppeer.agent.owner.losses import LOST_PACKS, find_binding, measure_named
from backuppeer.agent.owner.rebuild import Found, read_directory
from backuppeer.agent.owner.repository import Repository
from backuppeer.agent.owner.testimony import read_losses
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.peers.retry import retry
from backuppeer.agent.peers.room import say_date
from backuppeer.agent.reporter import Reporter
from backuppeer.clock import Clock
from backuppeer.errors import (
    BackupPeerError,
    IntegrityFault,
    NewerFormatError,
    PeerFault,
    PeerUnreachable,
    ProtocolViolation,
    RefusedError,
)
from backuppeer.host.hold import held_s
from backuppeer.ids import StoredId
from backuppeer.limits import PACK_LIST_PAGE, PACKS_LISTED, REBUILD_AT_ONCE, REFRESH_S
from backuppeer.proof.statements import Head
from backuppeer.repo.pack import Entry
from backuppeer.shares.ledger import Copy
from backuppeer.sizes import format_size
from backuppeer.wire.messages import DeletedList, DeletedRow, ListDeleted, PackRow

Blame = Callable[[Partner, BackupPeerError], None]


@dataclass(slots=True)
class Deleted:
    """What one host holds as deleted. `first_ms`, `last_ms`: when the first and the last of it goes, at the soonest."""

    packs: int = 0
    size_bytes: int = 0
    first_ms: int = 0
    last_ms: int = 0
    unreadable: list[BackupPeerError] = field(default_factory=list)

    def add(self, size_bytes: int, until_ms: int) -> None:
        """Count a pack."""
        self.packs += 1
        self.size_bytes += size_bytes
        self.first_ms = min(self.first_ms or until_ms, until_ms)
        self.last_ms = max(self.last_ms, until_ms)


async def list_deleted(partner: Partner, clock: Clock) -> AsyncIterator[tuple[DeletedRow, ...]]:
    """Yield the pages of what a host says it holds as deleted.

    Raises:
        ProtocolViolation: the pages don't ascend, or don't end.
        RefusedError: a host of before does not know the question.
        Unavailable: it went away.

    """
    after, more, listed = b"", True, 0
    while more:
        page = await retry(partial(_list_page, partner, after), clock)
        ids = [row.stored for row in page.packs]
        listed += len(ids)
        if ids != sorted(set(ids)) or (ids and ids[0] <= after) or listed > PACKS_LISTED:
            raise ProtocolViolation("the host's list of deleted packs is out of order, or does not end")
        yield page.packs
        more = page.more and bool(ids)
        after = ids[-1] if ids else after


async def _list_page(partner: Partner, after: bytes) -> DeletedList:
    session = await partner.session()
    question = ListDeleted(agreement=partner.agreement, after=after, limit=PACK_LIST_PAGE)
    async with session.request(question) as channel:
        return await channel.receive(DeletedList)


async def weigh_findings(  # noqa: PLR0913 - what was found, and in which light it is seen
    partner: Partner,
    repository: Repository,
    found: Found,
    *,
    clock: Clock,
    lock_s: int,
    heads: HeadChain,
    blame: Blame | None,
    reporter: Reporter,
) -> None:
    """Tell what a resync found wrong: packs that can't be opened, lost ones, and those deleted by another machine.

    The ledger forgets what is lost; of what was deleted it notes until when it is kept. `lock_s`: as agreed; twice
    that is the most believed. `heads`: the newest one, if this host countersigned it, says what must be there.
    `blame`: None for a machine that only reads: the one that writes may have had packs erased.

    Raises:
        ProtocolViolation, Unavailable: as `list_deleted`.

    """
    if found.failure is not None:
        if blame is not None:
            blame(partner, found.failure)
        reporter.note(f"{partner.name}: packs that can't be opened: {found.failed}: {found.failure.message}")
    gone, head = found.lost, heads.vouched_head(partner)
    if gone:
        rows = await _list_among(partner, gone, clock)
        signed = await _hear_signed(partner, repository, gone, heads, listed=set(rows), clock=clock, lock_s=lock_s)
        gone -= signed
        kept = {stored: row for stored, row in rows.items() if stored in signed}
        await _note_kept(partner, repository, kept, now_ms=clock.now_ms(), lock_s=lock_s, reporter=reporter)
        erased = signed - kept.keys()
        if count := await asyncio.to_thread(repository.ledger.forget_stored, partner.agreement, erased):
            reporter.note(say_erased(partner.name, count))
    admitted = await _hear_admitted(partner, clock, heads.deeds) if gone and head is not None else set[StoredId]()
    lost, lost_bytes = await asyncio.to_thread(_forget, repository, partner, gone, admitted=admitted, head=head)
    if lost and blame is not None:
        loss = IntegrityFault(f"packs that it had acknowledged are gone: {lost}", lost_bytes=lost_bytes)
        blame(partner, loss)
        reporter.fault(partner.peer, partner.name, loss, hint=LOST_PACKS)


async def _hear_admitted(partner: Partner, clock: Clock, deeds: Deeds) -> set[StoredId]:
    """Return the packs that a host reports as lost, signed: who admits a loss does not fare as who hides it."""
    try:
        return {stored async for loss in read_losses(partner, 0, clock, deeds) for stored in loss.packs}
    except BackupPeerError:
        return set()  # no report that counts


def _forget(
    repository: Repository, partner: Partner, gone: set[StoredId], *, admitted: set[StoredId], head: Head | None
) -> tuple[int, int]:
    """Forget packs that a host lists no more; return how many it had acknowledged.

    And the bytes of `measure_named`, but of those that it admitted.
    """
    ledger = repository.ledger
    lost = [copy for copy in ledger.copies_at(partner.agreement) if copy.stored in gone] if gone else []
    lost_bytes = measure_named(repository, head, (copy for copy in lost if copy.stored not in admitted)) if lost else 0
    return ledger.forget_stored(partner.agreement, gone), lost_bytes


async def _list_among(partner: Partner, gone: AbstractSet[StoredId], clock: Clock) -> dict[StoredId, DeletedRow]:
    """Return those of missing packs that the host says it holds as deleted."""
    rows: dict[StoredId, DeletedRow] = {}
    try:
        async with asyncio.timeout(REFRESH_S):
            async for page in list_deleted(partner, clock):
                rows |= {row.stored: row for row in page if row.stored in gone}
    except RefusedError:
        return {}
    except TimeoutError as exc:
        raise PeerUnreachable("it tells too slowly what was deleted") from exc
    return rows


async def _hear_signed(
    partner: Partner,
    repository: Repository,
    gone: AbstractSet[StoredId],
    heads: HeadChain,
    *,
    listed: AbstractSet[StoredId],
    clock: Clock,
    lock_s: int,
) -> set[StoredId]:
    """Return those of missing packs for which the host shows our signed request; it lists as deleted what it likes.

    What the newest head names, and this host countersigned, goes by a request upon that head alone (ADR 53).
    """
    vouched = heads.vouched(partner)
    signed = await hear_deletes(partner, gone, vouched, clock=clock, lock_s=lock_s, listed=listed)
    named = await asyncio.to_thread(find_binding, repository, vouched.head if vouched else None)
    binding = {copy.stored for copy in repository.ledger.copies_at(partner.agreement) if copy.logical in named}
    return signed | await hear_any_deletes(partner, listed - binding - signed, heads.owner, clock)


async def _note_kept(
    partner: Partner,
    repository: Repository,
    rows: Mapping[StoredId, DeletedRow],
    *,
    now_ms: int,
    lock_s: int,
    reporter: Reporter,
) -> None:
    """Note and tell what a host holds as deleted; another machine with our keys asked for that."""
    hold_s = held_s(lock_s, is_doubled=True)
    deleted = await asyncio.to_thread(_note_deleted, partner, repository, rows, now_ms=now_ms, hold_s=hold_s)
    if deleted.packs:
        until = say_date(deleted.first_ms, 0)
        reporter.note(
            f"{partner.name}: another machine with your keys, or this one before it was set back, had it delete "
            f"{format_size(deleted.size_bytes)} of your backups, kept until {until} at the soonest. "
            f"If that was not you: `backup-peer peers undelete {shlex.quote(partner.name)}` shows what can be had back"
        )


def _note_deleted(
    partner: Partner, repository: Repository, rows: Mapping[StoredId, DeletedRow], *, now_ms: int, hold_s: int
) -> Deleted:
    """Note of copies that their host keeps them no longer than this, and return what it comes to."""
    deleted, ends = Deleted(), Ends(repository)
    for copy in [copy for copy in repository.ledger.copies_at(partner.agreement) if copy.stored in rows]:
        until_ms = _until(rows[copy.stored], now_ms, hold_s)
        deleted.add(copy.size, until_ms)
        ends.add(copy, until_ms)
    ends.write()
    return deleted


class Ends:
    """Until when copies are kept, written into the ledger together: most end at the same second."""

    def __init__(self, repository: Repository) -> None:
        self._ledger = repository.ledger
        self._ends: defaultdict[int, list[Copy]] = defaultdict(list)

    def add(self, copy: Copy, until_ms: int) -> None:
        """Note one."""
        self._ends[until_ms].append(copy)

    def write(self) -> None:
        """Write what was noted.

        Raises:
            LocalError: a disk that refuses.

        """
        for until_ms, copies in self._ends.items():
            self._ledger.settle(copies, until_ms)
        self._ends.clear()


def _until(row: DeletedRow, now_ms: int, hold_s: int) -> int:
    return now_ms + max(1, min(row.left_s, hold_s)) * 1000


async def read_deleted(
    partner: Partner, repository: Repository, *, clock: Clock, hold_s: int, reporter: Reporter
) -> Deleted:
    """Bring ledger and index in line with what a host holds as deleted; nobody else may write meanwhile.

    Packs that the index does not know are read: their directories, 128 KiB each, some at once.

    Raises:
        as `list_deleted`.

    """
    reading = await asyncio.to_thread(_Reading, partner, repository, clock)
    now_ms, seen = clock.now_ms(), set[StoredId]()
    reporter.begin("reading what was deleted", unit="pack")
    async for rows in list_deleted(partner, clock):
        ends = Ends(repository)
        copies = await asyncio.gather(*(reading.take(row) for row in rows))
        for row, copy in zip(rows, copies, strict=True):
            seen.add(row.stored)
            until_ms = _until(row, now_ms, hold_s)
            reading.found.add(row.size, until_ms)
            if copy is not None:
                ends.add(copy, until_ms)
        await asyncio.to_thread(ends.write)
        reporter.update(files=reading.found.packs)
    await asyncio.to_thread(_forget_erased, partner, repository, seen)
    return reading.found


def _forget_erased(partner: Partner, repository: Repository, seen: set[StoredId]) -> None:
    """Forget what a host was told to delete and does not list as deleted: it is erased."""
    told = repository.ledger.doomed_at(partner.agreement, is_told=True)
    repository.ledger.forget_copies([copy for copy in told if copy.stored not in seen])


class _Reading:
    """Deleted packs of one host that are being read; `found`: what was, so far."""

    def __init__(self, partner: Partner, repository: Repository, clock: Clock) -> None:
        self._partner, self._repository, self._clock = partner, repository, clock
        ledger = repository.ledger
        self._alive = {copy.logical for copy in ledger.copies_at(partner.agreement)}
        self._doomed = {copy.stored: copy for copy in ledger.doomed_at(partner.agreement)}
        self._dropped = repository.index.dropped_packs()
        self._places = asyncio.Semaphore(REBUILD_AT_ONCE)
        self.found = Deleted()

    async def take(self, row: DeletedRow) -> Copy | None:
        """Return the copy, known or read now; None: it can't be read, or the host keeps another one of its pack."""
        copy = self._doomed.get(row.stored)
        if copy is not None and (copy.logical in self._dropped or self._repository.index.has_pack(copy.logical)):
            return copy
        async with self._places:
            return await self._read(PackRow(row.stored, row.size))

    async def _read(self, row: PackRow) -> Copy | None:
        try:
            read = partial(read_directory, self._partner, self._repository, row)
            copy, entries = await retry(read, self._clock)
        except (PeerFault, RefusedError, NewerFormatError) as exc:
            # Without the frames that it went through, which hold what was read: a host may list a million of them.
            self.found.unreadable.append(exc.with_traceback(None))
            return None
        if copy.logical in self._alive:
            return None
        await asyncio.to_thread(self._register, copy, entries)
        return copy

    def _register(self, copy: Copy, entries: Sequence[Entry]) -> None:
        # First the index: a copy that the ledger knows is not read again.
        self._repository.index.register_dropped(copy.logical, entries)
        self._repository.ledger.register_copy(copy)
