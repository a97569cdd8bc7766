"""The time zone of the person at this terminal, by name: whose days and weeks count in `forget`.

Knows: TZ, /etc/localtime. Must not know: what it is for. The agent may run in another zone than the command: it was
started by another login, or by a service.
"""

import os
from pathlib import Path
from typing import Final

_LINK: Final = Path("/etc/localtime")
_FOLDER: Final = "/zoneinfo/"


def find_zone(link: Path = _LINK) -> str:
    """Return an IANA name like Europe/Berlin; empty when there is none, and the agent's own zone has to do.

    A TZ that is a rule (`CET-1CEST,…`) or a file elsewhere has no name.
    """
    said = os.environ.get("TZ")
    if said == "":
        return "UTC"  # POSIX: set, and empty
    where = said.removeprefix(":") if said else os.path.realpath(link)
    name = where.rpartition(_FOLDER)[2].removeprefix("posix/")
    return name if name and not name.startswith("/") and _is_known(name) else ""


def _is_known(name: str) -> bool:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415 - start-up time

    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
