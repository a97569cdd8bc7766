"""One round of one row: each program in its turn does each piece of work, and everything is measured.

Knows: the order. Must not know: programs, files of results. Programs alternate from one piece of work to the next and
from round to round another begins: who comes first pays for memory that the system has to find. What was restored is
compared with the original, byte for byte, outside of the measured time. Nothing is asserted about time.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from datasets import Dataset, read_all
from meter import Meter
from peer import Make, Peer, Report
from results import Sample
from rows import RESTORE, Row

from backuppeer.cli.compare import compare_trees


@dataclass(frozen=True, slots=True)
class Round:
    """Which round of what, where: `folder` is new and lies on the file system under test."""

    name: str
    row: Row
    number: int
    scale: float
    folder: Path
    data: Path
    version: str


@dataclass(slots=True)
class _Entrant:
    peer: Peer
    meter: Meter
    folder: Path
    stored_bytes: int | None = None


def run_round(this: Round, makers: Mapping[str, Make], peers: Sequence[str]) -> Iterator[Sample]:
    """Yield a sample for each piece of work of each of `peers`, as it is done."""
    dataset = this.row.make(this.data, this.scale)
    with ExitStack() as stack:
        entrants = [_enter(stack, makers[name], this.folder / name) for name in _in_turn(peers, this.number)]
        for work in this.row.works:
            if work != RESTORE:
                dataset.prepare(work)
            sizes = read_all(dataset.paths)
            for entrant in entrants:
                if entrant.peer.can_restore or work != RESTORE:
                    yield _measure(this, dataset, work, entrant, sizes)


def _in_turn(peers: Sequence[str], number: int) -> list[str]:
    shift = number % len(peers)
    return [*peers[shift:], *peers[:shift]]


def _enter(stack: ExitStack, make: Make, folder: Path) -> _Entrant:
    meter = Meter()
    folder.parent.mkdir(parents=True, exist_ok=True)
    return _Entrant(stack.enter_context(closing(make(folder, meter))), meter, folder)


def _measure(this: Round, dataset: Dataset, work: str, entrant: _Entrant, sizes: tuple[int, int]) -> Sample:
    # The system writes back what came before, so that nobody pays for it in their turn.
    os.sync()
    peer, target, report = entrant.peer, entrant.folder.with_name(f"{entrant.folder.name}-restored"), Report()
    with entrant.meter.measure() as cost:
        if work == RESTORE:
            peer.restore(target)
        else:
            report = peer.backup(dataset.paths)
    seconds = cost.seconds if report.seconds is None else report.seconds
    before, entrant.stored_bytes = entrant.stored_bytes or 0, peer.stored_bytes()
    stored = entrant.stored_bytes
    return Sample(
        row=this.name,
        work=work,
        peer=peer.name,
        round=this.number,
        scale=this.scale,
        seconds=seconds,
        cpu_s={group: round(seconds, 3) for group, seconds in cost.cpu_s.items()},
        peak_bytes=cost.peak_bytes,
        others_cpu_s=round(cost.others_cpu_s * seconds / cost.seconds, 3),
        files=sizes[0],
        size_bytes=sizes[1],
        sent_bytes=report.sent_bytes,
        plain_bytes=report.plain_bytes,
        stored_bytes=stored,
        new_bytes=None if stored is None or work == RESTORE else stored - before,
        allocated_bytes=_allocated_bytes(target) if work == RESTORE else None,
        differences=_count_differences(dataset.paths, target) if work == RESTORE else 0,
        synced=peer.synced,
        figures=dict(report.figures),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        version=this.version,
    )


def _count_differences(paths: Sequence[Path], target: Path) -> int:
    return sum(len(compare_trees(path, target / path.relative_to("/")).differences) for path in paths)


def _allocated_bytes(root: Path) -> int:
    """Return what the files below `root` take on the disk, in bytes (stat(2) counts blocks of 512)."""
    return sum(path.lstat().st_blocks * 512 for path in root.rglob("*"))
