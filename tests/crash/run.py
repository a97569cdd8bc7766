"""Interrupts a job at many points and examines what is left: `make crash [POINTS=300] [SIDE=owner|host] [JOB=prune]`.

For each point the scene is copied afresh, a process performs the job in it and is interrupted, and another one
examines what it left. All of them are forks of this one, which has no threads and opens nothing of the scene.
"""

import argparse
import asyncio
import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from backuppeer.errors import BackupPeerError
from backuppeer.limits import GIB
from crash.injector import Injector, Mishap
from crash.pruning import PruneScene
from crash.world import Acknowledged, Scene, hurry

SIDES = ("owner", "host")
JOBS = {"backup": Scene, "prune": PruneScene}
FATAL = (Mishap.KILL, Mishap.POWER)
REFUSING = (Mishap.FULL, Mishap.QUOTA, Mishap.FAULTY)
ROOM_BYTES = 4 * GIB
TOLD_EVERY = 50
THOROUGH = 4
"""At each fourth point the owner also loses its databases, and must get everything from the host."""
REBUILT = ("index.db", "ledger.db", "trees.db", "catalogue.db")
"""Databases with `synchronous=NORMAL`: a power cut may take all that stands in their logs."""


@dataclass(frozen=True)
class Point:
    """Where what goes wrong."""

    side: str
    mishap: Mishap
    at: int
    kind: str

    def __str__(self) -> str:
        return f"{self.side}, {self.mishap}, point {self.at} ({self.kind})"


@dataclass
class Tally:
    """What came of the points."""

    ends: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def fork(work: Callable[[Callable[[str], None]], None]) -> tuple[list[str], int]:
    """Run `work` in a process of its own; return the lines that it said, and its signal or exit code."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        _end_with(work, writer)
    os.close(writer)
    with os.fdopen(reader) as lines:
        said = [line.rstrip("\n") for line in lines]
    _, status = os.waitpid(child, 0)
    return said, os.waitstatus_to_exitcode(status)


def _end_with(work: Callable[[Callable[[str], None]], None], writer: int) -> None:
    """Do the work in the child; never return to the parent's code."""
    write, code = os.write, 0

    def say(line: str) -> None:
        write(writer, (line + "\n").encode())

    try:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        work(say)
    except BaseException:  # noqa: BLE001 - a process's end, told to the parent
        say("broke " + json.dumps(traceback.format_exc()))
        code = 1
    finally:
        os._exit(code)


class Theatre:
    """The scene and its image; one point after the other."""

    def __init__(self, folder: Path, scene: type[Scene]) -> None:
        self._image, self._scene = folder / "image", scene(folder / "scene")
        self._scene.base.mkdir()
        said, code = fork(lambda say: say("made " + asyncio.run(self._scene.establish())))
        assert code == 0, said
        self._first = said[-1].split()[1]
        shutil.copytree(self._scene.base, self._image, symlinks=True)

    def count(self, side: str) -> list[str]:
        """Return the kind of every point of a side, in one undisturbed run."""
        said, code = self._perform(Injector(self._scene.roots(side), self._scene.aside))
        assert code == 0, said
        return json.loads(said[-1].removeprefix("points "))

    def play(self, point: Point, tally: Tally, *, thorough: bool) -> None:
        """Perform, interrupted at the point, and examine; what is wrong goes into the tally."""
        injector = Injector(self._scene.roots(point.side), self._scene.aside, point.mishap, point.at)
        said, code = self._perform(injector)
        tally.ends[_name_end(said, code)] += 1
        fault = _judge(point, said, code)
        if point.mishap is Mishap.POWER:
            self._lose_logs(random.Random(point.at))
        acknowledged = Acknowledged(self._first, self._scene.first_version)
        for line in said:
            acknowledged.hear(line)
        examined, code = fork(lambda _: asyncio.run(self._scene.examine(acknowledged, thorough=thorough)))
        if code:
            fault = fault or f"afterwards: {_read_trace(examined)}"
        if fault:
            tally.failures.append(f"{point}: {fault}")

    def _perform(self, injector: Injector) -> tuple[list[str], int]:
        shutil.rmtree(self._scene.base)
        shutil.copytree(self._image, self._scene.base, symlinks=True)

        def work(say: Callable[[str], None]) -> None:
            injector.install()
            hurry()
            try:
                asyncio.run(self._scene.perform(self._first, say))
            except BackupPeerError as exc:
                say("failed " + json.dumps([type(exc).__name__, exc.message, exc.hint]))
            say("struck" if injector.has_struck else "not struck")
            say("points " + json.dumps(injector.kinds))

        return fork(work)

    def _lose_logs(self, rng: random.Random) -> None:
        """Take from databases that can be rebuilt what a power cut may take; nothing keeps its shared memory."""
        for path in self._scene.base.rglob("*.db-shm"):
            path.unlink()
        for path in self._scene.base.rglob("*.db-wal"):
            if path.name.removesuffix("-wal") in REBUILT and rng.random() < 0.7:
                os.truncate(path, 0)


def _name_end(said: list[str], code: int) -> str:
    if code == -signal.SIGKILL:
        return "killed"
    if any(line.startswith("failed ") for line in said):
        return "refused"
    return "finished" if code == 0 else "broke"


def _judge(point: Point, said: list[str], code: int) -> str:
    """Say what was wrong with the way in which the process ended."""
    if code not in {0, -signal.SIGKILL}:
        return f"it broke: {_read_trace(said)}"
    failed = [json.loads(line.removeprefix("failed ")) for line in said if line.startswith("failed ")]
    told = " ".join(failed[0][1:]) if failed else ""
    # A quota that SQLite runs into is an "I/O error" to it; the host tells its own person more than its owners.
    names = {Mishap.FULL: ("is full",), Mishap.QUOTA: ("is full", "disk I/O", "store is")}.get(point.mishap, ("",))
    if failed and (not any(name in told for name in names) or "read" in told):
        return f"a full disk is not named: {told}"
    return ""


def _read_trace(said: list[str]) -> str:
    broke = [line for line in said if line.startswith("broke ")]
    return json.loads(broke[-1].removeprefix("broke ")) if broke else repr(said)


def choose_points(kinds: list[str], side: str, mishaps: list[Mishap], most: int, rng: random.Random) -> list[Point]:
    """Return up to `most` points of a side: half of what touches the disk (all, if there is room), the rest sends."""
    every = [
        Point(side, mishap, at, kind)
        for mishap in mishaps
        for at, kind in enumerate(kinds, 1)
        if kind != "send" or mishap in FATAL
    ]
    disk, sends = ([p for p in every if (p.kind == "send") is is_send] for is_send in (False, True))
    taken = rng.sample(disk, min(len(disk), most - min(len(sends), most // 5)))
    taken += rng.sample(sends, min(len(sends), most - len(taken)))
    return sorted(taken, key=lambda p: (p.mishap, p.at))


def play_side(job: str, side: str, mishaps: list[Mishap], *, most: int, seed: int) -> Tally:
    """Play the points of a job on one side and tell what came of them."""
    tally, started_s = Tally(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bp-crash-", dir=_find_memory()) as folder:
        theatre = Theatre(Path(folder), JOBS[job])
        kinds = theatre.count(side)
        points = choose_points(kinds, side, mishaps, most, random.Random(seed))
        for number, point in enumerate(points):
            theatre.play(point, tally, thorough=number % THOROUGH == 0)
            if (number + 1) % TOLD_EVERY == 0:
                say(f"{job}, {side}: {number + 1} of {len(points)} played, {len(tally.failures)} wrong")
    counted, ended = (", ".join(f"{n} {name}" for name, n in c.most_common()) for c in (Counter(kinds), tally.ends))
    took_s = time.monotonic() - started_s
    say(f"{job}, {side}: {len(kinds)} points in a run ({counted})")
    say(f"{job}, {side}: {len(points)} played in {took_s:.0f} s: {ended}; {len(tally.failures)} wrong")
    for failure in tally.failures:
        say(f"WRONG {failure}")
    return tally


def _find_memory() -> str | None:
    """Return a folder in memory, where there is one: what a power cut takes is decided here, not by the disk."""
    memory = "/dev/shm"
    return memory if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM_BYTES else None


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="make crash", description="Interrupt jobs and examine what is left.")
    parser.add_argument("--points", type=int, default=300, help="for each side")
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--job", choices=JOBS, default="backup")
    parser.add_argument("--mishap", choices=list(Mishap), action="append")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    mishaps = [Mishap(name) for name in given.mishap or (*FATAL, *REFUSING)]
    sides = [given.side] if given.side else list(SIDES)
    tallies = [play_side(given.job, side, mishaps, most=given.points, seed=given.seed) for side in sides]
    return 1 if any(tally.failures for tally in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
