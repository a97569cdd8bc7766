"""What this machine keeps of its repository, looked at for damage: index, tree cache, ledger.

Knows: the three databases, what their rows must agree with. Must not know: sessions; what is to be read from hosts
comes through a source. Nothing is changed but the note that a pack's rows were compared.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from backuppeer.agent.owner.repository import Repository
from backuppeer.backup.streams import PackSource
from backuppeer.errors import DamagedStateError, IntegrityFault, Unavailable
from backuppeer.ids import BlobId, LogicalId
from backuppeer.proof.statements import Head
from backuppeer.repo.blob import BlobKind
from backuppeer.repo.head import decode_root, load_inventory
from backuppeer.repo.index import Location
from backuppeer.repo.layout import Directory
from backuppeer.repo.tally import Tally, tally_packs

_CACHED: tuple[BlobKind, ...] = (BlobKind.TREE, BlobKind.SNAPSHOT, BlobKind.INDEX)


@dataclass(slots=True)
class Faults:
    """(about, text) of what is wrong here. `is_readable`: index and ledger can be used at all."""

    found: list[tuple[str, str]] = field(default_factory=list)
    is_readable: bool = True


def examine_databases(repository: Repository, check: Callable[[], None]) -> Faults:
    """Look at all of the databases; `check` is called for each, and more often, and may end it by raising.

    Raises:
        LocalError: the disk fails.

    """
    # Told once: what was begun anew lacks what it should hold, or (the cache) fills itself.
    faults = Faults(found=list(repository.notes))
    repository.notes.clear()
    for about, find in (("index", repository.index.find_fault), ("ledger", repository.ledger.find_fault)):
        check()
        if fault := find():
            faults.found.append((about, f"the {about} on this machine is damaged: {fault}"))
            faults.is_readable = False
    check()
    if fault := repository.cache.find_fault():
        faults.found.append(("trees", f"the tree cache on this machine is damaged: {fault}"))
    elif wrong := sum(1 for _ in find_wrong_bodies(repository, check)):
        faults.found.append(("trees", f"the tree cache on this machine has wrong entries: {wrong}"))
    if faults.is_readable:
        faults.found += [("index", text) for text in _find_wrong_snapshots(repository)]
    return faults


def find_wrong_bodies(repository: Repository, check: Callable[[], None] = lambda: None) -> Iterator[BlobId]:
    """Yield the entries of the tree cache that are not what their ids name.

    Raises:
        DamagedStateError: the file can't be read.

    """
    for blob, body in repository.cache.bodies():
        check()
        if all(repository.keys.blob_id(kind, body) != blob for kind in _CACHED):
            yield blob


def _find_wrong_snapshots(repository: Repository) -> Iterator[str]:
    for name, body in repository.index.snapshots():
        if bytes(repository.keys.blob_id(BlobKind.SNAPSHOT, body)) != bytes(name):
            yield f"the index holds other bytes for snapshot {name.hex()[:8]} than its id names"


def compare_with_head(repository: Repository, head: Head, source: PackSource) -> list[str]:
    """Return what the index lacks of the newest head, in sentences.

    Raises:
        Unavailable: the list lies only with hosts that can't be reached.
        DamagedStateError: the index can't be read.

    """
    try:
        inventory = load_inventory(head.index, partial(repository.read_blob, source))
    except IntegrityFault as exc:
        return [f"the index does not know what head {head.number} consists of: {exc.message}"]
    names = repository.index.snapshot_names()
    lacking = sum(not repository.index.has_pack(pack) for pack in inventory.packs)
    if lacking and lacking == len(inventory.packs):
        # One sentence: that its list of snapshots differs, too, tells nobody more.
        return [f"the index of this machine is lost: it knows none of the {lacking} packs of head {head.number}"]
    faults = []
    if lacking:
        faults.append(f"the index lacks {lacking} of the {len(inventory.packs)} packs that head {head.number} names")
    if set(names) != set(inventory.snapshots):
        faults.append(f"the index has another list of snapshots than head {head.number}")
    elif unread := sum(not is_here for is_here in names.values()):
        faults.append(f"the index knows snapshots by their names only: {unread}")
    return faults


def blobs_of_list(repository: Repository, head: Head, source: PackSource) -> list[BlobId]:
    """Return the blobs that the list of a head consists of, as far as it can be read."""
    try:
        _, pieces = decode_root(repository.read_blob(source, head.index))
    except (IntegrityFault, Unavailable):
        return []
    return [head.index, *pieces]


def find_uncompared(repository: Repository, check: Callable[[], None]) -> list[tuple[LogicalId, Tally]]:
    """Return the packs whose rows, as they are now, were not compared with the pack's directory yet."""
    compared = {pack: Tally(blobs, mark) for pack, blobs, mark in repository.ledger.compared()}
    tallies = tally_packs(_watched(repository.index.locations(), check))
    return [
        (pack, tallies.get(pack, Tally(0, 0)))
        for pack in repository.index.packs()
        if compared.get(pack) != tallies.get(pack, Tally(0, 0))
    ]


def _watched(rows: Iterator[Location], check: Callable[[], None]) -> Iterator[Location]:
    for number, row in enumerate(rows):
        if number % 4096 == 0:
            check()
        yield row


def compare_pack(repository: Repository, directory: Directory, tally: Tally) -> str:
    """Return what is wrong with a pack's rows, "" for nothing, which is noted.

    Raises:
        DamagedStateError: the index can't be read.

    """
    entries = set(directory.entries)
    found = repository.index.find_many(entry.blob for entry in entries)
    missing = {entry.blob for entry in entries} - found.keys()
    here = [place for place in found.values() if place.pack == directory.logical]
    wrong = sum(place.entry not in entries for place in here)
    if missing or wrong or len(here) != tally.blobs:
        return f"{len(missing)} missing, {wrong} wrong, {max(0, tally.blobs - len(here))} that are not in it"
    repository.ledger.note_compared(directory.logical, *tally)
    return ""


def read_faults(examine: Callable[[], list[str]]) -> list[str]:
    """Return the faults that `examine` finds, or what keeps it from looking."""
    try:
        return examine()
    except DamagedStateError as exc:
        return [exc.message]
