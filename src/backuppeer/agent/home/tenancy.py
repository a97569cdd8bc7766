"""Whether the home that the agent lives in is still there, looked at now and then.

Knows: the lock's file. Must not know: what the agent does. An agent whose home was removed or moved away serves
nobody: no command finds its socket, and another agent may already run in a new home of the same name.
"""

import asyncio
import os
from typing import Final

import structlog

from backuppeer.agent.home.home import Home
from backuppeer.limits import HOME_LOOK_S

_log = structlog.get_logger()
_GONE: Final = (FileNotFoundError, NotADirectoryError)


async def end_without_home(home: Home, stopping: asyncio.Event, *, every_s: float = HOME_LOOK_S) -> None:
    """Set `stopping` once the lock that this process took on starting no longer lies in `home`."""
    ours = _identify(home)
    while _identify(home, otherwise=ours) == ours:  # noqa: ASYNC110 - a removed file wakes nobody
        await asyncio.sleep(every_s)
    _log.warning("the home was removed or moved away: the agent ends", home=os.fspath(home.path))
    stopping.set()


def is_gone(home: Home) -> bool:
    """Whether the folder of a home lies no longer where it lay; a disk that is too ill to say does not count."""
    try:
        home.path.stat()
    except _GONE:
        return True
    except OSError:
        pass
    return False


def _identify(home: Home, *, otherwise: tuple[int, int] | None = None) -> tuple[int, int] | None:
    """Return which file the lock is, None when there is none; `otherwise` when a disk is too ill to say."""
    try:
        found = home.lock_file.stat()
    except _GONE:
        return None
    except OSError:
        return otherwise
    return found.st_dev, found.st_ino
