"""Mounting in tests: whether this machine can, and that nothing stays mounted whatever happens."""

import contextlib
import ctypes.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.harness import Home, Json, Running

_SYS_ADMIN = 21


def find_obstacle() -> str:
    """Return why nothing can be mounted here; empty when it can."""
    if not Path("/dev/fuse").exists():
        return "there is no /dev/fuse"
    if not (ctypes.util.find_library("fuse3") or ctypes.util.find_library("fuse")):
        return "libfuse is not installed"
    if os.geteuid() != 0:
        return "" if shutil.which("fusermount3") or shutil.which("fusermount") else "there is no fusermount"
    rights = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    return "" if int(rights.split()[1], 16) >> _SYS_ADMIN & 1 else "root may not mount in this container"


needs_mounts = pytest.mark.skipif(bool(find_obstacle()), reason=f"can't mount: {find_obstacle()}")


@contextlib.contextmanager
def mounting(home: Home, place: Path, *words: str) -> Iterator[tuple[Running, Json]]:
    """Mount, hand over the command and what it said, and leave nothing mounted."""
    place.mkdir(exist_ok=True)
    running = home.start("mount", str(place), *words)
    try:
        yield running, running.wait_event("mounted")
    finally:
        running.end()
        clear(place)


def clear(place: Path) -> None:
    """Take away what may be mounted at a place, used or not."""
    if is_mounted(place):
        subprocess.run(["umount", "-l", place], check=False)


def is_mounted(place: Path) -> bool:
    """Say whether the kernel still has a mount there, dead or alive."""
    return any(line.split()[1] == str(place) for line in Path("/proc/mounts").read_text().splitlines())
