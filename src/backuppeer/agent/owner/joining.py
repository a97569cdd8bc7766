"""What an earlier writer left at a host that the next one could not hear: joined to the list before anything is lost.

Knows: the index, the list that a stray head names (lineage). Must not know: sessions, who is heard. A host keeps one
head: the next one that it gets wipes out the only list of what the earlier writer left there. So what that list names
and ours does not enters our index first, and the head that the host gets next names it (ADR 35). Killed before that
head stands, the index follows the newest head again, the host still has the stray one, and all is done anew.
"""

from backuppeer.agent.owner.fetch import Fetch
from backuppeer.agent.owner.rebuild import Loaded, load_list
from backuppeer.agent.owner.repository import Repository
from backuppeer.backup.amending import Rows, read_rows
from backuppeer.errors import PeerUnreachable
from backuppeer.ids import BlobId
from backuppeer.proof.statements import Head
from backuppeer.repo.snapshot import decode_known


def join_stray(repository: Repository, head: Head, source: Fetch) -> int:
    """Add what a stray head names to the index, in a thread; return how many snapshots that were.

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
    fresh = (
        {name: loaded.read(repository, source, BlobId(name)) for name in listed.snapshots if name not in rows}
        if listed
        else {}
    )
    if listed is None or not loaded.is_list_read or None in fresh.values():
        raise PeerUnreachable(
            "it keeps backups that another machine of yours made, and their list can't be read",
            hint="nothing there was touched; run the same again later: what it keeps is joined to yours first",
        )
    found = {name: body for name, body in fresh.items() if body is not None}
    # Packs it lists and no host holds are not taken up: a snapshot that needs them is named by the next check.
    packs = [pack for pack in listed.packs if index.has_read(pack) and not index.has_pack(pack)]
    index.turnover.follow([*index.packs(), *packs])
    index.set_snapshots(_merge(rows, found).items())
    return len(found)


def _merge(rows: Rows, found: Rows) -> Rows:
    """Return all snapshots, those found put before the first one that is later; the order of the others stays."""
    both = rows | found
    times = {name: snapshot.time_ns for name, snapshot in decode_known((n, body) for n, body in both.items() if body)}
    order = list(rows)
    for name in found:
        later = (at for at, known in enumerate(order) if times.get(known, 0) > times.get(name, 0))
        order.insert(next(later, len(order)), name)
    return {name: both[name] for name in order}
