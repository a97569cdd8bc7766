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
        for part in path.parent.glob(f"{path.name}*"):
            if not part.name.endswith(_ASIDE):
                part.replace(part.with_name(part.name + _ASIDE))
        note(f"{path} was damaged: it is kept as {path.name}{_ASIDE}, and begun anew")
        return make(path)
