"""What a restore would do, looked at beforehand: for the question it asks, and for `--dry-run`.

Knows: what is wanted, what stands in the target. Must not know: packs, how anything is written.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from backuppeer.backup.selection import Selection, Walk
from backuppeer.backup.standing import Keeper
from backuppeer.backup.tidying import Tidier
from backuppeer.backup.trees import Visit
from backuppeer.errors import BackupPeerError
from backuppeer.files.surplus import Removal
from backuppeer.repo.tree import EntryKind


@dataclass(slots=True)
class Survey:
    """Files and bytes that would be written, files that would be kept, and paths that would be replaced or removed."""

    taken: list[bytes] = field(default_factory=list)
    surplus: list[Removal] = field(default_factory=list)
    files: int = 0
    bytes: int = 0
    kept: int = 0


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
        if keeper is not None and visit.entry.kind != EntryKind.DIRECTORY and keeper.find_kept(visit) is not None:
            result.kept += is_file
            continue
        if keeper is not None and keeper.would_replace(visit):
            result.taken.append(visit.path)
        result.files += is_file
        result.bytes += visit.entry.size * is_file
    return result


def _find_surplus(tidier: Tidier, visit: Visit) -> list[Removal]:
    try:
        return [removal for removal in tidier.tidy(visit, is_dry=True) if removal.problem is None]
    except (OSError, BackupPeerError):
        return []  # it is not there, or the restore will say what is wrong with it
