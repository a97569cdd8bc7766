"""A home deleted for good, once its person left and nothing of others lies in it (ADR 90).

Knows: what a home is made of, by name. Must not know: agreements; the caller has looked. What the program did not make
stays: somebody may have named a folder as home that holds other things. The key goes first, so that a home that was
half deleted is none that anything starts; a mark says that the rest is to go, too.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from backuppeer.agent.home.home import PROOFS, Home, explain_denial, write_private
from backuppeer.errors import LocalError

_MARK: Final = "leaving"
_LAST: Final = ("lock", _MARK)
"""The lock holds off agents until all else is gone, and the mark tells the next run to go on."""
_FOLDERS: Final = ("keys", "repository", "store", "logs", PROOFS)
_FILES: Final = re.compile(
    r"config\.toml|settings\.lock|(state|evidence|receipts)\.db.*|anchor\.json|agent\.sock|passing|\.?config\..*\.toml|\..+\.[0-9a-f]{8}|drill-.*"
)
"""Databases with their logs and what was set aside of them, unfinished files, what a drill left."""


def is_half_removed(home: Home) -> bool:
    """Whether a removal was stopped after its first step; an identity made there since begins anew."""
    return not home.exists_identity and (home.path / _MARK).exists()


def remove_home(home: Home) -> list[str]:
    """Delete all that a home is made of, and the folder unless something else is in it; the caller holds its lock.

    Returns the names of what was not made by this program and stays. Can be repeated after it was stopped anywhere.

    Raises:
        LocalError: the system refuses.

    """
    try:
        write_private(home.path / _MARK, b"")
        (home.keys / "working").unlink(missing_ok=True)
        for path in sorted(_list_own(home.path)):
            _remove(path)
        left = sorted(entry.name for entry in home.path.iterdir() if entry.name not in _LAST)
        for name in _LAST:
            (home.path / name).unlink(missing_ok=True)
        if not left:
            home.path.rmdir()
    except OSError as exc:
        raise explain_denial(home.path, exc) from exc
    return left


def _list_own(folder: Path) -> Iterator[Path]:
    for entry in os.scandir(folder):
        if entry.name in _FOLDERS or _FILES.fullmatch(entry.name):
            yield Path(entry.path)


def _remove(path: Path) -> None:
    # A link goes, not what it leads to.
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def check_not_busy(home: Home, *, is_ours: bool) -> None:
    """Refuse to go on without the lock of a home.

    Raises:
        LocalError: somebody else holds it.

    """
    if not is_ours:
        raise LocalError(
            f"another command uses {home.path} just now: nothing was deleted", hint="run it again in a moment"
        )
