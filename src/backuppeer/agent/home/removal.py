"""A home deleted for good, once its person left and nothing of others lies in it (ADR 90).

Knows: what a home is made of, by name, down to the files. Must not know: agreements; the caller has looked. What the
program did not make stays: somebody may have named a folder as home that holds other things, and folders of his own
there may be called `logs` or `repository`. The key goes first, so that a home that was half deleted is none that
anything starts; a mark says that the rest is to go, too.
"""

import errno
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backuppeer.agent.home.home import DRILL, PROOFS, Home, explain_denial, write_private
from backuppeer.errors import LocalError
from backuppeer.host.layout import Layout
from backuppeer.host.leases import ENDED

_LAST: Final = ("lock", "leaving")
"""The lock holds off agents until all else is gone, and the mark tells the next run to go on."""


@dataclass(frozen=True, slots=True)
class _Own:
    """A name of ours. A file; with `inside`, a folder that goes if nothing else is left in it; `whole`: with all."""

    name: re.Pattern[str]
    inside: "tuple[_Own, ...]" = ()
    whole: bool = False


def _own(name: str, *inside: _Own, whole: bool = False) -> _Own:
    return _Own(re.compile(name), inside, whole)


def _private(names: str) -> _Own:
    """Files by `write_private`, whole or not."""
    return _own(rf"(?:{names})|\.(?:{names})\.[0-9a-f]{{8}}")


def _database(names: str) -> _Own:
    """Databases, what was set aside of them, what an upgrade left, and the logs of each."""
    kept = r"\.damaged\d*|\.before\d*|\.v\d+\.bak|\.v\d+\.bak\.part"
    return _own(rf"(?:{names})\.db(?:{kept})?(?:-wal|-shm|-journal)?")


_MARKER: Final = Layout(Path()).marker.name
_STORE: Final = (
    _own("agreements", _own("[0-9a-f]{32}", whole=True)),
    _own("incoming", _own(r"[0-9a-f]{32}\.part")),
    _database("catalogue"),
    _own(rf"succession|succession\.new|{_MARKER}\.new"),
    # Last: without it the folder counts as somebody else's.
    _own(_MARKER),
)
_HOME: Final = (
    _own("keys", _private(r"working|heir|device|transport|grant|grant\.moved|succession|former\.\d+")),
    _own("repository", _own("[0-9a-f]{32}", _database("index|trees|ledger|partial|proven"))),
    _Own(re.compile("store"), _STORE),
    _own("logs", _own(r"agent\.log(?:\.\d+)?")),
    _own(PROOFS, _private(r"[a-z-]+-[0-9a-f]{12}-[0-9a-f]{16}\.proof")),
    _own(rf"{DRILL}[a-z0-9_]{{8}}", whole=True),
    _database("state|evidence|receipts"),
    _private(r"config\.toml|anchor\.json|passing|leaving"),
    _own(r"\.config\.edit-[a-z0-9_]{8}\.toml.{0,8}|config\.mine-[a-z0-9_]{8}\.toml|agent\.sock|settings\.lock"),
)


def remove_home(home: Home) -> list[str]:
    """Delete all that a home is made of, and the folder unless something else is in it; the caller holds its lock.

    Returns the paths, within the home, of what was not made by this program and stays. Can be repeated after it was
    stopped anywhere. A home that is a link goes with what it leads to.

    Raises:
        LocalError: the system refuses.

    """
    try:
        write_private(home.leaving_mark, b"")
        (home.keys / "working").unlink(missing_ok=True)
        left = [name for name in _sweep(home.path, _HOME) if name not in _LAST]
        for name in _LAST:
            (home.path / name).unlink(missing_ok=True)
        if not left:
            _remove_folder(home.path)
    except OSError as exc:
        raise explain_denial(home.path, exc) from exc
    return left


def _sweep(folder: Path, owned: tuple[_Own, ...]) -> list[str]:
    """Delete what is ours in a folder, in the order of `owned`; return what stays, by its path from there."""
    with os.scandir(folder) as found:
        names = sorted(entry.name for entry in found)
    ranks = {name: next((at for at, own in enumerate(owned) if own.name.fullmatch(name)), len(owned)) for name in names}
    left = list[str]()
    for name in sorted(names, key=lambda name: ranks[name]):
        if name in _LAST and owned is _HOME:
            continue
        if ranks[name] == len(owned):
            left.append(name)
        else:
            left += _remove(folder / name, owned[ranks[name]])
    return sorted(left)


def _remove(path: Path, own: _Own) -> list[str]:
    """Delete what is called as something of ours; return what stays, by its path from the folder that `path` is in."""
    is_folder = path.is_dir() and not path.is_symlink()
    if path.is_symlink() or not (is_folder or own.inside or own.whole):
        # A link goes, not what it leads to.
        path.unlink(missing_ok=True)
        return []
    if not is_folder or not (own.inside or own.whole):
        return [path.name]
    if own.whole:
        _remove_whole(path)
        return []
    if own.inside is _STORE and not (path / _MARKER).exists() and any(path.iterdir()):
        return [path.name]
    left = _sweep(path, own.inside)
    if not left:
        path.rmdir()
    return [f"{path.name}/{name}" for name in left]


def _remove_whole(path: Path) -> None:
    """Delete a folder; that an agreement has ended stays known until nothing else of it is there."""
    for entry in list(path.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != ENDED:
            entry.unlink()
    (path / ENDED).unlink(missing_ok=True)
    path.rmdir()


def _remove_folder(path: Path) -> None:
    """Delete the empty folder of a home, and the link that led there; where the system keeps it, it may stay."""
    try:
        path.resolve().rmdir()
        if path.is_symlink():
            path.unlink()
    except OSError as exc:
        # A mount point, or in a folder of somebody else's: nothing is in it any more.
        if exc.errno not in {errno.EBUSY, errno.EACCES, errno.EPERM, errno.EROFS}:
            raise


def check_not_busy(home: Home, *, is_ours: bool) -> None:
    """Refuse to go on without the lock of a home.

    Raises:
        LocalError: somebody else holds it.

    """
    if not is_ours:
        raise LocalError(
            f"another command uses {home.path} just now: nothing was deleted", hint="run it again in a moment"
        )
