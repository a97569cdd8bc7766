"""Databases that a home can do without: a damaged one is moved aside and named, never trusted, never deleted.

Knows: file names. Must not know: what the databases hold, and who makes their content anew.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import structlog

from backuppeer.errors import DamagedStateError, NewerFormatError

_log = structlog.get_logger()
_ASIDE: Final = ".damaged"
_LOGS: Final = ("-wal", "-shm", "-journal")
T = TypeVar("T")


def _ignore(note: str) -> None:
    del note


def open_or_set_aside(path: Path, make: Callable[[Path], T], *, note: Callable[[str], None] = _ignore) -> T:
    """Open a database; a damaged one is kept beside under another name, and `note` hears of it.

    Raises:
        NewerFormatError: it was written by a newer version.

    """
    try:
        return make(path)
    except NewerFormatError:
        raise
    except DamagedStateError as exc:
        _log.warning("moved a damaged database aside", file=path.name, reason=exc.message)
        kept = set_aside(path)
        note(f"{path} was damaged: it is kept as {kept.name}, and begun anew")
        return make(path)


def set_aside(path: Path, ending: str = _ASIDE) -> Path:
    """Give a database, with the log beside it, other names; return that of the database itself. It must be closed.

    Its name is free afterwards whatever stood there. Of damaged databases the last is kept, of other things all.
    ending: what comes after its name, of one that is not damaged.
    """
    kept = path.with_name(path.name + ending)
    number = 1
    while kept.exists() and not (kept.is_file() and path.is_file()):
        number += 1
        kept = path.with_name(f"{path.name}{ending}{number}")
    # The log first: it belongs to the file. Cut off between, the file is damaged as before and is moved the next time.
    for suffix in (*_LOGS, ""):
        part = path.with_name(path.name + suffix)
        if part.exists() or part.is_symlink():
            part.replace(kept.with_name(kept.name + suffix))
    return kept
