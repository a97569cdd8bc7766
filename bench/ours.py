"""BackupPeer as it is used: a signaling server, a host and an owner as separate processes, driven by the command line.

Knows: the verbs and their JSON. Must not know: the package. The host's agent makes every pack durable (fsync of file,
leaves and folders) before it acknowledges; the owner's agent syncs only its own small databases.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from meter import Meter
from peer import LEVEL, Report
from process import run_command, tree_bytes

COMMAND = (sys.executable, "-m", "backuppeer.cli.main")
_QUIC_AGENT = Path(__file__).resolve().parent / "quic_agent.py"
_WAIT_S = 60


class Pair:
    """A host and an owner who have agreed. `is_quic_only`: their agents make no lanes."""

    synced = "the host: every pack, before it acknowledges it; the owner: its own databases"
    can_restore = True
    homes: tuple[str, ...] = ("host", "owner")
    listen = "127.0.0.1:0"
    """Where the signaling server is."""
    bind = "127.0.0.1"
    """Where agents listen; empty: on all interfaces."""

    def __init__(self, root: Path, meter: Meter, *, is_quic_only: bool = False) -> None:
        self.name = "backup-peer-quic" if is_quic_only else "backup-peer"
        self.root, self._meter, self._is_quic_only = root, meter, is_quic_only
        root.mkdir(parents=True)
        self._server = subprocess.Popen(
            [*self.prefix("server"), *COMMAND, "server", "--listen", self.listen, "--stamp-bits", "0", "--json"],
            env=self._environment("server"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is ours: they are ended in order
        )
        self._url = ""
        self._agents: list[subprocess.Popen[bytes]] = []
        try:
            self._introduce()
        except BaseException:
            self.close()
            raise

    def _introduce(self) -> None:
        self._url = f"ws://{_read_address(self._server, self.listen.partition(':')[0])}"
        self.run("host", "init", "--yes")
        self.words = str(self.run("owner", "init", "--yes")["words"])
        self.run("host", "host", "--storage", "20GB", "--accept", "all", "--detach", "--yes")
        host = str(self.run("host", "id")["peer_id"])
        self.run("owner", "connect", host, "--storage", "15GB", "--name", "alice", "--yes", "--wait", "60s")
        # Rows of 2 GiB and more: what a stranger may have at first would end them.
        self.run("owner", "peers", "set", "alice", "--cap", "none")
        if self._is_quic_only:
            for home in ("host", "owner"):
                self._replace_agent(home)
        for home in ("host", "owner"):
            # The commands that ran until now are not part of any row.
            self._meter.forget(home)
            self._meter.watch(home, pids_of(self.root / home))

    def _replace_agent(self, home: str) -> None:
        self.run(home, "agent", "stop")
        told, tell = os.pipe()
        words = [
            *self.prefix(home),
            sys.executable,
            str(_QUIC_AGENT),
            "--home",
            str(self.root / home),
            "--tell",
            str(tell),
        ]
        environment = self._environment(home)
        agent = subprocess.Popen(
            words, env=environment, stdin=subprocess.DEVNULL, pass_fds=(tell,), start_new_session=True
        )
        self._agents.append(agent)
        os.close(tell)
        with os.fdopen(told, "rb") as pipe:
            # It closes its end once it serves, and says why if it can't.
            if said := pipe.read():
                raise SystemExit(f"the agent of {home} did not start: {said.decode()}")

    def backup(self, paths: list[Path]) -> Report:
        """Make a snapshot."""
        done = self.run("owner", "backup", "--level", str(LEVEL), *map(str, paths))
        self._check_lanes()
        return Report(sent_bytes=int(str(done["sent_bytes"])), plain_bytes=int(str(done["new_bytes"])))

    def restore(self, target: Path) -> None:
        """Restore the newest snapshot."""
        self.run("owner", "restore", "latest", "--target", str(target))
        self._check_lanes()

    def stored_bytes(self) -> int:
        """Return what the host keeps, by file size."""
        return tree_bytes(self.root / "host" / "store")

    def close(self) -> None:
        """Stop the agents and the server."""
        for home in self.homes:
            if (self.root / home).exists():
                self.run(home, "agent", "stop")
        for agent in self._agents:
            agent.wait()
        self._server.terminate()
        self._server.wait()

    def prefix(self, home: str) -> tuple[str, ...]:  # noqa: ARG002 - a base class that knows one network
        """Return the words before each command of a home, and of the `server`."""
        return ()

    def list_logged(self, home: str, event: str) -> list[dict[str, Any]]:
        """Return what the agents of a home logged of an event, each with its fields."""
        logs = sorted((self.root / home / "logs").glob("agent.log*"))
        lines = [json.loads(line) for log in logs for line in log.read_bytes().splitlines()]
        return [line for line in lines if line.get("event") == event]

    def _check_lanes(self) -> None:
        for home in self.homes if self._is_quic_only else ():
            if self.list_logged(home, "lane opened"):
                raise SystemExit(f"{self.name}: a lane was opened, so this was not QUIC only; see the log of {home}")

    def _environment(self, home: str) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("BACKUPPEER_")}
        servers = {} if home == "server" else {"BACKUPPEER_SERVERS": self._url}
        bind = {"BACKUPPEER_BIND": self.bind} if self.bind else {}
        return kept | servers | bind | {"BACKUPPEER_HOME": str(self.root / home)}

    def run(self, home: str, *words: str, said: str = "") -> dict[str, object]:
        """Run a verb in a home, counted to it; return the last line of its JSON."""
        lines = [line for line in self._ask(home, *words, said=said).splitlines() if line.startswith(b"{")]
        found: dict[str, object] = json.loads(lines[-1]) if lines else {}
        return found

    def list_rows(self, home: str, verb: str) -> list[dict[str, object]]:
        """Return what a verb lists."""
        rows: list[dict[str, object]] = json.loads(self._ask(home, verb))
        return rows

    def _ask(self, home: str, *words: str, said: str = "") -> bytes:
        command = (*self.prefix(home), *COMMAND, *words, "--json")
        return run_command(command, self._environment(home), self._meter, group=home, said=said.encode())


def _read_address(server: "subprocess.Popen[bytes]", host: str) -> str:
    """Return the host and port that a server says it listens on."""
    for line in server.stdout or ():
        if found := re.search(rf"{re.escape(host)}:\d+".encode(), line):
            return found[0].decode()
    raise SystemExit("the signaling server did not start")


def pids_of(home: Path) -> list[int]:
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
