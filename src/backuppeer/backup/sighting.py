"""A first look at the paths of a backup, before anything is read: which are there, and which are only links.

Knows: the named paths alone. Must not know: what lies below them, packs.
"""

import os
import shlex
from collections.abc import Sequence
from typing import Final

from backuppeer.backup.roots import normalise_path
from backuppeer.backup.streams import Progress
from backuppeer.errors import NotFoundError, UserError
from backuppeer.files.scan import FoundKind, examine_path
from backuppeer.limits import CONFLICTS_NAMED

_SPECIAL: Final = {
    FoundKind.FIFO: "pipe",
    FoundKind.CHARACTER_DEVICE: "device",
    FoundKind.BLOCK_DEVICE: "device",
    FoundKind.OTHER: "socket",
}


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


def explain_nothing(there: Sequence[bytes]) -> NotFoundError:
    """Return the error for paths that are there, and of which nothing could be saved: no snapshot was made."""
    kinds = {path: kind for path in there if (kind := _name_special(path))}
    if len(kinds) < len(there):
        hint = "who may read it? `ls -ld` tells, and why it failed stands above"
        return NotFoundError(f"no snapshot was made: nothing could be read of {name_paths(there)}", hint=hint)
    path, kind = next(iter(kinds.items()))
    hint = "pipes, devices and sockets are saved with the folder they lie in"
    if kind != "socket":
        hint += f"; what comes out of it is saved with `backup-peer backup --stdin < {shlex.quote(os.fsdecode(path))}`"
    return NotFoundError(f"no snapshot was made: {name_paths(there)} is a {kind}, not a file or folder", hint=hint)


def _name_special(path: bytes) -> str:
    """Return what kind a path is that is neither file, folder nor link; empty for those, and where it can't be told."""
    try:
        return _SPECIAL.get(examine_path(path).kind, "")
    except OSError:
        return ""


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
