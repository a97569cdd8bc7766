"""One command of a person's, run beside a backup: what it prints, when it ends, and its end with all it began.

Knows: processes, groups of them, pipes. Must not know: hooks, backups.

The command leads a process group of its own. That it has ended is told by a descriptor of the process, not by the end
of its output: a child in the background may hold the pipe for hours. Output is read as it comes and only the first
lines are told, so that a gigabyte of it costs no memory. Until the group is ended the command is not reaped, so that
its number, which is the group's, can't become that of a stranger.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from backuppeer.limits import HOOK_END_S, HOOK_LINE_BYTES, HOOK_LINES, HOOK_PIECE_BYTES

_LOOK_S: Final = 0.05
"""How often it is looked whether a group has ended: nothing in the system tells of that."""
_PIPE_PIECES: Final = 16
"""What a pipe holds at most, in pieces: 1 MiB unless the administrator allows more."""
_PROCESSES: Final = Path("/proc")
Tell = Callable[[str], None]


class HookProcess:
    """A command that runs, or has ended and left something running; `end` must be called once."""

    def __init__(self, words: Sequence[str], *, cwd: str, env: Mapping[str, str], tell: Tell) -> None:
        """Start it, in the event loop; `tell` takes its first lines of output.

        Raises:
            OSError: it can't be run.
            ValueError: a zero byte in its words.

        """
        self._loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        self._output = _Output(reading, tell)
        with ExitStack() as failed:
            failed.callback(self._output.close)
            with os.fdopen(writing, "wb", buffering=0) as ours:
                self._process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=ours,
                    stderr=ours,
                    cwd=cwd,
                    env=dict(env),
                    start_new_session=True,  # a group of its own, so that its children can be ended with it
                )
            failed.pop_all()
        self._watched = _watch(self._process.pid)

    async def wait(self) -> int:
        """Wait until the command itself has ended and tell the rest of its output; return its code, -N for a signal."""
        while not (seen := self._look()):
            await self._until_ended()
        self._output.tell_rest()
        return seen.si_status if seen.si_code == os.CLD_EXITED else -seen.si_status

    async def end(self) -> None:
        """End it with all that it began: asked first, killed after a while, or at once when nobody may wait."""
        try:
            await self._ask_to_end()
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            try:
                # What a broken disk holds up is left to the system after a while.
                with suppress(TimeoutError):
                    async with asyncio.timeout(HOOK_END_S):
                        await self._until_all_ended()
            finally:
                self._close()

    async def _ask_to_end(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGTERM)  # not reaped yet, so the number can be nobody else's
        with suppress(TimeoutError):
            async with asyncio.timeout(HOOK_END_S):
                await self._until_all_ended()

    async def _until_all_ended(self) -> None:
        while self._process.poll() is None:
            await self._until_ended()
        # From here on the number is kept by what is left of the group; an empty group's could only be given away
        # again when all other numbers of the system were, in these few seconds.
        while _lives(self._process.pid):  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(_LOOK_S)

    def _close(self) -> None:
        self._output.close()
        if self._watched is not None:
            os.close(self._watched)
            self._watched = None

    def _look(self) -> "os.waitid_result | None":
        """Return how it ended, and leave it unreaped; None while it runs."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)

    async def _until_ended(self) -> None:
        """Wait for the command's end, or a moment where the system can't tell of it."""
        if self._watched is None:
            await asyncio.sleep(_LOOK_S)
            return
        told = asyncio.Event()
        self._loop.add_reader(self._watched, told.set)
        try:
            await told.wait()
        finally:
            self._loop.remove_reader(self._watched)


class _Output:
    """The lines that come out of a pipe: the first ones are told as they come, the others counted."""

    def __init__(self, fd: int, tell: Tell) -> None:
        """`fd`: the reading end, which is closed here."""
        os.set_blocking(fd, False)
        self._fd, self._tell = fd, tell
        self._begun = bytearray()
        self._told = self._untold = 0
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(fd, self._read)

    def tell_rest(self) -> None:
        """Take what is in the pipe now, no more: others may go on writing. Tell how much was not told."""
        for _ in range(_PIPE_PIECES):
            if not self._read():
                break
        if self._begun:
            self._take_line(len(self._begun))
        if self._untold:
            self._tell(f"… and {self._untold:,} more line{'s' * (self._untold != 1)}")
            self._untold = 0

    def close(self) -> None:
        """Hear no more of it: who still writes is told by the system."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> bool:
        """Take a piece; False when there is none."""
        if self._fd < 0:
            return False
        try:
            data = os.read(self._fd, HOOK_PIECE_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self.close()
            return False
        self._begun += data
        while (end := self._find_end()) and self._told < HOOK_LINES:
            self._take_line(end)
        if self._told >= HOOK_LINES:
            self._untold += self._begun.count(b"\n")
            del self._begun[: self._begun.rfind(b"\n") + 1]
            del self._begun[1:]  # of a line that is only counted it is enough to know that it has begun
        return True

    def _find_end(self) -> int:
        """Return how many bytes the first whole line has, or as much of one as is told at once; 0: none is there."""
        end = self._begun.find(b"\n", 0, HOOK_LINE_BYTES) + 1
        return end or HOOK_LINE_BYTES * (len(self._begun) >= HOOK_LINE_BYTES)

    def _take_line(self, size: int) -> None:
        text = self._begun[:size].decode(errors="replace").strip("\r\n")
        del self._begun[:size]
        if self._told >= HOOK_LINES:
            self._untold += 1
        elif text.strip():
            self._told += 1
            self._tell(text)


def _watch(pid: int) -> int | None:
    """Return a descriptor that becomes readable when the process ends; None where the system has no such thing."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _lives(group: int) -> bool:
    """Say whether a process of the group still runs; one that only waits to be reaped, maybe for ever, does not."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # what is left took another person's name
        return True
    seen = [_read_state(file) for file in _PROCESSES.glob("[0-9]*/stat")]
    return not seen or any(state != "Z" and number == group for state, number in seen)


def _read_state(file: Path) -> tuple[str, int]:
    """Return state and group of a process, from the third field of proc(5) on."""
    try:
        state, _, number, *_ = file.read_text(errors="replace").rpartition(")")[2].split()
        return state, int(number)
    except (OSError, ValueError):  # it ended meanwhile
        return "Z", 0
