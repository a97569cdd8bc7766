"""A command on a terminal of its own, and a person who types one line at each question."""

import os
import pty
import select
import sys
from collections.abc import Sequence

from e2e.harness import Home

SILENCE_S = 60


def converse(home: Home, typed: Sequence[str], *words: str, at: tuple[str, ...], json: bool = True) -> tuple[int, str]:
    """Run a command on a terminal, typing one line whenever what it shows ends like one of `at`.

    Returns its exit code and all that the terminal showed.
    """
    command = [sys.executable, "-m", "backuppeer.cli.main", *(["--json"] if json else []), *words]
    pid, terminal = pty.fork()
    if not pid:
        os.execve(command[0], command, home.environment())  # noqa: S606 - this interpreter
    shown, left = b"", list(typed)
    try:
        while True:
            ready, _, _ = select.select([terminal], [], [], SILENCE_S)
            assert ready, f"it says nothing more after {shown!r}"
            try:
                part = os.read(terminal, 4096)
            except OSError:  # the end of a terminal whose program has ended
                break
            if not part:
                break
            shown += part
            if left and shown.rstrip().endswith(tuple(ending.encode() for ending in at)):
                os.write(terminal, left.pop(0).encode() + b"\n")
                shown += b"|"
    finally:
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), shown.decode()
