"""What users have today, from their packages: restic (to a REST server and to a folder) and borg.

Knows: their command lines. Must not know: how rows are measured. restic's REST server is rclone's, over loopback
without TLS. borg compresses at the level of BackupPeer, restic with `auto`, its default.
"""

import json
import os
import signal
import subprocess
from pathlib import Path

from meter import Meter
from peer import LEVEL, Report
from process import find_port, run_command, tree_bytes, wait_port


class Restic:
    """restic, to a folder or through rclone's REST server."""

    can_restore = True

    def __init__(self, root: Path, meter: Meter, rclone: str = "") -> None:
        self.name = "restic-rest" if rclone else "restic-local"
        self.synced = (
            "nothing; the REST server leaves it to the system" if rclone else "restic: each file of the repository"
        )
        self._root, self._meter = root, meter
        root.mkdir(parents=True)
        self._server: subprocess.Popen[bytes] | None = None
        self._where = str(root / "repo")
        if rclone:
            self._where = self._serve(rclone)
        self._run("init")

    def _serve(self, rclone: str) -> str:
        port = find_port()
        (self._root / "repo").mkdir()
        self._server = subprocess.Popen(
            [rclone, "serve", "restic", "--addr", f"127.0.0.1:{port}", str(self._root / "repo")],
            env=os.environ | {"RCLONE_CONFIG": str(self._root / "rclone.conf")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._meter.watch("host", [self._server.pid])
        wait_port(port, self._server)
        return f"rest:http://127.0.0.1:{port}/"

    def backup(self, paths: list[Path]) -> Report:
        """Make a snapshot."""
        before = self._received()
        summary = json.loads(self._run("backup", "-q", "--json", *map(str, paths)).splitlines()[-1])
        sent = None if self._server is None else self._received() - before
        return Report(sent_bytes=sent, plain_bytes=summary["data_added"])

    def restore(self, target: Path) -> None:
        """Restore the newest snapshot; this version of restic knows no holes."""
        self._run("restore", "-q", "latest", "--target", str(target))

    def stored_bytes(self) -> int:
        """Return the size of the repository."""
        return tree_bytes(self._root / "repo")

    def close(self) -> None:
        """Stop the server."""
        if self._server is not None:
            self._server.send_signal(signal.SIGTERM)
            self._server.wait()

    def _received(self) -> int:
        """Return what the server has read until now: sockets, and a few listings of its folder (proc(5), io)."""
        if self._server is None:
            return 0
        lines = Path(f"/proc/{self._server.pid}/io").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("rchar:")).split()[1])

    def _run(self, *words: str) -> bytes:
        environment = os.environ | {"RESTIC_PASSWORD": "bench", "RESTIC_CACHE_DIR": str(self._root / "cache")}
        # 3: done, but some files could not be read
        return run_command(["restic", "-r", self._where, *words], environment, self._meter, allowed=frozenset((0, 3)))


class Borg:
    """borg, to a local folder."""

    name = "borg-local"
    synced = "borg: each segment file"
    can_restore = True

    def __init__(self, root: Path, meter: Meter) -> None:
        self._root, self._meter = root, meter
        root.mkdir(parents=True)
        self._count = 0
        self._run("init", "-e", "repokey-blake2", str(root / "repo"))

    def backup(self, paths: list[Path]) -> Report:
        """Make an archive."""
        self._count += 1
        self._run("create", "-C", f"zstd,{LEVEL}", f"{self._root / 'repo'}::a{self._count}", *map(str, paths))
        return Report()

    def restore(self, target: Path) -> None:
        """Extract the newest archive, holes as holes."""
        target.mkdir()
        self._run("extract", "--sparse", f"{self._root / 'repo'}::a{self._count}", cwd=target)

    def stored_bytes(self) -> int:
        """Return the size of the repository."""
        return tree_bytes(self._root / "repo")

    def close(self) -> None:
        """Nothing runs."""

    def _run(self, *words: str, cwd: Path | None = None) -> None:
        environment = os.environ | {"BORG_PASSPHRASE": "bench", "BORG_BASE_DIR": str(self._root)}
        # 1: done with warnings
        run_command(["borg", *words], environment, self._meter, cwd=cwd, allowed=frozenset((0, 1)))
