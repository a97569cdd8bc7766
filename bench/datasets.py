"""The data sets of the benchmark, made or found on this machine.

Knows: folders. Must not know: who backs them up. `small` is what a machine has: interpreters, /usr/share, headers;
`large` is random, so that neither compression nor deduplication helps; `few` is a folder of 1,000 files.
"""

import os
import random
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

MIB = 1 << 20


def make_small(_: Path) -> list[Path]:
    """Return trees of this machine: over 150,000 files and about 3 GB where there is so much."""
    candidates = [
        Path(sys.base_prefix).parent.parent,
        Path("/usr/share"),
        Path("/usr/include"),
        Path("/usr/lib/python3"),
    ]
    if Path(sys.base_prefix) == Path("/usr"):
        candidates[0] = Path(sysconfig.get_paths()["stdlib"])
    return [path for path in candidates if path.is_dir()]


def make_large(root: Path) -> list[Path]:
    """Return 4 files of 512 MiB of random bytes."""
    folder = root / "large"
    folder.mkdir(exist_ok=True)
    for number in range(4):
        path = folder / f"{number}.bin"
        if not path.exists() or path.stat().st_size != 512 * MIB:
            with path.open("wb") as file:
                for _ in range(512):
                    file.write(os.urandom(MIB))
    return [folder]


def make_few(root: Path) -> list[Path]:
    """Return a folder of 1,000 files of 1 to 64 KiB."""
    folder = root / "few"
    source = random.Random(1)  # noqa: S311 - data, the same in every run
    for number in range(1000):
        path = folder / f"{number % 20:02}" / f"{number:04}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(source.randbytes(source.randrange(1024, 65536)))
    return [folder]


DATASETS: dict[str, Callable[[Path], list[Path]]] = {"small": make_small, "large": make_large, "few": make_few}


def read_all(paths: list[Path]) -> tuple[int, int]:
    """Read every regular file once, so that each program finds the same warm cache; returns (files, bytes)."""
    files = size_bytes = 0
    buffer = bytearray(MIB)
    for top in paths:
        for folder, _, names in os.walk(top):
            for name in names:
                path = Path(folder, name)
                if path.is_symlink() or not path.is_file():
                    continue
                with path.open("rb", buffering=0) as file:
                    while count := file.readinto(buffer):
                        size_bytes += count
                files += 1
    return files, size_bytes
