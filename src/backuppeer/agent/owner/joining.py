"""What an earlier writer left at a host that the next one could not hear: joined to the list before anything is lost.

Knows: the index, the list that a stray head names (lineage). Must not know: sessions, who is heard. A host keeps one
head: the next one that it gets wipes out the only list of what the earlier writer left there. So what that list names
and ours does not enters our index first, and the head that the host gets next names it (ADR 35). Killed before that
head stands, the index follows the newest head again, the host still has the stray one, and all is done anew.
"""

import shlex
from typing import NamedTuple

import msgspec

from backuppeer.agent.owner.fetch import Fetch
from backuppeer.agent.owner.rebuild import Loaded, load_list
from backuppeer.agent.owner.repository import Repository
from backuppeer.backup.amending import ORIGINAL, Rows, read_rows
from backuppeer.errors import LocalError, PeerUnreachable
from backuppeer.ids import SnapshotId
from backuppeer.limits import SNAPSHOT_TAGS
from backuppeer.proof.statements import Head
from backuppeer.repo.blob import BlobKind
from backuppeer.repo.snapshot import REPLACED, decode_known, decode_snapshot, encode_snapshot, find_newer


class Joined(NamedTuple):
    """How many snapshots were unknown here; is_doubtful: they are of an identity that this home was before."""

    snapshots: int
    is_doubtful: bool

    def describe(self, name: str) -> str:
        """Return what to tell of a host that is called so."""
        what = f"{self.snapshots} backup{'' if self.snapshots == 1 else 's'}"
        if not self.is_doubtful or not self.snapshots:
            return f"{name} kept {what} of another machine of yours, unknown here: joined to the list"
        typed = shlex.quote(REPLACED)
        return (
            f"WARNING: {name} kept {what} made as the identity that you replaced, unknown here: perhaps by the thief. "
            f"In the list with the tag {REPLACED}, and never taken for `latest`. `backup-peer snapshots --tag "
            f"{typed}` shows what is there; if it is yours: `backup-peer tag ID --remove {typed}`, if not: "
            "`backup-peer forget ID`"
        )


def join_stray(repository: Repository, head: Head, source: Fetch) -> Joined:
    """Add what a stray head names to the index, in a thread; return what that was.

    A list sealed under keys of before a succession was made as an identity of before: its dates prove nothing. What
    is new in it is tagged REPLACED, and stored so with the next head.

    To be called once the host's packs are registered, and the index is that of the newest head. Forgotten snapshots
    may come back so: better than one that was never seen here and is gone.

    Raises:
        IntegrityFault: the list was read and is not the head's.
        PeerUnreachable: it can't be read now; its host must not get a newer head.

    """
    loaded = Loaded()
    listed = load_list(repository, head, source, loaded)
    index = repository.index
    rows = read_rows(index)
    known = rows.keys() | {original for _, body in rows.items() if (original := _original(body))}
    fresh = (
        {name: loaded.read_snapshot(repository, source, name) for name in listed.snapshots if name not in known}
        if listed
        else {}
    )
    if listed is None or not loaded.is_list_read or None in fresh.values():
        raise PeerUnreachable(
            "it keeps backups that another machine of yours made, and their list can't be read",
            hint="nothing there was touched; run the same again later: what it keeps is joined to yours first",
        )
    found = {name: body for name, body in fresh.items() if body}
    is_doubtful = bool(found) and repository.generation_of(source, head.index) < repository.keys.generation
    if is_doubtful:
        found = dict(_doubt(repository, name, body) for name, body in found.items())
    # Packs it lists and no host holds are not taken up: a snapshot that needs them is named by the next check.
    packs = [pack for pack in listed.packs if index.has_read(pack) and not index.has_pack(pack)]
    index.turnover.follow([*index.packs(), *packs])
    index.set_snapshots(_merge(rows, found).items())
    return Joined(len(found), is_doubtful)


def _original(body: bytes) -> SnapshotId:
    """Return under which id a snapshot was made whose tags were changed; empty: they were not."""
    readable = decode_known([(SnapshotId(b""), body)]) if body else []
    return SnapshotId(readable[0][1].ext.get(ORIGINAL, b"") if readable else b"")


def _doubt(repository: Repository, name: SnapshotId, body: bytes) -> tuple[SnapshotId, bytes]:
    """Return a snapshot with the tag, and the id that it has with it; one of a newer version as it is."""
    if find_newer([(name, body)]):
        return name, body
    snapshot = decode_snapshot(body)
    # In front: of as many tags as there may be, the last one goes.
    tags = [REPLACED, *(tag for tag in snapshot.tags if tag != REPLACED)][:SNAPSHOT_TAGS]
    # Whatever it says of that itself: one that says it is another's would keep the other from ever being joined.
    marked = msgspec.structs.replace(snapshot, tags=tags, ext={**snapshot.ext, ORIGINAL: bytes(name)})
    try:
        tagged = encode_snapshot(marked)
    except LocalError:  # it says so much else that this has no room
        tagged = encode_snapshot(msgspec.structs.replace(marked, ext={ORIGINAL: bytes(name)}))
    return SnapshotId(repository.keys.blob_id(BlobKind.SNAPSHOT, tagged)), tagged


def _merge(rows: Rows, found: Rows) -> Rows:
    """Return all snapshots, those found put before the first one that is later; the order of the others stays."""
    both = rows | found
    times = {name: snapshot.time_ns for name, snapshot in decode_known((n, body) for n, body in both.items() if body)}
    order = list(rows)
    for name in found:
        later = (at for at, known in enumerate(order) if times.get(known, 0) > times.get(name, 0))
        order.insert(next(later, len(order)), name)
    return {name: both[name] for name in order}
