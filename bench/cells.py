"""Samples of the same thing put together: medians, spreads, ratios. Pure.

Knows: samples. Must not know: how they look on paper.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from results import Sample

BUSY_SHARE = 0.1
"""Of all processor time, taken by others: figures with more than this are marked."""


@dataclass(frozen=True, slots=True)
class Key:
    """What a cell is of."""

    row: str
    scale: float
    work: str
    peer: str


@dataclass(frozen=True, slots=True)
class Cell:
    """All samples of one key, at least one."""

    key: Key
    samples: tuple[Sample, ...]

    @property
    def seconds(self) -> float:
        """Median of the seconds."""
        return median(sample.seconds for sample in self.samples)

    @property
    def spread(self) -> tuple[float, float]:
        """Fastest and slowest."""
        return min(s.seconds for s in self.samples), max(s.seconds for s in self.samples)

    @property
    def mib_s(self) -> float:
        """MiB of the data set in a second."""
        return self.samples[-1].size_bytes / 2**20 / self.seconds

    @property
    def differences(self) -> int:
        """Of all restores."""
        return sum(sample.differences for sample in self.samples)

    def cpu_s(self, group: str) -> float:
        """Median of a group's processor seconds."""
        return median(sample.cpu_s.get(group, 0.0) for sample in self.samples)

    def peak_bytes(self, group: str) -> int:
        """Return the highest peak of all samples: memory has to be there in the worst of them."""
        return max(sample.peak_bytes.get(group, 0) for sample in self.samples)

    def size(self, of: Callable[[Sample], int | None]) -> float | None:
        """Median of one of the sizes, None where no sample has it."""
        found = [size for sample in self.samples if (size := of(sample)) is not None]
        return median(found) if found else None

    def figure(self, name: str) -> float | None:
        """Median of one of the figures that a probe gave."""
        found = [sample.figures[name] for sample in self.samples if name in sample.figures]
        return median(found) if found else None

    def others_share(self, cores: int) -> float:
        """Return what share of all processors others had, in the worst sample."""
        return max(s.others_cpu_s / (cores * s.seconds) if s.seconds else 0.0 for s in self.samples)


def gather_cells(samples: Iterable[Sample]) -> dict[Key, Cell]:
    """Return all cells, in the order in which their first samples were taken."""
    found: dict[Key, list[Sample]] = {}
    for sample in samples:
        found.setdefault(Key(sample.row, sample.scale, sample.work, sample.peer), []).append(sample)
    return {key: Cell(key, tuple(of_key)) for key, of_key in found.items()}


def order_cells(cells: Mapping[Key, Cell], rows: Sequence[str]) -> list[Cell]:
    """Return the cells row by row as in `rows`, larger scales first, works and programs as they came."""
    works = list(dict.fromkeys((key.row, key.work) for key in cells))
    known = {name: place for place, name in enumerate(rows)}
    return sorted(
        cells.values(),
        key=lambda c: (known.get(c.key.row, len(known)), -c.key.scale, works.index((c.key.row, c.key.work))),
    )


def find_ratio(cells: Mapping[Key, Cell], cell: Cell, other: str) -> float | None:
    """Return how many times as long another program needed for the same; None if that was not measured."""
    reference = cells.get(Key(cell.key.row, cell.key.scale, cell.key.work, other))
    return None if reference is None or not cell.seconds else reference.seconds / cell.seconds
