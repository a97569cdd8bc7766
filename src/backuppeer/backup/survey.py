"""What a restore would do, looked at beforehand: for the question it asks, and for `--dry-run`.

Knows: what is wanted, what stands in the target. Must not know: packs, how anything is written.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from backuppeer.backup.selection import Selection, Walk
from backuppeer.backup.standing import Keeper, LeftAlone
from backuppeer.backup.tidying import Tidier
from backuppeer.backup.trees import Visit
from backuppeer.errors import BackupPeerError
from backuppeer.files.surplus import Removal
from backuppeer.limits import CONFLICTS_LISTED
from backuppeer.repo.tree import EntryKind


@dataclass(slots=True)
class Survey:
    """Files and bytes that would be written, what would be left alone, and paths that would be replaced or removed.

    `named`: the first of the files that would be written.
    """

    taken: list[bytes] = field(default_factory=list)
    named: list[bytes] = field(default_factory=list)
    surplus: list[Removal] = field(default_factory=list)
    files: int = 0
    bytes: int = 0
    left: LeftAlone = field(default_factory=LeftAlone)


def survey(
    selection: Selection, keeper: Keeper | None, check: Callable[[], None], tidier: Tidier | None = None
) -> Survey:
    """Look at everything that is wanted; `keeper`: None when the target is empty. `check` may end it by raising."""
    result, walk = Survey(), Walk()
    for visit in selection.visits(walk):
        check()
        if visit.leaving:
            result.surplus += _find_surplus(tidier, visit) if tidier is not None else ()
            continue
        is_file = visit.entry.kind == EntryKind.FILE
        if keeper is not None and visit.entry.kind != EntryKind.DIRECTORY and (found := keeper.find_kept(visit)):
            result.left.add(visit, found)
            continue
        if keeper is not None and keeper.would_replace(visit):
            result.taken.append(visit.path)
        if is_file and result.files < CONFLICTS_LISTED:
            result.named.append(visit.path)
        result.files += is_file
        result.bytes += visit.entry.size * is_file
    return result


def _find_surplus(tidier: Tidier, visit: Visit) -> list[Removal]:
    try:
        return [removal for removal in tidier.tidy(visit, is_dry=True) if removal.problem is None]
    except (OSError, BackupPeerError):
        return []  # it is not there, or the restore will say what is wrong with it
