"""The benchmark: the same work by BackupPeer and by what users have, in one run on one machine.

    make bench [ROW=small] [PEERS=backup-peer,restic-rest]

Prints a table and writes JSON beside it. Knows: rows and their order. Must not know: how a program is driven. Every
restore is compared with the original, byte for byte, outside of the measured time. Nothing is asserted about time.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from datasets import DATASETS, read_all
from meter import Cost, Meter
from others import Borg, Restic
from ours import Pair

from backuppeer.cli.compare import compare_trees


class Peer(Protocol):
    """A backup program with somewhere to keep things."""

    name: str
    synced: str

    def backup(self, paths: list[Path]) -> dict[str, object]:
        """Back up; return what the program reported."""
        ...

    def restore(self, target: Path) -> None:
        """Restore the newest backup."""
        ...

    def stored_bytes(self) -> int:
        """Return the bytes kept at the far end."""
        ...

    def close(self) -> None:
        """End everything and remove it."""
        ...


@dataclass(slots=True)
class Row:
    """One measured piece of work."""

    dataset: str
    work: str
    peer: str
    synced: str
    cost: Cost
    stored_bytes: int = 0
    differences: int = 0
    reported: dict[str, object] = field(default_factory=dict)


def find_makers(root: Path) -> dict[str, Callable[[Meter], Peer]]:
    """Return how each program that is installed here is set up; each in a folder of its own below `root`."""
    makers: dict[str, Callable[[Meter], Peer]] = {"backup-peer": lambda meter: Pair(root / "b", meter)}
    rclone = shutil.which("rclone")
    if shutil.which("restic"):
        makers["restic-local"] = lambda meter: Restic(root / "rl", meter)
        if rclone:
            makers["restic-rest"] = lambda meter: Restic(root / "rr", meter, rclone)
    if shutil.which("borg"):
        makers["borg-local"] = lambda meter: Borg(root / "bl", meter)
    return makers


@contextmanager
def opened(make: Callable[[Meter], Peer], meter: Meter) -> Iterator[Peer]:
    """Set a program up and take it down again, whatever happens."""
    peer = make(meter)
    try:
        yield peer
    finally:
        peer.close()


def run_dataset(name: str, paths: list[Path], make: Callable[[Meter], Peer], root: Path) -> Iterator[Row]:
    """Back up, back up again unchanged, restore and compare."""
    meter = Meter()
    with opened(make, meter) as peer:
        for work in ("first", "unchanged"):
            os.sync()
            with meter.measure() as cost:
                reported = peer.backup(paths)
            yield Row(name, work, peer.name, peer.synced, cost, peer.stored_bytes(), 0, reported)
        # Kept until the end: ext4 looks for a free inode far longer where many were deleted in the last minutes.
        target = root / f"restored-{name}-{peer.name}"
        os.sync()
        with meter.measure() as cost:
            peer.restore(target)
        wrong = sum(len(compare_trees(path, target / path.relative_to("/")).differences) for path in paths)
        yield Row(name, "restore", peer.name, peer.synced, cost, peer.stored_bytes(), wrong)


def format_row(row: Row) -> str:
    """Return one line of the table."""
    cpu = " ".join(f"{group} {seconds:.1f}" for group, seconds in sorted(row.cost.cpu_s.items()) if seconds >= 0.05)
    peak = " ".join(f"{group} {peak / 1e6:.0f}" for group, peak in sorted(row.cost.peak_bytes.items()) if peak)
    wrong = f"  {row.differences} DIFFER" if row.differences else ""
    return (
        f"{row.dataset:<6} {row.work:<10} {row.peer:<13} {row.cost.seconds:7.2f} s  "
        f"stored {row.stored_bytes / 1e6:7.1f} MB  cpu s: {cpu:<40} peak MB: {peak}{wrong}"
    )


def main() -> int:
    """Run the rows asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--row", default=",".join(DATASETS), help="data sets, comma separated")
    parser.add_argument("--peers", default="backup-peer,restic-rest,restic-local,borg-local")
    parser.add_argument("--root", type=Path, default=None, help="where everything is kept (a new temporary folder)")
    parser.add_argument("--json", type=Path, default=Path("bench-result.json"))
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="bpb-")) if options.root is None else options.root.resolve()
    root.mkdir(exist_ok=True)
    makers = find_makers(root)
    rows: list[Row] = []
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    try:
        for name in options.row.split(","):
            paths = DATASETS[name](root)
            files, size_bytes = read_all(paths)
            print(f"{name}: {files} files, {size_bytes / 1e9:.2f} GB")
            for peer in options.peers.split(","):
                if peer not in makers:
                    print(f"{name}: {peer} is not installed here")
                    continue
                for row in run_dataset(name, paths, makers[peer], root):
                    rows.append(row)
                    print(format_row(row), flush=True)
                    options.json.write_text(json.dumps([asdict(r) for r in rows], indent=1))
    finally:
        if options.root is None:
            shutil.rmtree(root, ignore_errors=True)
    return 1 if any(row.differences for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
