"""Which snapshots that are no longer listed could be had back, and which deleted packs they need.

Knows: index and ledger after what hosts hold as deleted was entered (`owner.deleted`). Must not know: sessions, heads.
A snapshot is a blob in a pack: as long as that lies somewhere, all it names can be told, whoever took it off the list.
"""

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from backuppeer.agent.owner.repository import Repository
from backuppeer.backup.amending import ORIGINAL
from backuppeer.backup.browse import find_name
from backuppeer.backup.census import Census
from backuppeer.backup.streams import PackSource
from backuppeer.backup.trees import TreeReader
from backuppeer.errors import IntegrityFault, NotFoundError, UserError
from backuppeer.ids import AgreementId, BlobId, LogicalId, SnapshotId
from backuppeer.repo.blob import BlobKind
from backuppeer.repo.snapshot import Snapshot, decode_known, is_sound

Bodies = dict[SnapshotId, bytes]


@dataclass(slots=True)
class Salvage:
    """What can come back: encoded snapshots, oldest first, and the dropped packs that they need; `needed`: all packs.

    `incomplete`: snapshots of which a part lies nowhere any more.
    """

    bodies: Bodies = field(default_factory=dict)
    packs: dict[LogicalId, None] = field(default_factory=dict)
    needed: set[LogicalId] = field(default_factory=set)
    incomplete: list[SnapshotId] = field(default_factory=list)


def find_unlisted(repository: Repository, source: PackSource) -> dict[SnapshotId, tuple[bytes, Snapshot]]:
    """Return the snapshots that lie in some pack and are not listed, oldest first; those that can't be read left out.

    One that lives on under other tags is the same snapshot, and not among them.
    """
    listed = repository.index.snapshot_names()
    bodies: Bodies = {}
    for blob in repository.index.blobs_of(BlobKind.SNAPSHOT):
        if SnapshotId(blob) not in listed and _lies_somewhere(repository, blob):
            try:
                bodies[SnapshotId(blob)] = repository.read_blob(source, blob)
            except IntegrityFault:
                continue  # erased meanwhile, or spoiled: nothing that could be listed
    known = dict(decode_known((name, body) for name, body in bodies.items() if is_sound(body)))
    alive = dict(decode_known(repository.index.snapshots()))
    renamed = {snapshot.ext.get(ORIGINAL) for snapshot in [*alive.values(), *known.values()]}
    shown = {_first_id(name, snapshot) for name, snapshot in alive.items()}
    left = [(n, s) for n, s in known.items() if bytes(n) not in renamed and _first_id(n, s) not in shown]
    return {name: (bodies[name], snapshot) for name, snapshot in sorted(left, key=lambda pair: pair[1].time_ns)}


def _lies_somewhere(repository: Repository, blob: BlobId) -> bool:
    """Whether a host is known to hold the pack with a blob: its bytes may be in the cache long after that."""
    place = repository.index.find(blob)
    return place is not None and bool(repository.ledger.copies_of(place.pack))


def _first_id(name: SnapshotId, snapshot: Snapshot) -> bytes:
    original = snapshot.ext.get(ORIGINAL)
    return original if isinstance(original, bytes) else bytes(name)


def choose(texts: Sequence[str], found: Mapping[SnapshotId, object], *, is_all: bool, peer: str) -> list[SnapshotId]:
    """Return which snapshots are meant, oldest first; `peer`: what the person calls the host.

    Raises:
        UserError: neither some are named nor all, or both.
        NotFoundError: one that is named is not among `found`.

    """
    if is_all == bool(texts):
        raise UserError("name the snapshots that you want back, or --all", hint="--list shows which there are")
    if is_all:
        return list(found)
    try:
        wanted = {find_name(found, text) for text in texts}
    except NotFoundError as exc:
        raise NotFoundError(
            f"among what can be had back: {exc.message}",
            hint=f"`backup-peer peers undelete {shlex.quote(peer)}` shows it; "
            "`backup-peer snapshots` shows what is listed",
        ) from exc
    return [name for name in found if name in wanted]


def plan_salvage(
    repository: Repository,
    source: PackSource,
    chosen: Iterable[tuple[SnapshotId, bytes, Snapshot]],
    *,
    check: Callable[[int], None],
) -> Salvage:
    """Read all directories of the chosen snapshots, and return what they need; `check` may end it by raising.

    Raises:
        Unavailable: a host that has a part can't be reached.
        LocalError: the disk is full.

    """
    salvage = Salvage()
    trees = TreeReader(repository.keys, repository.index, cache=repository.cache, source=source)
    for name, body, snapshot in chosen:
        with Census(trees, repository.index, check=check) as census:
            try:
                census.add(name, snapshot)
                needed = _find_needed(census)
            except IntegrityFault:
                needed = None
        if needed is None or not all(repository.ledger.copies_of(pack) for pack in needed):
            salvage.incomplete.append(name)
            continue
        salvage.bodies[name] = body
        salvage.needed |= needed
        salvage.packs |= dict.fromkeys(pack for pack in sorted(needed) if not repository.index.has_pack(pack))
    return salvage


def _find_needed(census: Census) -> set[LogicalId] | None:
    """Return the packs with what was counted; None when a blob lies in none."""
    needed: set[LogicalId] = set()
    for page, places in census.places():
        if len(places) < len(page):
            return None
        needed |= {place.pack for place in places.values()}
    return needed


def find_unrevived(
    repository: Repository, agreements: Iterable[AgreementId], packs: Iterable[LogicalId]
) -> tuple[set[LogicalId], set[LogicalId]]:
    """Return the packs that no host keeps as any other: those still held as deleted, and those that are nowhere."""
    ledger = repository.ledger
    alive = {copy.logical for agreement in agreements for copy in ledger.copies_at(agreement)}
    left = {pack for pack in packs if pack not in alive}
    nowhere = {pack for pack in left if not ledger.copies_of(pack)}
    return left - nowhere, nowhere
