"""Where the agent's socket lies, and how it is opened so that nobody else can sit there or listen in.

Knows: Unix socket paths, their length limit, permissions. Must not know: HTTP, routes, the home's other files.

The socket lies in the home (0700). A home whose path is too long for `sun_path` gets a folder of its own below /tmp,
named by user id and home. Not `XDG_RUNTIME_DIR`: it differs between a login, cron and sudo, so that two commands
would miss each other's agent, and it is deleted at logout while the agent lives on.
"""

import hashlib
import os
import socket
import stat
from pathlib import Path
from typing import Final

from backuppeer.errors import LocalError
from backuppeer.limits import SOCKET_PATH_BYTES

_NAME: Final = "agent.sock"
_BACKLOG: Final = 64


def socket_path_for(home: Path) -> Path:
    """Return the path of the socket that the agent of `home` (absolute) listens on.

    Raises:
        LocalError: the folder for long homes exists and is not ours alone.

    """
    inside = home / _NAME
    if len(os.fsencode(inside)) <= SOCKET_PATH_BYTES:
        return inside
    # A name, not a secret: 128 bits, so that two homes never meet.
    name = hashlib.sha256(os.fsencode(home)).hexdigest()[:32]
    return _private_folder() / f"{name}.sock"


def open_listener(path: Path) -> socket.socket:
    """Bind and listen at `path`, mode 0600, replacing what an agent that died has left.

    The caller holds the home's lock: that is what makes a socket found there a stale one, and its removal safe.

    Raises:
        LocalError: something that is not a socket lies there, or it can't be bound.

    """
    try:
        if os.path.lexists(path):
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise LocalError(f"{path} is not a socket", hint="move it away; the agent needs that name")
            path.unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | getattr(socket, "SOCK_CLOEXEC", 0))
        try:
            listener.bind(os.fspath(path))
            # Before listen, so nobody can connect in between; the folder is 0700 besides.
            path.chmod(0o600)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as exc:
        raise LocalError(f"can't listen at {path}: {exc.strerror or exc}") from exc
    return listener


def identify(path: Path) -> tuple[int, int] | None:
    """Return which file lies at `path`, by device and number; None when there is none."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _private_path() -> Path:
    return Path("/tmp") / f"backup-peer-{os.geteuid()}"  # noqa: S108 - owner and mode are checked below


def _private_folder() -> Path:
    folder = _private_path()
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as exc:
        raise LocalError(f"can't use {folder}: {exc.strerror}") from exc
    # /tmp belongs to everybody: a folder planted by another user would let them answer as our agent.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise LocalError(
            f"{folder} is not a folder of this user alone",
            hint="remove it, or choose a home with a shorter path: --home DIR",
        )
    return folder
