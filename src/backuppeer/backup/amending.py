"""`forget` and `tag`: another list of snapshots, without a backup.

Knows: what an amendment does to the list. Must not know: who decided it, hosts, heads. A snapshot is a blob and never
changes: with other tags it is another snapshot, which takes the place of the old one and says where it comes from.
Packs stay as they are: what no snapshot needs any more is for `prune` to find.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

import msgspec

from backuppeer.backup.packer import Packer
from backuppeer.backup.publisher import Published, Publisher
from backuppeer.backup.streams import PackSink
from backuppeer.crypto.keys import RepositoryKeys
from backuppeer.errors import UserError
from backuppeer.ids import LogicalId, SnapshotId
from backuppeer.limits import SNAPSHOT_TAGS, SNAPSHOT_TEXT_CHARS
from backuppeer.repo.blob import BlobKind
from backuppeer.repo.cache import TreeCache
from backuppeer.repo.index import Index
from backuppeer.repo.snapshot import Snapshot, decode_known, encode_snapshot

ORIGINAL: Final = "original"
"""Extension field of a snapshot (docs/format.md): the id under which a backup made it, 32 bytes."""
_LEVEL: Final = 3
Rows = dict[SnapshotId, bytes]
"""Snapshots in order, and their encoded bytes; empty where only the name is known."""


def check_tags(tags: Iterable[str]) -> None:
    """Refuse new tags that could not be told from others when they are shown in a row.

    Raises:
        UserError: one is empty, only white space, too long, or has a comma in it.

    """
    for tag in tags:
        if not tag.strip():
            raise UserError("a tag is empty", hint="a tag is a word, as in `--tag holidays`; was a variable not set?")
        if len(tag) > SNAPSHOT_TEXT_CHARS:
            raise UserError(f"a tag has 1 to {SNAPSHOT_TEXT_CHARS} characters, this one has {len(tag)}")
        if "," in tag:
            raise UserError(
                f"a tag has no comma in it: {tag[:80]!r}",
                hint="several tags are given one by one, as in `--tag home --tag holidays`",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Retagging:
    """What happens to tags: `replace`d all (None = not), then some added, then some removed."""

    replace: tuple[str, ...] | None = None
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()

    def check(self) -> None:
        """Check that it says something, and nothing twice.

        Raises:
            UserError: it does not, or a tag can't be one.

        """
        if self.replace is None and not self.add and not self.remove:
            raise UserError("no tag is named", hint="give --add TAG, --remove TAG or --set TAG")
        if self.replace is not None and (self.add or self.remove):
            raise UserError("--set replaces all tags: it does not go with --add or --remove")
        check_tags((*(self.replace or ()), *self.add))
        if not all(self.remove):  # whatever a snapshot may have got in former times can be taken off
            raise UserError("a tag to remove is empty", hint="`backup-peer snapshots` shows the tags")

    def apply(self, name: SnapshotId, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot with other tags, or just the same one when none changes.

        Raises:
            UserError: more tags than a snapshot may have.

        """
        before = snapshot.tags if self.replace is None else list(self.replace)
        tags = [tag for tag in dict.fromkeys([*before, *self.add]) if tag not in self.remove]
        if tags == snapshot.tags:
            return snapshot
        if len(tags) > SNAPSHOT_TAGS:
            raise UserError(f"snapshot {name.hex()[:8]} would have {len(tags)} tags, {SNAPSHOT_TAGS} is the most")
        return msgspec.structs.replace(snapshot, tags=tags, ext={ORIGINAL: bytes(name), **snapshot.ext})


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    """Which snapshots go, and which become others."""

    forgotten: frozenset[SnapshotId] = frozenset()
    rewritten: Mapping[SnapshotId, Snapshot] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.forgotten or self.rewritten)


@dataclass(frozen=True, slots=True, kw_only=True)
class Amended:
    """An amendment whose blobs are durable, for a head to commit to. `rows`: what the index holds once it stands.

    `renamed`: the new id of each rewritten snapshot, in the order of the list.
    """

    published: Published
    rows: Rows
    renamed: dict[SnapshotId, SnapshotId]


def read_rows(index: Index) -> Rows:
    """Return all snapshots of the index in order, those known by name only with empty bytes."""
    bodies = dict(index.snapshots())
    return {name: bodies.get(name, b"") for name in index.snapshot_names()}


def amend(
    amendment: Amendment,
    sink: PackSink,
    *,
    keys: RepositoryKeys,
    index: Index,
    cache: TreeCache,
    named: AbstractSet[LogicalId] | None = None,
) -> Amended:
    """Store the amended list; the index still holds the old one when this returns. `named`: as for `Publisher`.

    Raises:
        BackupPeerError: the sink can't take the pack.

    """
    rows: Rows = {}
    renamed: dict[SnapshotId, SnapshotId] = {}
    for name, body in read_rows(index).items():
        if name in amendment.forgotten:
            continue
        if name not in amendment.rewritten:
            rows[name] = body
            continue
        fresh = encode_snapshot(amendment.rewritten[name])
        renamed[name] = SnapshotId(keys.blob_id(BlobKind.SNAPSHOT, fresh))
        rows[renamed[name]] = fresh
    publisher = Publisher(keys, index, cache=cache, level=_LEVEL, named=named)
    bodies = [rows[name] for name in dict.fromkeys(renamed.values())]
    published = publisher.publish(Packer(index, sink), list(rows), bodies)
    return Amended(published=published, rows=rows, renamed=renamed)


def relist(
    chosen: Mapping[SnapshotId, bytes],
    again: Sequence[LogicalId],
    sink: PackSink,
    *,
    keys: RepositoryKeys,
    index: Index,
    cache: TreeCache,
) -> Amended:
    """Store the list with snapshots that were forgotten, each in its place of time; else as `amend`.

    `chosen`: their encoded bytes, which lie in packs of the index. `again`: the dropped packs that they need.

    Raises:
        BackupPeerError: the sink can't take the pack.

    """
    rows = {**read_rows(index), **chosen}
    times = {name: snapshot.time_ns for name, snapshot in decode_known(pair for pair in rows.items() if pair[1])}
    # Of those known by name only the time can't be read: they stay where they are, before the next one that has one.
    known = iter(sorted(times, key=lambda name: times[name]))
    order = [name if name not in times else next(known) for name in rows]
    publisher = Publisher(keys, index, cache=cache, level=_LEVEL)
    published = publisher.publish(Packer(index, sink), order, [], again=again)
    return Amended(published=published, rows={name: rows[name] for name in order}, renamed={})
