"""What the newest head names and no snapshot needs any more, counted where it matters (ADR 55).

Knows: the census of snapshots. Must not know: hosts, what follows. Counting reads every folder of every snapshot, from
the cache as a rule: it is done when a host lacks something that might be waste, and once for each head.
"""

from collections.abc import Iterable
from contextlib import suppress

from backuppeer.agent.owner.owed import Owed
from backuppeer.agent.owner.repository import Repository
from backuppeer.backup.browse import list_snapshots
from backuppeer.backup.census import Census
from backuppeer.backup.streams import PackSource
from backuppeer.backup.trees import TreeReader
from backuppeer.errors import IntegrityFault, Unavailable
from backuppeer.ids import AgreementId, LogicalId, SnapshotId
from backuppeer.repo.snapshot import Snapshot


def learn_waste(repository: Repository, owed: Owed, source: PackSource, agreements: Iterable[AgreementId]) -> None:
    """Note what is waste of the newest head, if that is not known yet and one of these hosts lacks something of it.

    What can't be told counts as needed.
    """
    head, epoch = owed.head(), repository.index.turnover.epoch()
    if not head or owed.waste() is not None or not any(owed.lacking_at(agreement) for agreement in agreements):
        return
    named = set(repository.index.turnover.named())
    with suppress(IntegrityFault, Unavailable):
        needed = find_needed(repository, source) | owed.all_lists(source)
        # Where something is needed of a pack that nobody is owed, what the head names of it is no waste.
        if needed <= named:
            owed.note_waste(head, epoch, named - needed)


def follow_waste(
    repository: Repository,
    owed: Owed,
    source: PackSource,
    *,
    before: frozenset[LogicalId] | None,
    epoch: bytes,
    added: tuple[SnapshotId, Snapshot],
) -> None:
    """Note what is still waste of a head that adds one snapshot to the one before.

    `before`: what was waste of that. `epoch`: of the index, before that was asked.
    """
    if before is None:
        return
    head = owed.head()
    with suppress(IntegrityFault, Unavailable):
        if before:
            before -= find_needed(repository, source, [added]) | owed.all_lists(source)
        owed.note_waste(head, epoch, before)


def find_needed(
    repository: Repository, source: PackSource, snapshots: Iterable[tuple[SnapshotId, Snapshot]] | None = None
) -> set[LogicalId]:
    """Return the packs that snapshots need, or those that all of the index do.

    Raises:
        IntegrityFault: a snapshot, a folder or a part of a file is in no known pack, so it may lie in any other.
        Unavailable: nobody who has it can be reached.
        LocalError: the disk is full.

    """
    trees = TreeReader(repository.keys, repository.index, cache=repository.cache, source=source)
    with Census(trees, repository.index) as census:
        for name, snapshot in _list_all(repository) if snapshots is None else snapshots:
            census.add(name, snapshot)
        return needed_of(census)


def needed_of(census: Census) -> set[LogicalId]:
    """Return the packs that hold what a census counted.

    Raises:
        IntegrityFault: a part of it is in no known pack.

    """
    needed: set[LogicalId] = set()
    for page, places in census.places():
        if len(places) < len(page):
            raise IntegrityFault("a part of your snapshots is in no known pack")
        needed.update(place.pack for place in places.values())
    return needed


def _list_all(repository: Repository) -> list[tuple[SnapshotId, Snapshot]]:
    if not all(repository.index.snapshot_names().values()):
        raise IntegrityFault("a snapshot is known by name only")
    return list_snapshots(repository.index)
