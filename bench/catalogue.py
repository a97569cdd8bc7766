"""A host's catalogue with very many packs: what a look-up takes, and how much memory the process.

Knows: the catalogue. Must not know: files, owners. The packs are simulated: ids that are hashes of numbers, of 100
agreements, 160 TB of full packs at full scale. They are listed in one process and looked up in another, which opens
the catalogue as a host does, every page checked, so that its memory is of nothing else.

Run as `catalogue.py make|look FOLDER COUNT`; figures on standard output.
"""

import json
import os
import random
import statistics
import sys
import time
from pathlib import Path

from chunks import make_id
from meter import Meter, read_anonymous
from peer import Report
from process import run_command

from backuppeer.agent.heap import relax_collector
from backuppeer.host.catalogue import Catalogue, PackRow, open_catalogue
from backuppeer.ids import AgreementId, StoredId
from backuppeer.limits import PACK_LIST_PAGE, PACK_TARGET_BYTES

AGREEMENTS = 100
UNKNOWN_SHARE = 0.1
"""Of the packs that a host is asked whether it has them, these are new."""
LOOKS = 50_000
PAGES = 200
LOOK_UP = "ms per look-up (median)"
MEMORY = "MB of memory"
_BATCH = 100_000


class SimulatedCatalogue:
    """One process that lists packs, another that looks some of them up."""

    name = "catalogue"
    synced = "nothing is stored but the list"
    can_restore = False

    def __init__(self, root: Path, meter: Meter, *, count: int) -> None:
        self._root, self._meter, self._count = root, meter, count
        root.mkdir(parents=True)
        self._run("make")

    def backup(self, paths: list[Path]) -> Report:  # noqa: ARG002 - there are no files
        """Open the catalogue, and ask it."""
        found = self._run("look")
        seconds = found.pop("seconds")
        size = (self._root / "catalogue.db").stat().st_size / 1e6
        return Report(seconds=seconds, figures={"packs": self._count, **found, "catalogue MB on disk": size})

    def restore(self, target: Path) -> None:
        """Nothing was kept: there is nothing to restore."""

    def stored_bytes(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing runs."""

    def _run(self, word: str) -> dict[str, float]:
        words = [sys.executable, str(Path(__file__).resolve()), word, str(self._root), str(self._count)]
        found: dict[str, float] = json.loads(run_command(words, os.environ, self._meter))
        return found


def _place(number: int) -> tuple[AgreementId, StoredId]:
    return AgreementId(make_id(number % AGREEMENTS)[:16]), StoredId(make_id(number))


def list_packs(catalogue: Catalogue, count: int) -> None:
    """List packs 0 to `count`."""
    for agreement in range(AGREEMENTS):
        name = _place(agreement)[0]
        numbers = range(agreement, count, AGREEMENTS)
        for first in range(0, len(numbers), _BATCH):
            rows = [PackRow(_place(n)[1], PACK_TARGET_BYTES) for n in numbers[first : first + _BATCH]]
            catalogue.change_packs(name, add=sorted(rows), drop=())


def _look(folder: Path, count: int) -> dict[str, float]:
    before = read_anonymous(os.getpid())
    began = time.perf_counter()
    catalogue, _ = open_catalogue(folder / "catalogue.db")
    opened = time.perf_counter() - began
    source = random.Random(7)  # noqa: S311 - which pack comes when, the same in every run
    took: list[float] = []
    for _ in range(LOOKS):
        number = source.randrange(count)
        agreement, stored = _place(number if source.random() >= UNKNOWN_SHARE else number + AGREEMENTS * count)
        start = time.perf_counter()
        catalogue.pack_size(agreement, stored)
        took.append(time.perf_counter() - start)
    pages: list[float] = []
    for _ in range(PAGES):
        agreement, stored = _place(source.randrange(count))
        start = time.perf_counter()
        catalogue.list_packs(agreement, stored, PACK_LIST_PAGE)
        pages.append(time.perf_counter() - start)
    memory = read_anonymous(os.getpid())
    catalogue.close()
    return {
        "seconds": sum(took),
        "seconds to open": opened,
        LOOK_UP: 1000 * statistics.median(took),
        "ms per look-up (slowest of 1,000)": 1000 * sorted(took)[-(LOOKS // 1000)],
        "ms per page of a list": 1000 * statistics.median(pages),
        MEMORY: memory / 1e6,
        "MB of memory for the catalogue": (memory - before) / 1e6,
    }


def _main(word: str, folder: Path, count: int) -> None:
    relax_collector()
    if word == "make":
        catalogue, _ = open_catalogue(folder / "catalogue.db")
        list_packs(catalogue, count)
        catalogue.close()
    print(json.dumps(_look(folder, count) if word == "look" else {}))


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
