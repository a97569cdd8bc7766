"""The engine's part of a prune: what is needed, moved to new packs, and proved to be in none that goes.

Knows: the census of all snapshots, index, packs. Must not know: hosts, heads, when packs are dropped. A blob is moved
only after it was opened and found to be what its id says, so damage never spreads; a pack with a blob that can't be
had stays as it is.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from backuppeer.backup.census import Census
from backuppeer.backup.fetching import read_pack
from backuppeer.backup.packer import Packer
from backuppeer.backup.prune_plan import PackUse, PruneLimits, PrunePlan, plan_prune
from backuppeer.backup.streams import PackSource
from backuppeer.crypto.keys import RepositoryKeys
from backuppeer.errors import BackupPeerError, IntegrityFault, LocalError
from backuppeer.ids import LogicalId
from backuppeer.repo.blob import Blob, BlobKind, Compressor
from backuppeer.repo.index import Index

Sizes = Callable[[Collection[LogicalId]], Mapping[LogicalId, int]]
"""Length of one copy of each of these packs; those of which no copy is known are left out."""


def weigh_packs(census: Census, index: Index, sizes: Sizes) -> list[PackUse]:
    """Return how much of each pack the snapshots of a census need; unfinished work is left out, and so stays.

    Raises:
        IntegrityFault: something that a snapshot needs is in no pack that is known.

    """
    live: dict[LogicalId, int] = {}
    missing = 0
    contents = dict(index.weigh_packs())
    for page, places in census.places():
        missing += len(page) - len(places)
        for place in places.values():
            if place.pack not in contents:
                missing += 1
            live[place.pack] = live.get(place.pack, 0) + place.sealed_bytes
    if missing:
        raise IntegrityFault(
            f"{missing:,} parts of your snapshots are in no known pack, so nothing was pruned",
            hint="`backup-peer backup` sends again what your files still have; else `backup-peer forget` the snapshots "
            "that `backup-peer stats SNAPSHOT` finds incomplete",
        )
    fresh = index.turnover.fresh()
    known = {pack: bytes_ for pack, bytes_ in contents.items() if pack not in fresh or pack in live}
    lengths = sizes(known)
    return [PackUse(pack, lengths.get(pack, content), content, live.get(pack, 0)) for pack, content in known.items()]


def plan_packs(uses: Sequence[PackUse], limits: PruneLimits, lists: frozenset[LogicalId] | set[LogicalId]) -> PrunePlan:
    """Return what to do; `lists`: the packs with the list of the newest head, which the list of a prune replaces.

    When there is nothing else to do they stay: else each prune would replace the list of the one before.
    """
    plan = plan_prune(uses, limits)
    if not plan.victims or not lists.issuperset(plan.victims):
        return plan
    kept = [replace(use, live_bytes=use.content_bytes) if use.pack in lists else use for use in uses]
    return plan_prune(kept, limits)


def repack(
    census: Census,
    packs: Collection[LogicalId],
    packer: Packer,
    *,
    keys: RepositoryKeys,
    source: PackSource,
    level: int,
    on_pack: Callable[[int, int], None],
) -> dict[LogicalId, BackupPeerError]:
    """Hand what the census needs of `packs` to `packer`, and return the packs that must stay, and why.

    `on_pack`: told after each pack how many are done, and how many bytes were moved.

    Raises:
        BackupPeerError: no host takes packs any more, or the job was cancelled.

    """
    failed: dict[LogicalId, BackupPeerError] = {}
    compressor = Compressor(level)
    moved = 0
    for done, pack in enumerate(packs, 1):
        blobs: list[Blob] = []
        for outcome in _read(census, pack, keys, source):
            if isinstance(outcome, BackupPeerError):
                failed[pack] = outcome
                break
            kind, plain = outcome
            blobs.append(compressor.pack_blob(keys, kind, plain))
        else:
            packer.add(blobs)
            moved += sum(len(blob.payload) for blob in blobs)
        on_pack(done, moved)
    return failed


def _read(
    census: Census, pack: LogicalId, keys: RepositoryKeys, source: PackSource
) -> Iterator[tuple[BlobKind, bytes] | BackupPeerError]:
    places = census.places_in(pack)
    if not places:
        return
    for place, outcome in read_pack(keys, source, pack=pack, places=places):
        yield outcome if isinstance(outcome, BackupPeerError) else (place.kind, outcome)


def check_moved(census: Census, victims: frozenset[LogicalId] | set[LogicalId]) -> None:
    """Check that nothing a snapshot needs is found only in packs that are about to be dropped.

    Raises:
        LocalError: something is. Nothing may be dropped then.

    """
    for _, places in census.places():
        for place in places.values():
            if place.pack in victims:
                raise LocalError(
                    f"blob {place.blob.hex()[:16]} is still in pack {place.pack.hex()[:8]}, which would be dropped",
                    hint="nothing was pruned; please report this",
                )
