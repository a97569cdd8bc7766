"""One command of a program under measurement: run, watched to its last tick, its failure told.

Knows: processes. Must not know: which program. Its output goes to files: a full pipe would stop it.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from meter import Meter

_WAIT_S = 20
_WORDS_SHOWN = 1000


def run_command(
    words: Sequence[str],
    environment: Mapping[str, str],
    meter: Meter,
    *,
    group: str = "owner",
    cwd: Path | None = None,
    allowed: frozenset[int] = frozenset((0,)),
    said: bytes = b"",
) -> bytes:
    """Run a command, counted to `group`, that reads what is `said`; return its standard output.

    Raises:
        SystemExit: it ended with a code that is not allowed; its last words are in the message.

    """
    with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        told.write(said)
        told.seek(0)
        process = subprocess.Popen(words, env=environment, cwd=cwd, stdin=told, stdout=out, stderr=err)
        try:
            meter.watch(group, [process.pid])
            # Ended but not reaped, it still tells its processor time.
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            meter.sample()
        except BaseException:
            process.kill()
            raise
        finally:
            process.wait()
        out.seek(0)
        err.seek(0)
        if process.returncode not in allowed:
            last = (err.read() + out.read())[-_WORDS_SHOWN:].decode(errors="replace")
            raise SystemExit(f"{' '.join(words)} ended with {process.returncode}: {last}")
        return out.read()


def find_port() -> int:
    """Return a port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Return once somebody listens there.

    Raises:
        SystemExit: the process that should has ended, or takes too long.

    """
    limit = time.monotonic() + _WAIT_S
    while time.monotonic() < limit and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"{process.args!r} did not start")


def tree_bytes(root: Path) -> int:
    """Return the size of all regular files below `root`."""
    found = 0
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                found += path.stat().st_size
    return found


def remove_tree(root: Path) -> None:
    """Remove a folder that the benchmark made itself, as far as it can be."""
    shutil.rmtree(root, ignore_errors=True)
