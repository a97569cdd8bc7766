"""What users have today, from their packages: restic (to a REST server and to a folder) and borg.

Knows: their command lines. Must not know: how rows are measured. restic's REST server is rclone's, over loopback
without TLS; it does not sync. A local restic repository is synced by restic file by file; borg syncs at commits.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from meter import Meter

_WAIT_S = 20


class Restic:
    """restic, to a folder or through rclone's REST server."""

    def __init__(self, root: Path, meter: Meter, rclone: str = "") -> None:
        self.name = "restic-rest" if rclone else "restic-local"
        self.synced = "nobody" if rclone else "restic: every file of the repository"
        self._root, self._meter = root, meter
        root.mkdir(parents=True)
        self._server: subprocess.Popen[bytes] | None = None
        self._where = str(root / "repo")
        if rclone:
            self._where = self._serve(rclone)
        self._run("init")

    def _serve(self, rclone: str) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        (self._root / "repo").mkdir()
        self._server = subprocess.Popen(
            [rclone, "serve", "restic", "--addr", f"127.0.0.1:{port}", str(self._root / "repo")],
            env=os.environ | {"RCLONE_CONFIG": str(self._root / "rclone.conf")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._meter.watch("host", [self._server.pid])
        _wait_port(port)
        return f"rest:http://127.0.0.1:{port}/"

    def backup(self, paths: list[Path]) -> dict[str, object]:
        """Make a snapshot."""
        self._run("backup", "-q", *map(str, paths))
        return {}

    def restore(self, target: Path) -> None:
        """Restore the newest snapshot."""
        self._run("restore", "-q", "latest", "--target", str(target))

    def stored_bytes(self) -> int:
        """Return the size of the repository."""
        return sum(path.lstat().st_size for path in (self._root / "repo").rglob("*") if path.is_file())

    def close(self) -> None:
        """Stop the server and remove everything."""
        if self._server is not None:
            self._server.send_signal(signal.SIGTERM)
            self._server.wait()
        shutil.rmtree(self._root, ignore_errors=True)

    def _run(self, *words: str) -> None:
        environment = os.environ | {"RESTIC_PASSWORD": "bench", "RESTIC_CACHE_DIR": str(self._root / "cache")}
        _call(["restic", "-r", self._where, *words], environment, self._meter)


class Borg:
    """borg, to a local folder."""

    name = "borg-local"
    synced = "borg: segments at commit"

    def __init__(self, root: Path, meter: Meter) -> None:
        self._root, self._meter = root, meter
        root.mkdir(parents=True)
        self._count = 0
        self._run("init", "-e", "repokey-blake2", str(root / "repo"))

    def backup(self, paths: list[Path]) -> dict[str, object]:
        """Make an archive with zstd 3."""
        self._count += 1
        self._run("create", "-C", "zstd,3", f"{self._root / 'repo'}::a{self._count}", *map(str, paths))
        return {}

    def restore(self, target: Path) -> None:
        """Extract the newest archive."""
        target.mkdir()
        self._run("extract", f"{self._root / 'repo'}::a{self._count}", cwd=target)

    def stored_bytes(self) -> int:
        """Return the size of the repository."""
        return sum(path.lstat().st_size for path in (self._root / "repo").rglob("*") if path.is_file())

    def close(self) -> None:
        """Remove everything."""
        shutil.rmtree(self._root, ignore_errors=True)

    def _run(self, *words: str, cwd: Path | None = None) -> None:
        environment = os.environ | {"BORG_PASSPHRASE": "bench", "BORG_BASE_DIR": str(self._root)}
        _call(["borg", *words], environment, self._meter, cwd)


def _call(words: list[str], environment: dict[str, str], meter: Meter, cwd: Path | None = None) -> None:
    with subprocess.Popen(
        words, env=environment, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        meter.watch("owner", [process.pid])
        _, err = process.communicate()
    # restic and borg: 1 (borg) and 3 (restic) mean "done with warnings"
    if process.returncode not in {0, 1 if words[0] == "borg" else 3}:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}: {err.decode()[-1000:]}")


def _wait_port(port: int) -> None:
    limit = time.monotonic() + _WAIT_S
    while time.monotonic() < limit:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("rclone did not start")
