"""A transfer that is cut again and again, by real agents: `make cuts`; in tests/, `python -m soak.cuts [CUTS] [MB]`.

Prints what was sent twice: what the host took, less what it stores. The last line says whether that is 3 % at most.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from e2e.harness import Home, Pair, World, agree, below, describe_tree, wait_until
from e2e.trees import make_random_files
from soak.cuttable import CUT

MB = 1_000_000
TESTS = Path(__file__).resolve().parents[1]
MOST = 0.03


@contextlib.contextmanager
def cuttable(home: Home, count: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the agent of a home as `soak.cuttable` while the block runs."""
    home.do("agent", "stop")
    process = subprocess.Popen(
        [sys.executable, "-m", "soak.cuttable", str(count), str(home.path)],
        env={**home.environment(), "PYTHONPATH": str(TESTS)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: home.run("agent", "status").last.get("running") is True, "the agent to answer")
        yield process
    finally:
        home.do("agent", "stop")
        process.wait(60)


def transfer(pair: Pair, tree: Path, size_bytes: int, cuts: int) -> tuple[int, int]:
    """Back up, cutting the owner's connections each time a further part is stored; return cuts, bytes the host took."""
    count, done = tree.parent / "taken", 0
    with cuttable(pair.host, count), cuttable(pair.owner, tree.parent / "none") as owner:
        running = pair.owner.start("backup", str(tree))
        for done in range(cuts):
            wanted = size_bytes * (done + 1) / (cuts + 2)
            wait_until(
                lambda wanted=wanted: running.process.poll() is not None or arrived(pair) >= wanted, "more to come"
            )
            if running.process.poll() is not None:
                break
            os.kill(owner.pid, CUT)
            sys.stderr.write(f"cut {done + 1} after {arrived(pair) / MB:.0f} MB\n")
        result = running.wait()
        assert result.code == 0, result
    return done + 1, int(count.read_text())


def arrived(pair: Pair) -> int:
    """Return the bytes that the host has, of unfinished packs as well."""
    parts = 0
    for path in (pair.host.path / "store" / "incoming").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it became a pack just now
            parts += path.stat().st_size
    return pair.stored_bytes() + parts


def main(cuts: int = 20, size_mb: int = 500) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no agent is left
    world = World()
    try:
        pair = agree(world, storage=f"{2 * size_mb}MB", offer=f"{3 * size_mb}MB")
        tree = world.path / "files"
        make_random_files(tree, count=size_mb // 5, size_bytes=5 * MB, seed=11)
        began_s = time.monotonic()
        done, taken = transfer(pair, tree, size_mb * MB, cuts)
        took_s = time.monotonic() - began_s
        pair.host.do("status")
        pair.owner.do("restore", "latest", "--target", str(world.path / "out"))
        assert describe_tree(below(world.path / "out", tree)) == describe_tree(tree)
        twice = taken - pair.stored_bytes()
        sys.stdout.write(
            f"{done} cuts during {size_mb} MB, {took_s:.0f} s: whole, {twice / MB:.1f} MB sent twice, "
            f"{100 * twice / pair.stored_bytes():.1f} %\n"
        )
        return 0 if done == cuts and twice <= MOST * pair.stored_bytes() else 1
    finally:
        world.close()


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
