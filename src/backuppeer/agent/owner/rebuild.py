"""The index made anew from what a host holds: directories only, each verified, then checked against the head.

Knows: pages of packs, tails, directories, inventory. Must not know: where the host was found, the words. What a host
holds back shows here: the head commits to all live packs and snapshots (DESIGN 4).
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog

from backuppeer.agent.brake import brake_of_job
from backuppeer.agent.owner.fetch import Fetch, check_range, read_range
from backuppeer.agent.owner.repository import Repository
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.peers.retry import retry
from backuppeer.clock import Clock
from backuppeer.errors import (
    AuthenticationFault,
    BackupPeerError,
    IntegrityFault,
    NewerFormatError,
    PeerFault,
    PeerUnreachable,
    ProtocolViolation,
    RefusedError,
    Unavailable,
)
from backuppeer.ids import BlobId, SnapshotId, StoredId
from backuppeer.limits import (
    LEAF_BYTES,
    PACK_LIST_PAGE,
    PACKS_LISTED,
    REBUILD_AT_ONCE,
    REBUILD_BATCH,
    REBUILD_ENTRIES,
    REFRESH_PACK_S,
    REFRESH_ROW_S,
    REFRESH_S,
    TAIL_READ_BYTES,
)
from backuppeer.proof.statements import Head
from backuppeer.repo.blob import BlobKind
from backuppeer.repo.head import Inventory, check_inventory, decode_pack_list, decode_root
from backuppeer.repo.pack import Entry, NeedTail, open_directory
from backuppeer.repo.snapshot import decode_known, is_sound
from backuppeer.shares.ledger import Copy
from backuppeer.wire.messages import ListPacks, PackList, PackRow

_log = structlog.get_logger()
OnPack = Callable[[int], None]


@dataclass(slots=True)
class Found:
    """What a host listed, what it had acknowledged before it was asked, and which packs could not be opened."""

    stored: set[StoredId] = field(default_factory=set)
    expected: set[StoredId] = field(default_factory=set)
    failed: int = 0
    failure: BackupPeerError | None = None
    """The first one. Of others nothing is kept: a host may list a million packs that it has not."""
    read_packs: int = 0
    read_bytes: int = 0
    """What was read of the ends of packs, where their directories are."""
    read_entries: int = 0
    is_conclusive: bool = True
    """Whether every pack listed is known now, or wrong beyond doubt; what was merely refused may come later."""

    @property
    def lost(self) -> set[StoredId]:
        """Return what it had acknowledged and lists no more."""
        return self.expected - self.stored

    def note(self, error: BackupPeerError) -> None:
        """Count a pack that could not be opened."""
        self.failed += 1
        # Without the frames that it went through: they hold what was read of the pack.
        self.failure = self.failure or error.with_traceback(None)
        self.is_conclusive &= isinstance(error, IntegrityFault | AuthenticationFault)


async def rebuild_from(partner: Partner, repository: Repository, on_pack: OnPack, clock: Clock) -> Found:
    """Register every pack that `partner` holds and the ledger lacks; one bad pack does not hide the others.

    Raises:
        ProtocolViolation: its list is out of order.
        Unavailable: it went away, or takes longer than what it tells is worth.

    """
    found, began_s = Found(), clock.monotonic_s()
    try:
        async with asyncio.timeout(REFRESH_S) as patience:
            await _read_all(partner, repository, on_pack, clock, found=found, patience=patience)
    except TimeoutError as exc:
        raise PeerUnreachable("it tells too slowly what it holds") from exc
    if found.read_packs:
        seconds = round(clock.monotonic_s() - began_s, 3)
        read = {"packs": found.read_packs, "entries": found.read_entries, "bytes": found.read_bytes}
        _log.info("directories read", **read, seconds=seconds)
    return found


async def _read_all(
    partner: Partner, repository: Repository, on_pack: OnPack, clock: Clock, *, found: Found, patience: asyncio.Timeout
) -> None:
    known = _find_known(partner, repository, found)
    places = asyncio.Semaphore(REBUILD_AT_ONCE)

    shelf = _Shelf(repository)

    async def take(row: PackRow) -> None:
        async with places:
            try:
                copy, entries = await retry(partial(read_directory, partner, repository, row), clock)
            except (PeerFault, RefusedError, NewerFormatError) as exc:
                found.note(exc)
                return
            await shelf.add(copy, entries)
        found.read_packs += 1
        found.read_entries += len(entries)
        found.read_bytes += min(row.size, TAIL_READ_BYTES)
        earn(patience, REFRESH_PACK_S)

    async for rows in list_packs(partner, clock):
        wanted = [row for row in rows if row.stored not in known]
        earn(patience, REFRESH_ROW_S * (len(rows) - len(wanted)))
        for at in range(0, len(wanted), REBUILD_BATCH):
            try:
                reading = (take(row) for row in wanted[at : at + REBUILD_BATCH])
                done = await asyncio.gather(*reading, return_exceptions=True)
            finally:
                await shelf.empty()
            for outcome in done:
                if isinstance(outcome, BaseException):
                    raise outcome
        found.stored.update(row.stored for row in rows)
        on_pack(len(found.stored))


class _Shelf:
    """Directories that were read and verified, on their way into the index and the ledger, many at once.

    A transaction for each pack would write the same pages of the index again and again, and wait for the disk.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._lock = asyncio.Lock()
        self._read: list[tuple[Copy, Sequence[Entry]]] = []
        self._entries = 0

    async def add(self, copy: Copy, entries: Sequence[Entry]) -> None:
        """Take a directory; whoever fills the shelf empties it, and others wait if it is full again meanwhile."""
        self._read.append((copy, entries))
        self._entries += len(entries)
        if self._entries >= REBUILD_ENTRIES:
            await self.empty()

    async def empty(self) -> None:
        """Register what lies here: the index first, as a pack that only the index knows is read again."""
        async with self._lock:
            read, self._read, self._entries = self._read, [], 0
            if read:
                await asyncio.to_thread(self._register, read)

    def _register(self, read: Sequence[tuple[Copy, Sequence[Entry]]]) -> None:
        self._repository.index.register_found([(copy.logical, entries) for copy, entries in read])
        self._repository.ledger.register_copies([copy for copy, _ in read])


def _find_known(partner: Partner, repository: Repository, found: Found) -> set[StoredId]:
    """Return the stored ids whose directories need not be read; `found` learns which are expected."""
    superseded = set(repository.ledger.spoiled_at(partner.agreement))
    known: set[StoredId] = set()
    for copy in repository.ledger.copies_at(partner.agreement):
        # Before the first page: a backup beside this may store packs whose place in the list has been passed.
        found.expected.add(copy.stored)
        superseded.discard(copy.stored)
        if repository.index.has_read(copy.logical):
            known.add(copy.stored)
    doomed = {copy.stored for copy in repository.ledger.doomed_at(partner.agreement)}
    # A copy that came back wrong and was replaced lies there still: its directory, if whole, must not bring it back.
    return known | doomed | superseded


def earn(patience: asyncio.Timeout, more_s: float) -> None:
    """Give a host more time for what it told; only what was verified counts, or lies would buy time."""
    end_s = patience.when()
    if end_s is not None and not patience.expired():
        patience.reschedule(end_s + more_s)


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


async def read_directory(partner: Partner, repository: Repository, row: PackRow) -> tuple[Copy, Sequence[Entry]]:
    """Read the tail of one pack, verify it, and return what its directory says.

    Raises:
        PeerFault, RefusedError, NewerFormatError: it is not what it should be, or not given.
        Unavailable: the host went away.

    """
    start = max(0, row.size - TAIL_READ_BYTES)
    for _ in range(2):
        first = start // LEAF_BYTES
        into = memoryview(bytearray(row.size - first * LEAF_BYTES))
        await brake_of_job().held()
        data, path = await read_range(partner, row.stored, first, into)
        check_range(row.stored, row.size, first, data, path)  # 128 KiB: less than a change of threads
        found = open_directory(repository.keys_for, data, row.size)
        if not isinstance(found, NeedTail):
            copy = Copy(found.logical, partner.agreement, row.stored, row.size, bytes(data[-64:]))
            return copy, found.entries
        start = found.offset
    raise IntegrityFault(f"pack {row.stored.hex()[:8]} has no directory where its footer says")


@dataclass(slots=True)
class Loaded:
    """How reading a head went: whether its lists could be read whole, whether a host with something was away."""

    is_list_read: bool = True
    is_away: bool = False

    def read(self, repository: Repository, source: Fetch, blob: BlobId) -> bytes | None:
        """Return a blob's plaintext; None when it can't be had."""
        try:
            return repository.read_blob(source, blob)
        except Unavailable:
            self.is_away = True
        except IntegrityFault as exc:
            _log.warning("missing", blob=blob.hex()[:8], reason=exc.message)
        return None

    def read_snapshot(self, repository: Repository, source: Fetch, name: SnapshotId) -> bytes | None:
        """Return a snapshot's plaintext; None when it can't be had; empty: what is listed as that is none."""
        body = self.read(repository, source, BlobId(name))
        if body is None or is_sound(body):
            return body
        _log.warning("what is listed as a snapshot is none", snapshot=name.hex()[:8])
        return b""


def load_head(repository: Repository, head: Head, source: Fetch) -> Loaded:
    """Bring the index in line with a head: its snapshots and packs, those that can't be read by name only.

    Each is read on its own: one that is lost hides no other. Without the list itself, the snapshots that the packs at
    hand hold are taken; no head names them, but each is sealed by our keys.

    Raises:
        IntegrityFault: the list was read and is not the head's.

    """
    loaded = Loaded()
    listed = load_list(repository, head, source, loaded)
    names = listed.snapshots if listed else _find_snapshots(repository, source, loaded)
    known = dict(repository.index.snapshots())
    bodies = {name: known.get(name) or loaded.read_snapshot(repository, source, name) or b"" for name in names}
    repository.index.set_snapshots(bodies.items())
    for pack in listed.packs if listed else ():
        if not repository.index.has_read(pack):
            # Before the index knows its name: a copy that the ledger knows of such a pack is never opened again, and
            # its blobs would be in no known pack for ever. Whoever lists it tells both.
            repository.ledger.forget_copies(repository.ledger.copies_of(pack))
    if listed and loaded.is_list_read:
        repository.index.turnover.follow(listed.packs)
        return loaded
    # Known by name only: the next head must still commit to them, since a host that is away may hold them.
    unknown = [pack for pack in (listed.packs if listed else ()) if not repository.index.has_pack(pack)]
    repository.index.register_found([(pack, ()) for pack in unknown])
    return loaded


def load_list(repository: Repository, head: Head, source: Fetch, loaded: Loaded) -> Inventory | None:
    """Return the inventory that a head commits to, as much of it as can be read; None without its root."""
    root = loaded.read(repository, source, head.index)
    if root is None:
        loaded.is_list_read = False
        return None
    snapshots, pieces = decode_root(root)
    lists = [loaded.read(repository, source, piece) for piece in pieces]
    packs = tuple(pack for piece in lists if piece is not None for pack in decode_pack_list(piece))
    if None in lists:
        loaded.is_list_read = False
    else:
        check_inventory(head, snapshots, packs)
    return Inventory(snapshots, packs)


def _find_snapshots(repository: Repository, source: Fetch, loaded: Loaded) -> list[SnapshotId]:
    """Return the snapshots known here or in any pack at hand, in order of time; those that can't be read come last."""
    bodies = dict(repository.index.snapshots())
    for blob in repository.index.blobs_of(BlobKind.SNAPSHOT):
        name = SnapshotId(blob)
        bodies[name] = bodies.get(name) or loaded.read_snapshot(repository, source, name) or b""
    times = {name: snapshot.time_ns for name, snapshot in decode_known((n, body) for n, body in bodies.items() if body)}
    return sorted(bodies, key=lambda name: times.get(name, math.inf))
