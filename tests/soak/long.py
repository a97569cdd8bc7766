"""Two agents and a server as they are used, for as long as is asked: a backup each minute, and all three are killed.

    cd tests && python -m soak.long [--minutes 30] [--every 60] [--seed 1] [--json FILE]

Kills (SIGKILL, as a power cut would) come at random moments, half of them while a backup runs. The host's agent and the
server are started again after some seconds, as a service would; the owner's is by the next command. The last quarter
goes without kills, and with HURRY times as many backups: in it memory and open files must stay as they are. At the end
every snapshot that a command said was made is restored and compared, and everything is checked. Exit 1: something was
lost, or wrong, or grew.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from e2e.harness import Home, Pair, Running, World, agree, below, describe_tree, wait_until
from soak.growth import Sample, find_growth, find_slope, sample

ROLES: Final = ("owner", "host", "server")
QUIET_SHARE: Final = 0.25
HURRY: Final = 4
"""How many times as often backups are made in that quarter: memory tells after twenty of them."""
MOST_BYTES: Final = 130_000_000
MOST_GROWTH_BYTES: Final = 12_000_000
MOST_GROWTH_FILES: Final = 4
EXPECTED: Final = (0, 11, 14, 130)
"""Of a backup while its host or the server is killed: done, unreachable, no server, interrupted."""
AGENT_ENDED: Final = "the agent ended during backup"
"""And while its own agent is killed, with code 1."""
LEAST_FILES: Final = 20
Tree = dict[bytes, tuple[object, ...]]


@dataclass
class Log:
    """What happened. `trees`: what each snapshot must give back."""

    trees: dict[str, Tree] = field(default_factory=dict)
    codes: Counter[int] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)
    restored: int = 0
    failed_in_a_row: int = 0
    most_failed_in_a_row: int = 0
    wrong: list[str] = field(default_factory=list)


class Soak:
    """One run: the world, who is killed when, what came of it."""

    def __init__(self, minutes: float, every_s: float, seed: int) -> None:
        self._rng = random.Random(seed)
        self._ends_s = time.monotonic() + minutes * 60
        self._quiet_s = self._ends_s - minutes * 60 * QUIET_SHARE
        self._every_s = every_s
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.log = Log()
        self._world = World()
        self._server: Running = self._world.start_server()
        self._pair: Pair = agree(self._world, storage="2GB", offer="4GB")
        self._files = self._world.path / "files"
        self._files.mkdir()
        self._born: dict[int, float] = {}

    def run(self) -> None:
        """Do it all; the log tells."""
        threads = [threading.Thread(target=work) for work in (self._look, self._kill)]
        for thread in threads:
            thread.start()
        try:
            while time.monotonic() < self._ends_s:
                began = time.monotonic()
                self._change()
                self._back_up()
                pause_s = self._every_s / (1 if began < self._quiet_s else HURRY)
                self._over.wait(max(0.0, pause_s - (time.monotonic() - began)))
        finally:
            self._over.set()
            for thread in threads:
                thread.join()
        self._restore_all()

    def close(self) -> None:
        self._world.close()

    # --- the work
    def _change(self) -> None:
        """Add some files, rewrite some, remove one."""
        for _ in range(self._rng.randint(1, 10)):
            path = self._files / f"{self._rng.randrange(8)}" / f"{self._rng.randrange(30)}.bin"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(self._rng.randbytes(self._rng.choice((0, 100, 40_000, 900_000))))
        files = sorted(path for path in self._files.rglob("*") if path.is_file())
        if len(files) > LEAST_FILES:
            self._rng.choice(files).unlink()

    def _back_up(self) -> None:
        tree = describe_tree(self._files)
        done = self._pair.owner.run("backup", str(self._files))
        self.log.codes[done.code] += 1
        if done.code == 0:
            self.log.trees[str(done.last["snapshot"])] = tree
            self.log.failed_in_a_row = 0
            return
        self.log.failed_in_a_row += 1
        self.log.most_failed_in_a_row = max(self.log.failed_in_a_row, self.log.most_failed_in_a_row)
        if done.code not in EXPECTED and AGENT_ENDED not in done.stderr:
            self.log.wrong.append(f"a backup ended with {done.code}: {done.stdout[-500:]} {done.stderr[-500:]}")

    # --- bad luck
    def _kill(self) -> None:
        """Kill one of the three now and then, until the last quarter."""
        while True:
            # Backups take a small part of a minute: half of the kills wait until one is under way.
            pause_s = self._rng.uniform(0.3, 1.7) * self._every_s
            if self._over.wait(pause_s) or time.monotonic() > self._quiet_s:
                return
            role = self._rng.choice(ROLES)
            if self._rng.random() < 0.5:
                self._await_backup()
            with self._lock:
                self._kill_one(role)

    def _await_backup(self) -> None:
        begun = sum(self.log.codes.values())
        limit_s = time.monotonic() + 2 * self._every_s
        while sum(self.log.codes.values()) == begun and time.monotonic() < limit_s and not self._over.is_set():
            self._over.wait(0.02)  # one has just ended: the next begins when the minute is over
        self._over.wait(self._every_s * 0.9 + self._rng.uniform(0.0, self._every_s * 0.2))

    def _kill_one(self, role: str) -> None:
        pids = self._pids(role)
        if not pids:
            return
        self.log.kills[role] += 1
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} kill -9 {role}\n")
        if role == "server":
            self._server.process.kill()
            self._server.process.wait()
            self._over.wait(self._rng.uniform(0, 5))
            port = int(self._world.servers.rpartition(":")[2])
            self._server = self._world.start_server(port=port)
            return
        home = self._home(role)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self._pids(role), "the killed agent to be gone")
        if role == "host":
            self._over.wait(self._rng.uniform(0, 5))
            home.do("agent", "start")

    def _home(self, role: str) -> Home:
        return self._pair.owner if role == "owner" else self._pair.host

    def _pids(self, role: str) -> list[int]:
        """Return the processes of a role; of an agent the agent alone, not commands that work in its home."""
        if role == "server":
            return [self._server.process.pid] if self._server.process.poll() is None else []
        return [pid for pid in self._home(role).agent_pids() if b"backuppeer.cli.serve" in read_words(pid)]

    # --- what is looked at
    def _look(self) -> None:
        while not self._over.wait(5):
            if not self._lock.acquire(blocking=False):
                continue  # one is being killed
            try:
                for role in ROLES:
                    for pid in self._pids(role):
                        born = self._born.setdefault(pid, time.monotonic())
                        found = sample(role, pid, time.monotonic() - born)
                        self.log.samples += [found] if found else []
            finally:
                self._lock.release()

    def _restore_all(self) -> None:
        for snapshot, tree in self.log.trees.items():
            target = self._world.path / "out"
            done = self._pair.owner.run("restore", snapshot, "--target", str(target))
            found = describe_tree(below(target, self._files)) if done.code == 0 else {}
            self.log.restored += found == tree
            if found != tree:
                self.log.wrong.append(f"snapshot {snapshot[:8]} did not come back: {done.code} {done.stderr[-300:]}")
            shutil.rmtree(target, ignore_errors=True)
        checked = self._pair.owner.run("check", "--read-data")
        if checked.code:
            self.log.wrong.append(f"check ended with {checked.code}: {checked.stdout[-500:]} {checked.stderr[-500:]}")
        for role in ("owner", "host"):
            self.log.wrong += [f"{role}: {line[:500]}" for line in self._faults(role)]

    def _faults(self, role: str) -> list[str]:
        """Return what an agent's log says of faults of its own."""
        logs = (self._home(role).path / "logs").glob("agent.log*")
        return [line for log in logs for line in log.read_text().splitlines() if '"unexpected error"' in line]


def read_words(pid: int) -> list[bytes]:
    """Return the command line of a process; nothing of one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _judge(role: str, samples: Sequence[Sample]) -> tuple[dict[str, object], list[str]]:
    """Return what processes of a role took, and what of it is too much."""
    lives: dict[int, list[Sample]] = {}
    for each in samples:
        lives.setdefault(each.pid, []).append(each)
    memory = [[(each.age_s, float(each.memory_bytes)) for each in life] for life in lives.values()]
    files = [[(each.age_s, float(each.files)) for each in life] for life in lives.values()]
    # The last life is the one without kills at its end.
    grown = [find_growth(kind[-1]) if kind else None for kind in (memory, files)]
    peak = max((each.memory_bytes for each in samples), default=0)
    wrong = [
        f"{role} grew by {grew} {what} in its last life, {most} at most are allowed"
        for grew, most, what in zip(grown, (MOST_GROWTH_BYTES, MOST_GROWTH_FILES), ("bytes", "files"), strict=True)
        if grew is None or grew > most
    ]
    if peak > MOST_BYTES:
        wrong.append(f"{role} had {peak / 1e6:.0f} MB, {MOST_BYTES / 1e6:.0f} at most are allowed")
    return {
        "lives": len(lives),
        "memory_bytes_per_hour": find_slope(memory),
        "files_per_hour": find_slope(files),
        "memory_grown_bytes": grown[0],
        "files_grown": grown[1],
        "memory_most_bytes": peak,
        "files_most": max((each.files for each in samples), default=0),
    }, wrong


def summarise(log: Log) -> dict[str, object]:
    """Return the figures as JSON; `wrong`: what should not have been."""
    judged = {role: _judge(role, [each for each in log.samples if each.role == role]) for role in ROLES}
    wrong = log.wrong + [words for _, said in judged.values() for words in said]
    if not log.trees:
        wrong.append("no backup was made")
    return {
        "backups": {str(code): count for code, count in sorted(log.codes.items())},
        "most_failed_in_a_row": log.most_failed_in_a_row,
        "kills": dict(log.kills),
        "snapshots": len(log.trees),
        "restored": log.restored,
        "growth": {role: figures for role, (figures, _) in judged.items()},
        "wrong": wrong,
    }


def main() -> int:
    """Soak; print what came of it; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=30, help="how long (default: %(default)s)")
    parser.add_argument("--every", type=float, default=60, help="seconds between two backups (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of what is written and killed (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args()
    soak = Soak(given.minutes, given.every, given.seed)
    try:
        soak.run()
        found = {"minutes": given.minutes, "every_s": given.every, "seed": given.seed, **summarise(soak.log)}
    finally:
        soak.close()
    text = json.dumps(found, indent=2)
    sys.stdout.write(text + "\n")
    if given.json:
        given.json.write_text(text + "\n")
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
