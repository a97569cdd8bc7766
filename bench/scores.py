"""The scores of very many known peers: all at once, after one more receipt, after one more day with a host.

Knows: the trust code. Must not know: receipts as they are signed and kept, databases. Peers and what owners say of
hosts are simulated: each peer is an owner who says something of ten hosts, and of each there is a tally of own days,
the worst that can be. The viewer stores with 20. Receipts of owners that evidence flows through are added, those that
change most; others cost as much to note, and change nothing. What is measured waits for nothing, so processor time is
told: on a machine with nothing else to do the clock says the same.

Run as `scores.py PEERS`; figures on standard output.
"""

import gc
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from meter import Meter, read_anonymous
from peer import Report
from process import run_command

from backuppeer.agent.heap import relax_collector
from backuppeer.trust.hearsay import Heard, Place, Reception, Word, add_hearsay, chart_words
from backuppeer.trust.score import DayEvidence, Evidence, score_host
from backuppeer.trust.tally import Tally

HOSTS = 10
"""Of each owner: so there are ten times as many receipts as peers."""
OWN_HOSTS = 20
TIMES = 100
DAY = 400
COLD = "processor seconds, cold"
RECEIPT = "ms after a receipt (median)"
OWN_DAY = "ms after a day with a host (median)"
MEMORY = "MB of memory for words and scores"
_VIEWER = bytes(32)
_NOTHING = Heard()


class SimulatedScores:
    """One process that scores peers."""

    name = "scores"
    synced = "nothing is stored"
    can_restore = False

    def __init__(self, root: Path, meter: Meter, *, count: int) -> None:
        self._meter, self._count = meter, count
        root.mkdir(parents=True)

    def backup(self, paths: list[Path]) -> Report:  # noqa: ARG002 - there are no files
        """Score them."""
        words = [sys.executable, str(Path(__file__).resolve()), str(self._count)]
        found: dict[str, float] = json.loads(run_command(words, os.environ, self._meter))
        return Report(seconds=found[COLD], figures={"peers": self._count, "receipts": HOSTS * self._count, **found})

    def restore(self, target: Path) -> None:
        """Nothing was kept: there is nothing to restore."""

    def stored_bytes(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing runs."""


class Opinions:
    """What one viewer thinks of everybody it knows, kept up. words: all that owners say; tallies: own days by peer."""

    def __init__(self, words: Iterator[Word[bytes]], tallies: dict[bytes, Tally]) -> None:
        self._tallies = tallies
        self._chart: dict[Place[bytes], dict[Place[bytes], float]] = {
            owner: dict(hosts) for owner, hosts in chart_words(words).items()
        }
        self._reception = Reception(_VIEWER, self._chart)
        self.scores = {peer: self._score(peer) for peer in tallies}

    def hear(self, word: Word[bytes]) -> int:
        """Take one more receipt in; return of how many peers the score is another."""
        said = chart_words([word])
        for owner, hosts in said.items():
            row = self._chart.setdefault(owner, {})
            row.update((host, max(row.get(host, 0.0), capacity)) for host, capacity in hosts.items())
        changed = self._reception.update([owner for owner in said if isinstance(owner, bytes)])
        self.scores.update((peer, self._score(peer)) for peer in changed)
        return len(changed)

    def see(self, peer: bytes, unit: DayEvidence) -> None:
        """Take one more own day in."""
        self._tallies[peer] = self._tallies.get(peer, Tally()).add(unit, day=DAY)
        self.scores[peer] = self._score(peer)

    def _score(self, peer: bytes) -> float:
        tally = self._tallies.get(peer, Tally()).at(DAY)
        return score_host(add_hearsay(Evidence(tally.alpha, tally.beta), self._reception.heard.get(peer, _NOTHING)))


def make_words(peers: list[bytes], chance: random.Random) -> Iterator[Word[bytes]]:
    """Yield what the viewer and all peers say of hosts."""
    for host in peers[:OWN_HOSTS]:
        yield Word(_VIEWER, host, 200.0, 10.0)
    for owner in peers:
        for _ in range(HOSTS):
            yield make_word(owner, peers, chance)


def make_word(owner: bytes, peers: list[bytes], chance: random.Random) -> Word[bytes]:
    """Return what one owner says of any host."""
    return Word(owner, chance.choice(peers), 30.0 * chance.randint(1, 12), float(chance.randint(1, 100)))


def measure(count: int) -> dict[str, float]:
    """Return the figures for so many peers."""
    chance = random.Random(7)  # noqa: S311 - the same in every run
    peers = [chance.randbytes(32) for _ in range(count)]
    tallies = {peer: Tally(chance.uniform(0, 16), chance.uniform(0, 1), DAY - 3) for peer in peers}
    words = list(make_words(peers, chance))
    before, began, used = read_anonymous(os.getpid()), time.perf_counter(), time.process_time()
    opinions = Opinions(iter(words), tallies)
    cold_s, cold_cpu_s = time.perf_counter() - began, time.process_time() - used
    memory = read_anonymous(os.getpid()) - before
    # What was made for the first scores, and the words themselves, are no matter of the receipts that follow.
    gc.collect()
    receipts, days, changed = [], [], []
    for number in range(TIMES):
        start = time.process_time()
        changed.append(opinions.hear(make_word(peers[number % OWN_HOSTS], peers, chance)))
        middle = time.process_time()
        opinions.see(peers[number % OWN_HOSTS], DayEvidence(0.0, 10.0))
        receipts.append(middle - start)
        days.append(time.process_time() - middle)
    return {
        COLD: cold_cpu_s,
        "seconds on the clock, cold": cold_s,
        RECEIPT: 1000 * statistics.median(receipts),
        "ms after a receipt (slowest of 100)": 1000 * max(receipts),
        "scores that a receipt changes (mean)": statistics.fmean(changed),
        OWN_DAY: 1000 * statistics.median(days),
        MEMORY: memory / 1e6,
    }


if __name__ == "__main__":
    relax_collector()
    print(json.dumps(measure(int(sys.argv[1]))))
