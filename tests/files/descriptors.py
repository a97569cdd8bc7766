"""How many file descriptors this process has open."""

from pathlib import Path


def count_open():
    return len(list(Path("/proc/self/fd").iterdir()))
