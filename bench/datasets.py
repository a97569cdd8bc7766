"""The data sets of the benchmark: the machine's own trees, and others that are the same bytes in every run.

Knows: folders, random bytes from a seed. Must not know: who backs them up. `scale` shrinks a set for a trial: 0.1 makes
a tenth of it. Sets that change between two backups are in `source` (a source tree) and here (a disk image).
"""

import os
import random
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
IMAGE_BYTES = 8 << 30
IMAGE_EXTENT = 4 * MIB
"""A quarter of the image is allocated, in runs of this length."""
CHANGED_EXTENT = 1 * MIB
"""A tenth of what is allocated changes, in runs of this length: as a guest that rewrites files, not single blocks."""
CHANGED_SHARE = 0.1


def _leave(_: str) -> None:
    """Change nothing."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """What is backed up. `prepare` is called with the name of each piece of work before any program does it."""

    paths: list[Path]
    prepare: Callable[[str], None] = _leave


MakeDataset = Callable[[Path, float], Dataset]
"""Makes a set in a folder (which may hold it already) at a scale."""


def make_small(_: Path, scale: float) -> Dataset:
    """Return trees of this machine, over 150,000 files of 3 GB where it has so much; scaled: the last of them."""
    candidates = [
        Path(sys.base_prefix).parent.parent,
        Path("/usr/share"),
        Path("/usr/include"),
        Path("/usr/lib/python3"),
    ]
    if Path(sys.base_prefix) == Path("/usr"):
        candidates[0] = Path(sysconfig.get_paths()["stdlib"])
    found = [path for path in candidates if path.is_dir()]
    return Dataset(found if scale >= 1 else found[max(1, round(len(found) * (1 - scale))) :] or found[-1:])


def make_large(folder: Path, scale: float) -> Dataset:
    """Return 4 files of 512 MiB of random bytes."""
    return _make_noise(folder, round(512 * scale))


def make_half(folder: Path, scale: float) -> Dataset:
    """Return 4 files of 128 MiB of random bytes."""
    return _make_noise(folder, round(128 * scale))


def _make_noise(folder: Path, mib: int) -> Dataset:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(4):
        path = folder / f"{number}.bin"
        if not path.exists() or path.stat().st_size != mib * MIB:
            source = random.Random(number)  # noqa: S311 - data, the same in every run
            with path.open("wb") as file:
                for _ in range(mib):
                    file.write(source.randbytes(MIB))
    return Dataset([folder])


def make_thousand(folder: Path, scale: float) -> Dataset:
    """Return 1,000 files of 1 to 64 KiB in 20 folders."""
    return _make_files(folder, round(1000 * scale), least=1024, most=65536, per_folder=50)


def make_many(folder: Path, scale: float) -> Dataset:
    """Return 50,000 files of 1 to 79 KiB, 2 GB, in 1,000 folders."""
    return _make_files(folder, round(50_000 * scale), least=1024, most=80_000, per_folder=50)


def make_linear(count: int) -> MakeDataset:
    """Return how `count` files of 200 to 3,000 bytes are made, 500 to a folder."""
    return lambda folder, scale: _make_files(folder, round(count * scale), least=200, most=3000, per_folder=500)


def _make_files(folder: Path, count: int, *, least: int, most: int, per_folder: int) -> Dataset:
    # Names and sizes by number: what an interrupted run left is completed.
    source = random.Random(count)  # noqa: S311 - data, the same in every run
    for number in range(count):
        below = folder / f"{number // per_folder:05}"
        if number % per_folder == 0:
            below.mkdir(parents=True, exist_ok=True)
        path, data = below / f"{number:07}.txt", source.randbytes(source.randrange(least, most))
        if not path.exists() or path.stat().st_size != len(data):
            path.write_bytes(data)
    return Dataset([folder])


def make_image(folder: Path, scale: float) -> Dataset:
    """Return a sparse disk image of 8 GiB, 2 GiB allocated; before the work `changed` a tenth of that is rewritten."""
    folder.mkdir(parents=True, exist_ok=True)
    path, size = folder / "disk.img", round(IMAGE_BYTES * scale / IMAGE_EXTENT) * IMAGE_EXTENT
    extents = list(range(size // IMAGE_EXTENT))
    source = random.Random(8)  # noqa: S311 - data, the same in every run
    used = sorted(source.sample(extents, len(extents) // 4))
    with path.open("wb") as file:
        file.truncate(size)
        for extent in used:
            file.seek(extent * IMAGE_EXTENT)
            for _ in range(IMAGE_EXTENT // MIB):
                file.write(_image_bytes(source))

    def prepare(work: str) -> None:
        if work == "changed":
            _rewrite(path, used, source)

    return Dataset([folder], prepare)


def _rewrite(path: Path, used: list[int], source: random.Random) -> None:
    places = [extent * IMAGE_EXTENT + at for extent in used for at in range(0, IMAGE_EXTENT, CHANGED_EXTENT)]
    with path.open("r+b") as file:
        for place in sorted(source.sample(places, round(len(places) * CHANGED_SHARE))):
            file.seek(place)
            file.write(_image_bytes(source)[:CHANGED_EXTENT])


def _image_bytes(source: random.Random) -> bytes:
    """Return 1 MiB that compresses to a half, as what lies on a disk does by and by.

    Each piece stands there twice; zeros instead would have restic cut a chunk at each run of them.
    """
    noise = source.randbytes(MIB // 2)
    return b"".join(noise[at : at + 2048] * 2 for at in range(0, len(noise), 2048))


def read_all(paths: list[Path]) -> tuple[int, int]:
    """Read every regular file once, so that each program finds the same warm cache; returns (files, bytes).

    Of holes nothing is read; bytes are as long as files say.
    """
    files = size_bytes = 0
    buffer = bytearray(MIB)
    for top in paths:
        for folder, _, names in os.walk(top):
            for name in names:
                path = Path(folder, name)
                if path.is_symlink() or not path.is_file():
                    continue
                size_bytes += path.stat().st_size
                _read(path, buffer)
                files += 1
    return files, size_bytes


def _read(path: Path, buffer: bytearray) -> None:
    with path.open("rb", buffering=0) as file:
        size, at = path.stat().st_size, 0
        while at < size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                return  # a hole until the end
            count = file.readinto(buffer)
            if not count:
                return
            at += count
