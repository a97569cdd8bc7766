"""Whether processes grow: memory and open files, from samples of their lives. Pure but for `sample`.

A life is a process from its start to its end. What it takes in its first minute is how it starts, and not counted. Of
several lives of one role each has its own level; what is asked is how steeply they rise together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

WARM_S = 60.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process had at one moment. `memory_bytes`: RssAnon, its own memory without the files it has mapped."""

    role: str
    pid: int
    age_s: float
    memory_bytes: int
    files: int


def sample(role: str, pid: int, age_s: float) -> Sample | None:
    """Return what a process has now; None when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return None
    found = [line.split()[1] for line in status.splitlines() if line.startswith("RssAnon:")]
    return Sample(role, pid, age_s, int(found[0]) * 1024, files) if found else None


def find_slope(lives: Iterable[Sequence[tuple[float, float]]]) -> float | None:
    """Return by how much values rise per hour of age; None: nothing can be told. lives: of each (age in s, value)."""
    moments = spread = 0.0
    for life in lives:
        warm = [(age, value) for age, value in life if age >= WARM_S]
        if not warm:
            continue
        middle = sum(age for age, _ in warm) / len(warm)
        level = sum(value for _, value in warm) / len(warm)
        moments += sum((age - middle) * (value - level) for age, value in warm)
        spread += sum((age - middle) ** 2 for age, _ in warm)
    return moments / spread * 3600 if spread else None


def find_growth(life: Sequence[tuple[float, float]]) -> float | None:
    """Return how much higher the median of a life's last third is than that of its second; None: it was too short.

    In the first third pools and caches fill: an agent's memory rises by 20 MB over its first twenty backups (ADR 92).
    """
    warm = sorted((age, value) for age, value in life if age >= WARM_S)
    third = len(warm) // 3
    if not third:
        return None
    second, last = ([value for _, value in part] for part in (warm[third : 2 * third], warm[-third:]))
    return sorted(last)[third // 2] - sorted(second)[third // 2]
