"""A clock that a test moves while processes run: they read from a file how far ahead of the machine's it is.

`Days` lays a copy of this module, named `sitecustomize`, into a folder of a world's PYTHONPATH. Python imports that
before anything else: commands, agents and servers of that world have one day, and the program knows nothing of it.
Monotonic time goes on as it does: heartbeats and timeouts are those of the machine.
"""

import mmap
import os
import time
from pathlib import Path

_AHEAD = "ahead"
_BYTES = 8
_SECOND_NS = 10**9


def follow(folder: Path) -> None:
    """Have this process's wall clock be what the file in `folder` says, from now on."""
    with (folder / _AHEAD).open("rb") as file:
        ahead = mmap.mmap(file.fileno(), _BYTES, access=mmap.ACCESS_READ)
    read_ns = time.time_ns

    def moved_ns() -> int:
        return read_ns() + _SECOND_NS * int.from_bytes(ahead[:_BYTES], "little")

    def moved_s() -> float:
        return moved_ns() / _SECOND_NS

    time.time_ns, time.time = moved_ns, moved_s


class Days:
    """How far ahead a world's clock is. `folder`: a new one, to be in the PYTHONPATH of the processes of that world."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.ahead_s = folder, 0
        (folder / _AHEAD).write_bytes(bytes(_BYTES))
        (folder / "sitecustomize.py").write_bytes(Path(__file__).read_bytes())

    def pass_by(self, days: int) -> None:
        """Let so many days have passed, for all processes at once."""
        self.set_ahead(self.ahead_s + days * 86400)

    def set_ahead(self, seconds: int) -> None:
        """Have the clock be so far ahead of the machine's."""
        self.ahead_s = seconds
        with (self.folder / _AHEAD).open("r+b", buffering=0) as file:
            os.pwrite(file.fileno(), self.ahead_s.to_bytes(_BYTES, "little"), 0)


if __name__ == "sitecustomize":
    follow(Path(__file__).parent)
