"""Whether something can be mounted at a folder, and what a person can do when not.

Knows: folders, /dev/fuse, the program that mounts for people who are not root. Must not know: what is mounted.
"""

import contextlib
import errno
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Final

from backuppeer.errors import NotFoundError, UserError

DEVICE: Final = Path("/dev/fuse")
_PROGRAMS: Final = ("fusermount3", "fusermount")
"""Of libfuse 3 and 2."""
_INSTALL: Final = "on Debian and Ubuntu: `sudo apt install fuse3`"


def check_place(text: str) -> str:
    """Return the absolute path of an empty folder at which nothing is mounted.

    Raises:
        NotFoundError: there is no such folder.
        UserError: it is none, not empty, or something is mounted there.

    """
    place = os.path.abspath(text)  # noqa: PTH100 - Path would resolve nothing either, and drop what we must name
    shown = shlex.quote(place)
    try:
        is_folder = os.path.isdir(place) or not os.stat(place)  # noqa: PTH112, PTH116
        names = os.listdir(place) if is_folder else []  # noqa: PTH208
    except FileNotFoundError as exc:
        raise NotFoundError(
            f"there is no folder {place!r} to mount at", hint=f"make it first: `mkdir {shown}`"
        ) from exc
    except OSError as exc:
        raise _explain(place, exc) from exc
    if not is_folder:
        raise UserError(f"{place!r} is no folder", hint="name an empty folder to mount at")
    if os.path.ismount(place):
        raise UserError(f"something is mounted at {place!r} already", hint=f"`{name_unmount()} {shown}` ends that")
    if names:
        raise UserError(
            f"{place!r} is not empty", hint="name an empty folder: what is in it could not be seen meanwhile"
        )
    return place


def check_system() -> None:
    """Check that file systems can be mounted by this user at all.

    Raises:
        NotFoundError: the kernel offers no such thing, or the program is missing that others than root need.

    """
    if not DEVICE.exists():
        raise NotFoundError(
            f"this system can't mount: there is no {DEVICE}",
            hint="`sudo modprobe fuse`; a container needs `--device /dev/fuse --cap-add SYS_ADMIN`",
        )
    if os.geteuid() != 0 and not any(map(shutil.which, _PROGRAMS)):
        raise NotFoundError("fusermount3, which mounts for others than root, is not installed", hint=_INSTALL)


def name_unmount() -> str:
    """Return the command that ends a mount of this user's, without the folder: `umount` is root's in most systems."""
    program = next((name for name in _PROGRAMS if shutil.which(name)), "")
    return f"{program} -u" if program and os.geteuid() != 0 else "umount"


def detach(place: str) -> None:
    """Take a mount away from under its users, where libfuse could not: their reads fail when this command ends."""
    root = ["umount", "-l", place]
    program = next((name for name in _PROGRAMS if shutil.which(name)), _PROGRAMS[0])
    # What can't be taken away is named by the next mount at this place.
    with contextlib.suppress(OSError):
        subprocess.run(root if os.geteuid() == 0 else [program, "-uz", place], capture_output=True, check=False)


def _explain(place: str, error: OSError) -> UserError:
    if error.errno == errno.ENOTCONN:
        return UserError(
            f"{place!r} is still mounted by a command that was killed",
            hint=f"`{name_unmount()} {shlex.quote(place)}` clears that",
        )
    return UserError(f"{place!r} can't be used: {(error.strerror or str(error)).lower()}", hint="name another folder")
