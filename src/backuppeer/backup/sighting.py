"""A first look at the paths of a backup, before anything is read: which are there, and which are only links.

Knows: the named paths alone. Must not know: what lies below them, packs.
"""

import os
import shlex
from collections.abc import Sequence

from backuppeer.backup.roots import normalise_path
from backuppeer.backup.streams import Progress
from backuppeer.errors import NotFoundError, UserError
from backuppeer.files.scan import FoundKind, examine_path
from backuppeer.limits import CONFLICTS_NAMED


def find_paths(paths: Sequence[bytes], progress: Progress) -> tuple[list[bytes], int]:
    """Return those of the absolute `paths` that are there, and how many are not: each of these is told by its name.

    A symlink is there as a link: what it points to is not backed up with it, and the person is told so.

    Raises:
        UserError: no path, or a relative one.
        NotFoundError: none of them is there.

    """
    if not paths:
        raise UserError("nothing to back up: no path was given")
    wanted = list(dict.fromkeys(normalise_path(path) for path in paths))
    missing = [path for path in wanted if not _is_there(path)]
    there = [path for path in wanted if path not in missing]
    if not there:
        raise NotFoundError(f"there is no {name_paths(missing)}", hint="nothing was backed up")
    for path in missing:
        progress.error_file(path, "no such file or folder")
    for path in there:
        _tell_link(path, there, progress)
    return there, len(missing)


def name_paths(paths: Sequence[bytes]) -> str:
    """Return the first few paths, for a sentence."""
    named = ", ".join(repr(os.fsdecode(path)) for path in paths[:CONFLICTS_NAMED])
    return named if len(paths) <= CONFLICTS_NAMED else f"{named}, …"


def _is_there(path: bytes) -> bool:
    try:
        examine_path(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # it may exist: the walk reports it by name
    return True


def _tell_link(path: bytes, wanted: Sequence[bytes], progress: Progress) -> None:
    try:
        found = examine_path(path)
    except OSError:
        return
    if found.kind is not FoundKind.SYMLINK:
        return
    behind = os.path.realpath(path)
    if any(behind == other or behind.startswith(other.rstrip(b"/") + b"/") for other in wanted):
        return  # saved under its own name
    said = f"{os.fsdecode(path)} is a link to {os.fsdecode(found.target)}: only the link itself is saved"
    if os.path.exists(behind):  # noqa: PTH110 - bytes path
        said += f"; to save what it points to: `backup-peer backup {shlex.quote(os.fsdecode(behind))}`"
    progress.note(said)
