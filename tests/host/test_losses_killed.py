"""Killed or without power at every point of finding a loss: it is told once, or found again, and nothing else is."""

import subprocess
import sys
from pathlib import Path

import pytest

from backuppeer.host.store import create_store, open_store
from backuppeer.limits import MIB
from backuppeer.proof.custody import LossCause
from host.host_world import NOW_MS, World, agreement_id, put_pack
from host.losing import flip, pack_path, reports

A = agreement_id()
TESTS = Path(__file__).resolve().parents[1]

# Reads all packs, and reports what is lost; prints "told" when that is durable.
FINDER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from crash.injector import Injector, Mishap
from host.host_world import NOW_MS, World, agreement_id
from backuppeer.host.store import open_store
world = World()
store = open_store(Path(sys.argv[1]), world.peer, floor_bytes=0)
injector = Injector([Path(sys.argv[1])], Path(sys.argv[3]), Mishap(sys.argv[4]), int(sys.argv[5]))
injector.install()
for _ in range(3):
    step = store.scrub.step(now_ms=NOW_MS, total_bytes=1)
    if step.suspected and store.losses.settle(step.suspected, signer=world.host, now_ms=NOW_MS):
        print("told", flush=True)
print("all", injector.count, flush=True)
"""


def find(directory: Path, aside: Path, mishap: str, at: int) -> str:
    aside.mkdir()
    command = [sys.executable, "-c", FINDER, str(directory), str(TESTS), str(aside), mishap, str(at)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("mishap", ["kill", "power"])
def test_a_loss_is_reported_once_wherever_the_host_is_stopped(tmp_path, rng, mishap):
    world, at, is_over = World(), 0, False
    while not is_over:
        at += 1
        directory = tmp_path / f"store{at}"
        store = create_store(directory, world.peer, floor_bytes=0)
        store.leases.put(world.agree(size_bytes=64 * MIB))
        store.heads.put_head(A, world.head(1), world.grant(), signer=world.host, now_ms=NOW_MS)
        packs = sorted(put_pack(store, rng.randbytes(50_000)) for _ in range(3))
        flip(store, packs[0])
        pack_path(store, packs[2]).unlink()
        store.close()
        said = find(directory, tmp_path / f"aside{at}", mishap, at)
        is_over = "all" in said
        again = open_store(directory, world.peer, floor_bytes=0)
        before = reports(again, world)
        assert said.count("told") <= len(before), "what was told stands"
        while again.scrub.step(now_ms=NOW_MS, total_bytes=1).read_bytes:
            pass
        again.losses.settle(A, signer=world.host, now_ms=NOW_MS)
        causes = [(LossCause.DAMAGED, {packs[0]}), (LossCause.MISSING, {packs[2]})]
        assert sorted(reports(again, world), key=str) == sorted(causes, key=str)
        assert [row.stored for row in again.list_packs(A)] == [packs[1]]
        again.close()
    assert at > 10, "it was stopped at no point: the test proves nothing"
