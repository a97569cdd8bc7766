"""Trees and snapshots whose pack is lost, sent again from what is still here: index and tree cache.

Knows: concealed packs, the cache. Must not know: files, hosts. The archiver sends anew what the files of today still
hold; directories of older snapshots, and the snapshots themselves, exist nowhere else any more (ADR 0010, 0013).
"""

from collections.abc import Iterator

from backuppeer.agent.owner.repository import Repository
from backuppeer.backup.streams import PackSink
from backuppeer.ids import BlobId
from backuppeer.repo.blob import BlobKind, Compressor
from backuppeer.repo.pack import PackDraft


def resend_metadata(repository: Repository, sink: PackSink, *, level: int) -> int:
    """Hand to `sink` the trees and snapshots of concealed packs that are still here; return how many those are.

    Returns when they are durable. Called from the archiver's thread, before it runs.

    Raises:
        BackupPeerError: the sink can't take them.

    """
    draft, compressor, count = PackDraft(), Compressor(level), 0
    for kind, plain in _find_bodies(repository):
        blob = compressor.pack_blob(repository.keys, kind, plain)
        if not draft.add(blob):
            sink.store(draft.close())
            draft = PackDraft()
            draft.add(blob)  # a blob is at most 4 MiB, an empty pack takes it
        count += 1
    if count:
        sink.store(draft.close())
        sink.flush()
    return count


def _find_bodies(repository: Repository) -> Iterator[tuple[BlobKind, bytes]]:
    for blob in repository.index.blobs_concealed(BlobKind.TREE):
        plain = repository.cache.get(blob)
        if plain is not None:
            yield BlobKind.TREE, plain
    snapshots = dict(repository.index.snapshots())
    there = repository.index.known(BlobId(snapshot) for snapshot in snapshots)
    yield from ((BlobKind.SNAPSHOT, body) for snapshot, body in snapshots.items() if BlobId(snapshot) not in there)
