"""A signaling server under load: hosts that idle, listings published, pages browsed.

Knows: processes: one server, started by the command line, its limits on but for work of new keys, and several that are
its clients (signaling_crowd.py), since one process may open 20,000 files here. Must not know: what they say.

Run as `signaling_load.py HOSTS`; figures on standard output.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from meter import Meter, read_anonymous
from peer import Report
from process import run_command

MEMORY = "KiB of memory per idle host"
PUBLISHED = "listings published per second"
SLOWEST = "listings published per second in the slowest of nine rounds"
P50 = "ms for a page of 50 at 200/s (median)"
P99 = "ms for a page of 50 at 200/s (99 of 100)"
CPU_ARRIVAL = "ms of the server's processor time for a host that arrives"
CPU_PAGE = "ms of the server's processor time for a page of 50"
CPU_LISTING = "ms of the server's processor time for a listing"
CPU_IDLE = "µs of the server's processor time each second for an idle host"
VIEWERS = 40
IDLE_S = 40
"""Two rounds of pings."""
LISTINGS = 2_000
ROUNDS = 9
"""So often all those listings, each time newer ones. One round lasts a second, and the same server took from 1,600 to
3,500 in it: what else the two processors did just then. The median of nine says more."""
_HOSTS_EACH = 2_500
"""Hosts of one process of clients."""
_SPARE_FILES = 170
"""Open files of the server beside two for each host: the viewers' sockets, its own, those for polite refusals."""
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class SignalingLoad:
    """One server, and the processes that are all its clients."""

    name = "signaling"
    synced = "nothing is stored"
    can_restore = False

    def __init__(self, root: Path, meter: Meter, *, hosts: int) -> None:
        self._meter, self._hosts = meter, hosts
        root.mkdir(parents=True)

    def backup(self, paths: list[Path]) -> Report:  # noqa: ARG002 - there are no files
        """Load it."""
        words = [sys.executable, str(Path(__file__).resolve()), str(self._hosts)]
        found: dict[str, float] = json.loads(run_command(words, os.environ, self._meter))
        return Report(figures=found)

    def restore(self, target: Path) -> None:
        """Nothing was kept: there is nothing to restore."""

    def stored_bytes(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing runs."""


@contextmanager
def serve() -> Iterator[tuple[str, int]]:
    """Run a server; yield its address and its process."""
    command = [sys.executable, "-m", "backuppeer.cli.main", "server", "--listen", "127.0.0.1:0", "--stamp-bits", "0"]
    command += ["--limit", "load_keys_per_s=1000000", "--limit", "drain_s=1", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            if process.stdout is None:
                raise SystemExit("the server says nothing")
            ready = json.loads(process.stdout.readline())
            yield f"ws://{ready['listen']}", process.pid
        finally:
            process.terminate()
            process.wait(30)


class Crowds:
    """Processes of clients, told what to do in one go."""

    def __init__(self, held: ExitStack, url: str, parts: list[tuple[int, int]]) -> None:
        """parts: (first number, count) of each."""
        script = str(Path(__file__).with_name("signaling_crowd.py"))
        self._running = [
            held.enter_context(
                subprocess.Popen(
                    [sys.executable, script, url, str(first), str(count)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for first, count in parts
        ]
        held.callback(self._end)

    def ask(self, command: str) -> list[object]:
        """Tell all of them to do something; return what each brought, when all have done it.

        Raises:
            SystemExit: one of them has failed.

        """
        for process in self._running:
            if process.stdin is not None:
                process.stdin.write(command + "\n")
                process.stdin.flush()
        told = [process.stdout.readline() if process.stdout else "" for process in self._running]
        if not all(told):
            raise SystemExit(f"clients of the signaling server failed at {command!r}")
        return [json.loads(line) for line in told]

    def _end(self) -> None:
        for process in self._running:
            process.kill()


def processor_s(pid: int) -> float:
    """Return the processor time that a process has used; on a busy machine it says more than the clock."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def split_hosts(hosts: int) -> list[tuple[int, int]]:
    """Return (first number, count) of the processes that are so many hosts."""
    return [(first, min(_HOSTS_EACH, hosts - first)) for first in range(0, hosts, _HOSTS_EACH)]


def publish(crowds: Crowds, each: int, pid: int) -> tuple[list[float], float]:
    """Publish newer listings of so many hosts of each crowd, again and again.

    Returns:
        Listings per second of each round, and the seconds of the server's processor that one took, over all rounds.

    """
    rates, busy_s, count = [], 0.0, 0
    for _ in range(ROUNDS):
        crowds.ask(f"prepare {each}")
        began, used_s = time.perf_counter(), processor_s(pid)
        published = sum(told for told in crowds.ask("publish") if isinstance(told, int))
        rates.append(published / (time.perf_counter() - began))
        busy_s, count = busy_s + processor_s(pid) - used_s, count + published
    return rates, busy_s / count


def measure(hosts: int) -> dict[str, float]:
    """Return the figures with so many hosts."""
    parts = split_hosts(hosts)
    with serve() as (url, pid), ExitStack() as held:
        crowds, viewers = Crowds(held, url, parts), Crowds(held, url, [(200_000, VIEWERS)])
        before, began, used = read_anonymous(pid), time.perf_counter(), [processor_s(pid)]
        crowds.ask("arrive")
        arrived_s = time.perf_counter() - began
        used.append(processor_s(pid))
        time.sleep(IDLE_S)
        memory = read_anonymous(pid) - before
        used.append(processor_s(pid))
        (took,) = viewers.ask("browse")
        used.append(processor_s(pid))
        rates, busy_s = publish(crowds, LISTINGS // len(parts), pid)
    pages = sorted(took) if isinstance(took, list) else []
    return {
        "idle hosts": hosts,
        MEMORY: memory / hosts / 1024,
        "hosts that arrived per second": hosts / arrived_s,
        CPU_ARRIVAL: 1000 * (used[1] - used[0]) / hosts,
        PUBLISHED: statistics.median(rates),
        SLOWEST: min(rates),
        CPU_LISTING: 1000 * busy_s,
        P50: 1000 * statistics.median(pages),
        P99: 1000 * pages[len(pages) * 99 // 100],
        CPU_PAGE: 1000 * (used[3] - used[2]) / len(pages),
        CPU_IDLE: 1e6 * (used[2] - used[1]) / IDLE_S / hosts,
    }


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if (wanted := 2 * int(sys.argv[1]) + _SPARE_FILES) > most:
        fits = (most - _SPARE_FILES) / 2 / int(sys.argv[1])
        raise SystemExit(
            f"{wanted} open files are needed by the server, {most} allowed here: SCALE={fits - 0.0005:.3f} fits"
        )
    print(json.dumps(measure(int(sys.argv[1]))))
