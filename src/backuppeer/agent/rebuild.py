"""The index made anew from what a host holds: directories only, each verified, then checked against the head.

Knows: pages of packs, tails, directories, inventory. Must not know: where the host was found, the words. What a host
holds back shows here: the head commits to all live packs and snapshots (DESIGN 4).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from backuppeer.agent.fetch import Fetch, check_range, read_range
from backuppeer.agent.partners import Partner
from backuppeer.agent.repository import Repository
from backuppeer.agent.retry import retry
from backuppeer.clock import Clock
from backuppeer.errors import BackupPeerError, IntegrityFault, PeerFault, ProtocolViolation, RefusedError
from backuppeer.ids import BlobId, StoredId
from backuppeer.limits import LEAF_BYTES, PACK_LIST_PAGE, PACKS_LISTED, REBUILD_AT_ONCE, TAIL_READ_BYTES
from backuppeer.proof.statements import Head
from backuppeer.repo.head import Inventory, check_inventory, load_inventory
from backuppeer.repo.pack import Entry, NeedTail, open_directory
from backuppeer.shares.ledger import Copy
from backuppeer.wire.messages import ListPacks, PackList, PackRow

OnPack = Callable[[int], None]


@dataclass(slots=True)
class Found:
    """What a host listed, and which of its packs could not be opened."""

    stored: set[StoredId] = field(default_factory=set)
    failures: list[BackupPeerError] = field(default_factory=list)


async def rebuild_from(partner: Partner, repository: Repository, on_pack: OnPack, clock: Clock) -> Found:
    """Register every pack that `partner` holds and the ledger lacks; one bad pack does not hide the others.

    Raises:
        ProtocolViolation: its list is out of order.
        Unavailable: it went away.

    """
    copies = repository.ledger.copies_at(partner.agreement)
    known = {copy.stored for copy in copies if repository.index.has_pack(copy.logical)}
    found = Found()
    places = asyncio.Semaphore(REBUILD_AT_ONCE)

    async def take(row: PackRow) -> None:
        async with places:
            try:
                await retry(partial(_register, partner, repository, row), clock)
            except (PeerFault, RefusedError) as exc:
                found.failures.append(exc)

    async for rows in list_packs(partner, clock):
        wanted = [row for row in rows if row.stored not in known]
        done = await asyncio.gather(*(take(row) for row in wanted), return_exceptions=True)
        for outcome in done:
            if isinstance(outcome, BaseException):
                raise outcome
        found.stored.update(row.stored for row in rows)
        on_pack(len(found.stored))
    return found


async def list_packs(partner: Partner, clock: Clock) -> AsyncIterator[tuple[PackRow, ...]]:
    """Yield the pages of packs that a host says it holds.

    Raises:
        ProtocolViolation: the pages don't ascend, or don't end.

    """
    after, more, listed = b"", True, 0
    while more:
        page = await retry(partial(_list_page, partner, after), clock)
        ids = [row.stored for row in page.packs]
        if ids != sorted(set(ids)) or (ids and ids[0] <= after):
            raise ProtocolViolation("the host's list of packs is out of order")
        listed += len(ids)
        if listed > PACKS_LISTED:
            raise ProtocolViolation(f"the host lists more than {PACKS_LISTED} packs")
        yield page.packs
        more = page.more and bool(ids)
        after = ids[-1] if ids else after


async def _list_page(partner: Partner, after: bytes) -> PackList:
    session = await partner.session()
    question = ListPacks(agreement=partner.agreement, after=after, limit=PACK_LIST_PAGE)
    async with session.request(question) as channel:
        return await channel.receive(PackList)


async def _register(partner: Partner, repository: Repository, row: PackRow) -> None:
    """Read the tail of one pack, open its directory, and write it into index and ledger."""
    start = max(0, row.size - TAIL_READ_BYTES)
    for _ in range(2):
        first = start // LEAF_BYTES
        leaves = -(-row.size // LEAF_BYTES) - first
        data, path = await read_range(partner, row.stored, first, leaves)
        await asyncio.to_thread(check_range, row.stored, row.size, first, data, path)
        found = open_directory(repository.keys_for, data, row.size)
        if not isinstance(found, NeedTail):
            copy = Copy(found.logical, partner.agreement, row.stored, row.size, bytes(data[-64:]))
            await asyncio.to_thread(_write, repository, copy, found.entries)
            return
        start = found.offset
    raise IntegrityFault(f"pack {row.stored.hex()[:8]} has no directory where its footer says")


def _write(repository: Repository, copy: Copy, entries: Sequence[Entry]) -> None:
    repository.index.register(copy.logical, entries)
    repository.ledger.register_copy(copy)


def load_head(repository: Repository, head: Head, source: Fetch) -> Inventory:
    """Read the inventory that a head commits to, check it whole, and register its snapshots.

    Raises:
        IntegrityFault: the inventory is not the head's, or live packs are nowhere to be found.

    """
    inventory = load_inventory(head.index, lambda blob: repository.read_blob(source, blob))
    check_inventory(head, inventory.snapshots, inventory.packs)
    missing = [pack for pack in inventory.packs if not repository.index.has_pack(pack)]
    known = dict(repository.index.snapshots())
    for snapshot in inventory.snapshots:
        if snapshot not in known:
            repository.index.add_snapshot(snapshot, repository.read_blob(source, BlobId(snapshot)))
    for snapshot in known.keys() - set(inventory.snapshots):
        repository.index.remove_snapshot(snapshot)
    for pack in missing:
        # Known by name only: the next head must still commit to it, since a host that is away may hold it.
        repository.index.register(pack, ())
    if missing:
        raise IntegrityFault(
            f"{len(missing)} of {len(inventory.packs)} packs of head {head.number} can't be had from the hosts asked",
            hint="ask further hosts with --peer; what is there can still be restored",
        )
    return inventory
