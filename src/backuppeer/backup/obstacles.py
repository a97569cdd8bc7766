"""What stands in the target of a restore before it begins, and what a restore refuses because of it.

Knows: the target, names for people. Must not know: snapshots, packs.
"""

import errno
import os
from collections.abc import Sequence

from backuppeer.backup.selection import find_obstacle
from backuppeer.errors import BackupPeerError, IncompleteError, UserError, full_disk, is_out_of_room
from backuppeer.files.scan import FoundKind
from backuppeer.files.write import RestoreTarget
from backuppeer.limits import CONFLICTS_NAMED


def check_way(way: Sequence[bytes], target: RestoreTarget, root: bytes) -> None:
    """Refuse to go through what the person put in the place of a directory that is not itself restored.

    With --target / that would be /home or /lib, where they are symlinks: nobody's yes to some files means those.

    Raises:
        UserError: something stands there.

    """
    path = find_obstacle(way, target)
    if path is None:
        return
    found = target.examine(path)
    shown = os.fsdecode(os.path.join(root, path))  # noqa: PTH118 - bytes
    kind = f"a link to {os.fsdecode(found.target)}" if found.kind is FoundKind.SYMLINK else "no folder"
    raise UserError(
        f"{shown} is {kind}, and it is only on the way to what is restored: it is never replaced",
        hint="choose another target: --target DIR",
    )


def refuse_taken(taken: list[bytes], target: bytes) -> None:
    """Refuse to replace what stands where files would go.

    Raises:
        UserError: there is something.

    """
    if taken:
        named = ", ".join(repr(os.fsdecode(os.path.join(target, path))) for path in taken[:CONFLICTS_NAMED])  # noqa: PTH118 - bytes
        more = "" if len(taken) <= CONFLICTS_NAMED else ", …"
        raise UserError(
            f"{len(taken)} existing {'entry' if len(taken) == 1 else 'entries'} would be overwritten: {named}{more}",
            hint="choose an empty target, or say what to do with them: --overwrite if-changed, if-newer, never, always",
        )


def explain_end(path: bytes, problem: OSError, *, finished: int) -> BackupPeerError | None:
    """Return the error that ends a restore whose file at `path` could not be written; None if others may fare better.

    `finished`: files that are restored.
    """
    stays = f"what is finished stays: {finished:,} {'file' if finished == 1 else 'files'}"
    if is_out_of_room(problem):
        hint = "make room there and run the same restore again, or choose another target: --target DIR"
        return full_disk(f"/{os.fsdecode(path)}", more=stays, hint=hint)
    if problem.errno != errno.EROFS:
        return None
    reason = (problem.strerror or str(problem)).lower()
    return IncompleteError(f"the target takes no more ({reason}); {stays}", hint="choose another target: --target DIR")


def has_entries(path: bytes) -> bool:
    """Say whether something may stand in the way; a folder that can't be listed counts as such."""
    try:
        with os.scandir(path) as entries:
            return next(entries, None) is not None
    except FileNotFoundError:
        return False
    except OSError:
        return True  # opening it will say why it can't be used


def open_target(path: bytes, *, overwrite: bool) -> RestoreTarget:
    """Open the target, made if missing.

    Raises:
        UserError: it can't be used.

    """
    try:
        return RestoreTarget(path, overwrite=overwrite)
    except OSError as exc:
        raise UserError(
            f"can't restore into {os.fsdecode(path)!r}: {(exc.strerror or str(exc)).lower()}",
            hint="name a folder with --target DIR",
        ) from exc
