"""Drives the real program as separate processes: homes, a signaling server, verbs, and kills.

Everything listens on loopback at ports the kernel chose; every home is its own temporary folder, and whatever process
runs for it is found by that folder's name in its words or environment and ended when the test ends.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from e2e.leaks import Leaks
from e2e.nursery import Nursery

NURSERY = Nursery()
VERB_S = 240.0
"""A backup whose host stays away tries again for nearly two minutes; what takes twice that hangs."""
POLL_S = 0.05
Json = dict[str, object]


@dataclass(frozen=True)
class Result:
    """What one run of the command line said."""

    code: int
    stdout: str
    stderr: str

    @property
    def rows(self) -> list[Json]:
        """The array that a listing verb printed."""
        return json.loads(self.stdout)

    @property
    def events(self) -> list[Json]:
        """The lines that a working verb printed."""
        return [json.loads(line) for line in self.stdout.splitlines() if line.strip()]

    @property
    def last(self) -> Json:
        """The closing line: `done`, `error`, or the single answer."""
        return self.events[-1]

    def named_files(self) -> list[str]:
        return [str(event["path"]) for event in self.events if event.get("event") == "error-file"]


class Running:
    """A verb that goes on while the test does other things; its lines are read as they come."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._lines: list[str] = []
        self._errors: list[str] = []
        self._news = threading.Condition()
        self._threads = [
            threading.Thread(target=self._read, args=(process.stdout, self._lines), daemon=True),
            threading.Thread(target=self._read, args=(process.stderr, self._errors), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def wait_line(self, accepts: Callable[[str], bool], *, timeout_s: float = VERB_S) -> str:
        """Return the first line of output, already there or still to come, that is accepted."""

        def find() -> str | None:
            return next((line for line in self._lines if accepts(line)), None)

        with self._news:
            self._news.wait_for(lambda: find() is not None or not self._is_open(), timeout_s)
            found = find()
        assert found is not None, f"never said; it said {self._lines[-20:]} and {self._errors[-20:]}"
        return found

    def wait_event(self, name: str, *, timeout_s: float = VERB_S, **fields: object) -> Json:
        """Return the first event called `name` whose fields are as given."""

        def accepts(line: str) -> bool:
            event = json.loads(line) if line.startswith("{") else {}
            return event.get("event") == name and all(event.get(key) == value for key, value in fields.items())

        return json.loads(self.wait_line(accepts, timeout_s=timeout_s))

    def wait(self, *, timeout_s: float = VERB_S) -> Result:
        """Return what it said once it has ended."""
        code = self.process.wait(timeout_s)
        for thread in self._threads:
            thread.join(timeout_s)
        return Result(code, "\n".join(self._lines), "\n".join(self._errors))

    def lines(self) -> list[str]:
        """Return what it has said on standard output."""
        return list(self._lines)

    def end(self) -> None:
        """Ask it to end, insist after a while, and let go of its pipes."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for thread in self._threads:
            thread.join(10)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def _is_open(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _read(self, pipe: Iterator[bytes], into: list[str]) -> None:
        for line in pipe:
            with self._news:
                into.append(line.decode().rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()


@dataclass
class Home:
    """One peer: its folder and the commands run there."""

    path: Path
    servers: str
    prefix: tuple[str, ...] = ()
    """Words before the command, e.g. `setpriv …`."""
    running: list[Running] = field(default_factory=list)
    known_id: str = ""
    """Of the identity made here, where the test needs no verb to tell it."""
    paths: str = ""
    """PYTHONPATH of all its processes."""
    leaks: Leaks = field(default_factory=Leaks)

    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("BACKUPPEER_")}
        return kept | {
            "BACKUPPEER_HOME": str(self.path),
            "BACKUPPEER_SERVERS": self.servers,
            "BACKUPPEER_BIND": "127.0.0.1",
            "PYTHONUTF8": "1",
            **({"PYTHONPATH": self.paths} if self.paths else {}),
        }

    def start(self, *words: str | bytes, stdin: str = "") -> Running:
        """Run a verb with --json and go on at once; standard input ends after what is given."""
        process = subprocess.Popen(
            self._command(words),
            env=self.environment(),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        if process.stdin is not None:
            process.stdin.write(stdin.encode())
            process.stdin.close()
        self.running.append(Running(process))
        return self.running[-1]

    def run(self, *words: str | bytes, stdin: str = "", timeout_s: float = VERB_S) -> Result:
        """Run a verb with --json to its end, whatever that is; standard input is never a terminal."""
        result = self._run(words, stdin, timeout_s)
        self.leaks.hear_typed(stdin)
        self.leaks.hear(result.stdout.splitlines())
        return result

    def _run(self, words: Sequence[str | bytes], stdin: str, timeout_s: float) -> Result:
        environment, given = self.environment(), stdin.encode()
        if not self.prefix and NURSERY.fits(environment, given):
            code, said, told = NURSERY.run(("--json", *words), environment, given, timeout_s)
            return Result(code, said.decode(), told.decode())
        done = subprocess.run(
            self._command(words), env=environment, input=given, capture_output=True, timeout=timeout_s, check=False
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    def do(self, *words: str | bytes, stdin: str = "", timeout_s: float = VERB_S) -> Result:
        """Run a verb that must end well."""
        result = self.run(*words, stdin=stdin, timeout_s=timeout_s)
        assert result.code == 0, f"{words} ended with {result.code}: {result.stdout[-2000:]} {result.stderr[-2000:]}"
        return result

    def peer_id(self) -> str:
        return self.known_id or str(self.do("id").last["peer_id"])

    def agent_pids(self) -> list[int]:
        """The processes that work for this home, but for commands this test started itself."""
        ours = {running.process.pid for running in self.running}
        return [pid for pid in pids_naming(self.path) if pid not in ours]

    def kill_agent(self) -> None:
        """`kill -9`, as a power cut would, and wait until the kernel has forgotten it."""
        pids = self.agent_pids()
        assert pids, "no agent runs"
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.agent_pids(), "the killed agent to be gone")

    def close(self) -> None:
        for running in self.running:
            running.end()
            self.leaks.hear(running.lines())
        # Not `agent stop`: that takes a second of processor time, and tests of it are elsewhere.
        for pid in self.agent_pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.agent_pids(), "the agent to be gone")

    def _command(self, words: Sequence[str | bytes]) -> list[str | bytes]:
        return [*self.prefix, sys.executable, "-m", "backuppeer.cli.main", "--json", *words]


class World:
    """The folders and processes of one test."""

    def __init__(self) -> None:
        # short, since a Unix socket's path may have 107 bytes
        self.path = Path(tempfile.mkdtemp(prefix="bp-", dir=os.environ.get("BACKUPPEER_TESTS_DISK")))
        self._homes: list[Home] = []
        self._servers: list[Running] = []
        self.servers = ""
        self.leaks = Leaks()
        self.paths = ""
        """PYTHONPATH of the processes of all homes and servers made from now on."""

    def home(self, name: str, *, servers: str | None = None, prefix: tuple[str, ...] = ()) -> Home:
        """Make a home without identity; it uses this world's server unless told otherwise."""
        where = self.servers if servers is None else servers
        made = Home(self.path / name, where, prefix, paths=self.paths, leaks=self.leaks)
        self._homes.append(made)
        return made

    def peer(self, name: str, *, servers: str | None = None, prefix: tuple[str, ...] = ()) -> tuple[Home, str]:
        """Make a home with a new identity; return it and its 24 words."""
        made = self.home(name, servers=servers, prefix=prefix)
        done = made.do("init", "--yes").last
        made.known_id = str(done["peer_id"])
        return made, str(done["words"])

    def start_server(self, *, data: Path | None = None, port: int = 0, origin: str = "") -> Running:
        """Start a signaling server; homes made from now on use it. `data`: where it keeps notes. origin: see there."""
        kept = (*(("--data", str(data)) if data else ()), *(("--origin", origin) if origin else ()))
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "backuppeer.cli.main", "server", "--listen", f"127.0.0.1:{port}"),
                *("--stamp-bits", "1"),  # the road is the same, the work is not what is tested
                *(*kept, "--json"),
            ],
            env=Home(self.path / "server", "", paths=self.paths).environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        server = Running(process)
        self._servers.append(server)
        bound = find_port(server.wait_line(lambda line: find_port(line) is not None))
        self.servers = f"ws://127.0.0.1:{bound}"
        return server

    def restart_server(self, server: Running, *, data: Path | None = None) -> Running:
        """End the server that was started last, by a kill, and start another one in its place."""
        server.process.kill()
        server.process.wait()
        return self.start_server(data=data, port=int(self.servers.rpartition(":")[2]))

    def close(self) -> None:
        for home in self._homes:
            home.close()
        for server in self._servers:
            server.end()
        leaked = self.leaks.find(self.path)
        shutil.rmtree(self.path, ignore_errors=True)
        assert leaked == [], "a log has what it must not have"


def find_port(line: str) -> int | None:
    """Return the port of 127.0.0.1 that a line of output names."""
    found = re.search(r"127\.0\.0\.1:(\d+)", line)
    return int(found[1]) if found else None


def wait_until(holds: Callable[[], object], what: str, *, timeout_s: float = 60.0) -> None:
    """Return once `holds()` is true: for states that no process announces to a test."""
    limit, pause = time.monotonic() + timeout_s, threading.Event()
    while not holds():
        assert time.monotonic() < limit, f"waited {timeout_s:.0f} s for {what}"
        pause.wait(POLL_S)


def pids_naming(home: Path) -> list[int]:
    """Return the living processes that have `home` as a word of their command line or in their environment."""
    word, found = os.fsencode(home), []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            is_ghost = (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
            words = (folder / "cmdline").read_bytes().split(b"\0") + (folder / "environ").read_bytes().split(b"\0")
            if {word, b"BACKUPPEER_HOME=" + word} & set(words) and not is_ghost:
                found.append(int(folder.name))
    return found


def open_inodes(pids: Sequence[int]) -> set[str]:
    """Return the socket inodes that these processes hold."""
    found = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                target = link.readlink().name
                found.add(target.removeprefix("socket:[").rstrip("]"))
    return found


def unix_sockets(pids: Sequence[int]) -> list[str]:
    """Return the paths of the Unix sockets that these processes listen on."""
    inodes = open_inodes(pids)
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return sorted({row[7] for row in rows if len(row) > 7 and row[6] in inodes and not row[7].startswith("@")})


def udp_ports(pids: Sequence[int]) -> list[int]:
    """Return the UDP ports at 127.0.0.1 that these processes have bound."""
    inodes = open_inodes(pids)
    rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    return [int(row[1].split(":")[1], 16) for row in rows if row[9] in inodes]


def agree(
    world: World, *, storage: str = "500MB", offer: str = "1GB", store: Path | None = None, lock: str = "30d"
) -> "Pair":
    """Bring up a server, a host with a slot and an owner, and let the two agree, the host accepting by hand."""
    if not world.servers:
        world.start_server()
    host, _ = world.peer("host")
    owner, words = world.peer("owner")
    where = ("--store", str(store)) if store else ()
    host.do("host", "--storage", offer, "--lock", lock, "--accept", "ask", "--detach", "--yes", *where)
    name = host.peer_id()
    wait_until(lambda: [row for row in owner.do("browse").rows if row["peer_id"] == name], "the offer to be listed")
    connecting = owner.start("connect", name, "--storage", storage, "--name", "alice", "--yes", "--wait", "60s")
    connecting.wait_event("state", state="waiting")
    asked = wait_request(host)
    accepted = host.do("requests", "accept", str(asked["request_id"]))
    connected = connecting.wait()
    assert connected.code == 0, connected
    return Pair(host, owner, words, name, asked, accepted.last, connected.last)


class Street:
    """A server and a host that owners of many tests share: none of them harms it, or counts what it has in all."""

    OWNERS = 30
    """Who settles later wants another street."""

    def __init__(self) -> None:
        self.world, self.owners = World(), 0
        self.world.start_server()
        self.host, _ = self.world.peer("host")
        self.host.do("host", "--storage", "5GB", "--accept", "all", "--detach", "--yes")

    def settle(self, world: World) -> "Pair":
        """Make an owner in a test's own world who has agreed with the host here."""
        self.owners += 1
        world.servers = self.world.servers
        owner, words = world.peer("owner")
        name = self.host.peer_id()
        connected = owner.do("connect", name, "--storage", "150MB", "--name", "alice", "--yes", "--wait", "60s")
        return Pair(self.host, owner, words, name, {}, {}, connected.last)


@dataclass(frozen=True)
class Pair:
    """A host and an owner who have agreed, and what each of them was told."""

    host: Home
    owner: Home
    words: str
    host_id: str
    asked: Json
    """The request as the host saw it before accepting."""
    accepted: Json
    connected: Json

    def packs(self, store: Path | None = None) -> list[Path]:
        """The packs that the host keeps, largest first."""
        sizes = self._sizes(store)
        return sorted(sizes, key=lambda path: (-sizes[path], path.name))

    def stored_bytes(self) -> int:
        """The size of them all; the host may erase some meanwhile."""
        return sum(self._sizes(None).values())

    def _sizes(self, store: Path | None) -> dict[Path, int]:
        root, found = (store or self.host.path / "store") / "agreements", {}
        for path in root.glob("*/packs/*/*"):
            with contextlib.suppress(FileNotFoundError):
                if path.suffix != ".leaves" and path.is_file():
                    found[path] = path.stat().st_size
        return found


def wait_request(host: Home) -> Json:
    """Return the first request from outside that waits for this host's answer."""
    found: list[Json] = []

    def look() -> bool:
        rows = host.do("requests").rows
        found[:] = [row for row in rows if row["direction"] == "in" and row["state"] == "waiting"]
        return bool(found)

    wait_until(look, "the request to arrive")
    return found[0]


def below(target: Path, source: Path) -> Path:
    """Return where `restore --target` puts `source`: the absolute path is kept below the target."""
    return target / source.relative_to("/")


def describe_tree(root: Path) -> dict[bytes, tuple[object, ...]]:
    """Return everything that a restore must bring back of each entry below and including `root`, by relative name."""
    found = {b".": _describe(root)}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            found[os.fsencode(path.relative_to(root))] = _describe(path)
    return found


def _describe(path: Path) -> tuple[object, ...]:
    seen = path.lstat()
    if stat.S_ISLNK(seen.st_mode):
        content = os.fsencode(path.readlink())
    elif stat.S_ISREG(seen.st_mode):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").digest()
    else:
        content = b""
    return stat.S_IFMT(seen.st_mode), stat.S_IMODE(seen.st_mode), seen.st_mtime_ns, seen.st_uid, seen.st_gid, content


def holds_any(folder: Path, needles: Sequence[bytes]) -> list[str]:
    """Return the names of files below `folder` whose bytes or name hold one of `needles`."""
    found = []
    for path in folder.rglob("*"):
        data = os.fsencode(path) + (path.read_bytes() if path.is_file() else b"")
        found += [f"{path}: {needle!r}" for needle in needles if needle in data]
    return found
