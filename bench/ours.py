"""BackupPeer as it is used: a signaling server, a host and an owner as separate processes, driven by the command line.

Knows: the verbs and their JSON. Must not know: the package. The host's agent makes every pack durable (fsync of file,
leaves and folders) before it acknowledges; the owner's agent syncs only its own small databases.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from meter import Meter

_COMMAND = (sys.executable, "-m", "backuppeer.cli.main")
_WAIT_S = 60


class Pair:
    """A host and an owner who have agreed."""

    name = "backup-peer"
    synced = "host: every pack before its acknowledgement; owner: own databases"

    def __init__(self, root: Path, meter: Meter) -> None:
        self._root, self._meter = root, meter
        root.mkdir(parents=True)
        self._server = subprocess.Popen(
            [*_COMMAND, "server", "--listen", "127.0.0.1:0", "--json"],
            env=self._environment("server"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        self._url = f"ws://127.0.0.1:{_read_port(self._server)}"
        for home in ("host", "owner"):
            self._run(home, "init", "--yes")
        self._run("host", "host", "--storage", "20GB", "--accept", "all", "--detach", "--yes")
        self._host = str(self._run("host", "id")["peer_id"])
        self._run("owner", "connect", self._host, "--storage", "15GB", "--name", "alice", "--yes", "--wait", "60s")
        self._watch()

    def _watch(self) -> None:
        for home in ("host", "owner"):
            self._meter.watch(home, _pids_of(self._root / home))

    def backup(self, paths: list[Path]) -> dict[str, object]:
        """Make a snapshot; returns what the command reported."""
        return self._run("owner", "backup", *map(str, paths))

    def restore(self, target: Path) -> None:
        """Restore the newest snapshot."""
        self._run("owner", "restore", "latest", "--target", str(target))

    def stored_bytes(self) -> int:
        """Return what the host keeps, by file size."""
        return tree_bytes(self._root / "host" / "store")

    def pids(self, home: str) -> list[int]:
        """Return the processes of `host` or `owner`, e.g. for a profiler."""
        return _pids_of(self._root / home)

    def close(self) -> None:
        """Stop the agents and the server, and remove everything."""
        for home in ("host", "owner"):
            self._run(home, "agent", "stop")
        self._server.terminate()
        self._server.wait()
        shutil.rmtree(self._root, ignore_errors=True)

    def _environment(self, home: str) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("BACKUPPEER_")}
        servers = {} if home == "server" else {"BACKUPPEER_SERVERS": self._url}
        return kept | servers | {"BACKUPPEER_HOME": str(self._root / home), "BACKUPPEER_BIND": "127.0.0.1"}

    def _run(self, home: str, *words: str) -> dict[str, object]:
        with subprocess.Popen(
            [*_COMMAND, *words, "--json"],
            env=self._environment(home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            self._meter.watch(f"{home} command", [process.pid])
            out, err = process.communicate()
        if process.returncode:
            raise SystemExit(f"{' '.join(words)} ended with {process.returncode}: {err.decode()[-1000:]}")
        lines = [line for line in out.splitlines() if line.startswith(b"{")]
        found: dict[str, object] = json.loads(lines[-1]) if lines else {}
        return found


def _read_port(server: "subprocess.Popen[bytes]") -> str:
    for line in server.stdout or ():
        if found := re.search(rb"127\.0\.0\.1:(\d+)", line):
            return found[1].decode()
    raise SystemExit("the signaling server did not start")


def _pids_of(home: Path) -> list[int]:
    """Return the agents of a home, which name it on their command line."""
    word, limit = os.fsencode(home), time.monotonic() + _WAIT_S
    while time.monotonic() < limit:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                is_ours = word in (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if is_ours and int(folder.name) != os.getpid():
                found.append(int(folder.name))
        if found:
            return found
        time.sleep(0.05)
    raise SystemExit(f"no agent runs for {home}")


def tree_bytes(root: Path) -> int:
    """Return the size of all files below `root`."""
    return sum(path.lstat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())
