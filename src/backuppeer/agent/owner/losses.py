"""What the newest head commits to and is not here: told by name, never passed over in silence (E6).

Knows: names in the index, copies in the ledger. Must not know: sessions. Lost and withheld look alike from here. That
a host which may have it is merely away is for those to say who asked the hosts (agent.meeting).
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from backuppeer.agent.owner.rebuild import Loaded
from backuppeer.agent.owner.repository import Repository
from backuppeer.backup.browse import LATEST
from backuppeer.errors import BackupPeerError, IncompleteError, IntegrityFault, PeerUnreachable
from backuppeer.ids import AgreementId, BlobId, LogicalId, PeerId, SnapshotId
from backuppeer.limits import LOSSES_NAMED
from backuppeer.proof.merkle import root_of_set
from backuppeer.proof.statements import Head
from backuppeer.shares.copies import Copy

LOST_PACKS: Final = (
    "what is still elsewhere is sent again: by the next backup, or by `backup-peer repair` if it lost much; "
    "`backup-peer check` says which snapshots lack something"
)
"""What to do when packs that a host acknowledged are gone."""
_BY_ID: Final = "`backup-peer snapshots` lists what is there; each of those can be restored by its id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """What can't be read of head number `head`; false when that is nothing.

    `names`: the snapshots in order, and whether each can be read. `packs` of `packs_known` lie with no host that was
    heard. `is_listed`: the names of all snapshots are known. `is_list_read`: those of all packs too. `is_away`: a host
    that has what is missing can't be reached now.
    """

    head: int = 0
    names: tuple[tuple[SnapshotId, bool], ...] = ()
    packs: int = 0
    packs_known: int = 0
    is_listed: bool = True
    is_list_read: bool = True
    is_away: bool = False

    def __bool__(self) -> bool:
        return self.hides_snapshots or bool(self.packs) or not self.is_list_read

    @property
    def snapshots(self) -> list[SnapshotId]:
        """Return the snapshots of which only the name is known, oldest first."""
        return [snapshot for snapshot, is_here in self.names if not is_here]

    @property
    def hides_snapshots(self) -> bool:
        """Whether there are snapshots that can't be read, or may be."""
        return bool(self.snapshots) or not self.is_listed

    def describe(self) -> str:
        """Return what is missing, in words that end in "missing"."""
        parts = []
        if not self.is_listed:
            parts.append("the list of its snapshots")
        if self.snapshots:
            parts.append(_name_all(self.snapshots))
        if self.packs:
            parts.append(f"{self.packs} of {self.packs_known} packs")
        elif not self.is_list_read and self.is_listed:
            parts.append("the list of its packs")
        is_one = len(parts) == 1 and max(len(self.snapshots), self.packs) <= 1
        return f"{' and '.join(parts)} of head {self.head} {'is' if is_one else 'are'} missing"


def find_losses(
    repository: Repository,
    head: Head,
    agreements: Sequence[AgreementId],
    loaded: Loaded,
    *,
    waste: AbstractSet[LogicalId] = frozenset(),
) -> Losses:
    """Compare the index with a head, after it was loaded, and the ledger with the index. `waste`: may be nowhere."""
    names = repository.index.snapshot_names()
    return Losses(
        head=head.number,
        names=tuple(names.items()),
        packs=len(find_nowhere(repository, agreements) - waste),
        packs_known=sum(1 for _ in repository.index.packs()),
        is_listed=root_of_set(tuple(names)) == head.snapshots_root,
        is_list_read=loaded.is_list_read,
        is_away=loaded.is_away,
    )


def find_nowhere(repository: Repository, agreements: Sequence[AgreementId]) -> set[LogicalId]:
    """Return the packs of the index that no host is known to hold."""
    nowhere: set[LogicalId] | None = None
    for agreement in agreements:
        among = repository.index.packs() if nowhere is None else iter(nowhere)
        nowhere = set(repository.ledger.missing_at(agreement, among))
    return nowhere or set()


def measure_held(repository: Repository, agreements: Iterable[tuple[AgreementId, PeerId, bytes]], host: PeerId) -> int:
    """Return the bytes that a host is known to keep under its agreements."""
    return sum(repository.ledger.held_bytes(agreement) for agreement, who, _ in agreements if who == host)


def measure_named(repository: Repository, head: Head | None, copies: Iterable[Copy]) -> int:
    """Return the bytes of those copies whose packs the newest head names: what a host that countersigned it must have.

    `head`: None if it did not. Drafts don't count: a thief of the keys can have them erased.
    """
    named = find_binding(repository, head)
    return sum(copy.size for copy in copies if copy.logical in named)


def find_binding(repository: Repository, head: Head | None) -> set[LogicalId]:
    """Return the packs that a head names; none as long as the index here is not that of the head, or without one.

    A home that was set back, or lost its index, can't tell what was deleted since from what was lost.
    """
    index = repository.index
    known = set(index.packs())
    # All of them: this machine was killed, or its disk was full, when the head stood and the index was to say so.
    for named in (known - index.turnover.fresh(), known):
        if head is not None and root_of_set(tuple(named)) == head.packs_root:
            return named
    return set()


def drop_lost(repository: Repository, agreements: Sequence[AgreementId]) -> list[SnapshotId]:
    """Forget the packs that no host holds, and the snapshots that no pack does; return these.

    The next head names them no more: for when every host told all it has, and what is here was sent again.
    """
    repository.index.turnover.forget(find_nowhere(repository, agreements))
    names = repository.index.snapshot_names()
    lost = [name for name, is_here in names.items() if not is_here and not repository.index.has(BlobId(name))]
    for name in lost:
        repository.index.remove_snapshot(name)
    return lost


@dataclass(frozen=True, slots=True)
class Witnesses:
    """The names of the hosts that told all they hold, and of those that could not be heard in full."""

    heard: Sequence[str] = ()
    away: Sequence[str] = ()

    def explain(self, losses: Losses, *, found: str = "") -> BackupPeerError:
        """Return the error for what is missing: lost, or with a host that is away.

        `found`: what was done all the same; work that was done but for some hosts is incomplete, not unreachable.
        """
        what = f"{found}, but {losses.describe()}" if found else losses.describe()
        if self.away or losses.is_away:
            names = ", ".join(self.away) or "a host"
            text = f"{what}: {names}, which may have it, can't be reached"
            hint = f"run it again when {names} can be reached; {_BY_ID}"
            return IncompleteError(text, hint=hint) if found else PeerUnreachable(text, hint=hint)
        return IntegrityFault(
            f"{what}: its data was lost or withheld by {', '.join(self.heard) or 'its hosts'}",
            hint=f"{_BY_ID}; if a further host of yours may have it, ask that one: `backup-peer recover --peer ID`",
        )


def check_choice(text: str, chosen: SnapshotId | None, losses: Losses, witnesses: Witnesses) -> None:
    """Refuse a snapshot that is missing, and an older one for `latest` when a later one is missing: it may be meant.

    `text`: `latest`, an id or a prefix. `chosen`: what it names among the snapshots that can be read; None: nothing.

    Raises:
        IntegrityFault: it was lost or withheld.
        PeerUnreachable: a host that may have it is away.

    """
    names, missing = [snapshot for snapshot, _ in losses.names], losses.snapshots
    if text.lower() == LATEST:
        later = names[names.index(chosen) + 1 :] if chosen in names else names
        is_hidden = not losses.is_listed or any(snapshot in later for snapshot in missing)
    else:
        is_named = any(snapshot.hex().startswith(text.lower()) for snapshot in missing)
        is_hidden = chosen is None and (is_named or not losses.is_listed)
    if is_hidden:
        raise witnesses.explain(losses)


def _name_all(snapshots: Sequence[SnapshotId]) -> str:
    shown = ", ".join(snapshot.hex()[:8] for snapshot in snapshots[-LOSSES_NAMED:])
    more = f" and {len(snapshots) - LOSSES_NAMED} more" if len(snapshots) > LOSSES_NAMED else ""
    return f"snapshot{'s' if len(snapshots) > 1 else ''} {shown}{more}"
