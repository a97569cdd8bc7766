"""A host that lied is convicted by a file: on any machine, in an empty environment, with nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from backuppeer.proof.charges import pack_charge, pack_rebuttal, unpack_charge
from e2e.charges import Case, read_case
from e2e.harness import World, agree
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


@pytest.fixture
def case(world: World) -> Case:
    pair = agree(world)
    tree = world.path / "files"
    make_random_files(tree, count=4, size_bytes=300_000, seed=36)
    pair.owner.do("backup", str(tree))
    return read_case(pair)


def verify(folder: Path, file: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Judge a file as a stranger does: no environment, no home, another folder."""
    command = [sys.executable, "-m", "backuppeer.cli.main", "audit", "verify-proof", file, *words]
    done = subprocess.run(command, cwd=folder, env={}, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done


def test_real_crimes_are_proven_to_strangers_and_nothing_else_is(world: World, case: Case):
    bench = world.path / "bench"
    bench.mkdir()
    ids = {home.path.name: home.peer_id() for home in world._homes}
    charges = {"wrong": case.wrong_answer(), "lost": case.lost_pack(), "older": case.older_head()}
    for name, charge in charges.items():
        (bench / name).write_bytes(pack_charge(charge))
        done = verify(bench, name)
        assert done.returncode == 0, done
        assert f"accused host  {ids['host']}" in done.stdout
        assert f"by the owner  {ids['owner']}" in done.stdout
        told = json.loads(verify(bench, name, "--json").stdout)
        assert (told["proven"], told["host"], told["owner"]) == (True, ids["host"], ids["owner"])
        assert told["stored"] == ("" if name == "older" else case.stored.hex())
    assert {path.name for path in bench.iterdir()} == set(charges)  # no home came about

    (bench / "right").write_bytes(pack_charge(case.right_answer()))
    done = verify(bench, "right")
    assert (done.returncode, done.stdout) == (15, "")
    assert "these are the bytes of the pack" in done.stderr

    (bench / "rebuttal").write_bytes(pack_rebuttal(case.rebuttal()))
    for name, code in (("wrong", 15), ("lost", 15), ("older", 0)):
        assert verify(bench, name, "--rebuttal", "rebuttal").returncode == code
    assert verify(bench, "nowhere").returncode == 2
    assert verify(bench, "rebuttal").returncode == 2


def test_a_bit_flipped_anywhere_makes_a_proof_worthless(world: World, case: Case):
    """One place within each part of the file, with the real command; tests/proof tries any byte."""
    charge = case.wrong_answer()
    file, seen = pack_charge(charge), set()
    places = {"magic": 3, "version": 7, "map": 8}
    for name in charge.__struct_fields__:
        value = getattr(charge, name)
        part = value[0] if isinstance(value, list) else value
        if isinstance(part, bytes):
            places[name] = file.index(part) + len(part) // 2
            places[f"end of {name}"] = file.index(part) + len(part) - 1
    places |= {f"name {name}": file.index(name.encode()) for name in ("length", "sample", "data", "path")}
    for name, at in places.items():
        harmed = bytearray(file)
        harmed[at] ^= 0x10
        (world.path / "harmed").write_bytes(harmed)
        done = verify(world.path, "harmed")
        assert done.returncode in {2, 15}, (name, done)
        assert (done.stdout, done.stderr[:7]) == ("", "error: "), (name, done)
        seen.add(done.returncode)
    assert seen == {2, 15}
    assert unpack_charge(file) == charge
