"""Who meets whom directly, and who by the relay: real NATs, real agents, and a backup's bytes over what was found."""

import os
from itertools import product

import pytest

from nat.lab import Nat, back_up, expected, offer, opened, wait_path, why_not

REASON = why_not()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(REASON), reason=REASON or "there is a lab")]
MIB = 1 << 20


def fill(folder):
    folder.mkdir(exist_ok=True)
    (folder / "data").write_bytes(os.urandom(3 * MIB))


def measure(version, owners, hosts):
    """Return what came of each cell, having backed up in it."""
    found = {}
    with opened(version) as lab:
        folder = lab.world.path / "data"
        offering = {nat: lab.machine(f"h{nat[:2]}", nat) for nat in hosts}
        for host in offering.values():
            offer(host)
        for nat in owners:
            owner = lab.machine(f"o{nat[:2]}", nat)
            for host in offering.values():
                fill(folder)
                back_up(owner, host, folder)
                row = wait_path(owner, host, expected(nat, host.nat))
                assert int(row["sent_bytes"]) > 3 * MIB
                assert int(row["bytes_per_s"]) > 0
                assert ("symmetric" in row["path_reason"]) == (row["path"] == "relayed")
                found[nat, host.nat] = row["path"]
                print(f"IPv{version}  owner {nat:9}  host {host.nat:9}  {row['path']}  {row['path_reason']}")  # noqa: T201 - for whoever runs `make nat`
    return found


def plan(owners, hosts):
    return {(owner, host): expected(owner, host) for owner, host in product(owners, hosts)}


@pytest.mark.parametrize(
    ("version", "owners", "hosts"),
    [(4, [Nat.STEADY], [Nat.STEADY, Nat.SYMMETRIC]), (6, [Nat.SYMMETRIC], [Nat.NONE])],
)
def test_some_of_the_matrix(version, owners, hosts):
    assert measure(version, owners, hosts) == plan(owners, hosts)


@pytest.mark.long
@pytest.mark.parametrize("version", [4, 6])
def test_the_whole_matrix(version):
    assert measure(version, list(Nat), list(Nat)) == plan(list(Nat), list(Nat))


@pytest.mark.long
@pytest.mark.parametrize("mover", ["owner", "host"])
def test_a_machine_whose_line_went_down_and_came_up_elsewhere_is_found_again(mover):
    with opened(4) as lab:
        host, owner = lab.machine("h", Nat.STEADY), lab.machine("o", Nat.STEADY)
        offer(host)
        folder = lab.world.path / "data"
        fill(folder)
        back_up(owner, host, folder)
        lab.move(owner if mover == "owner" else host)
        fill(folder)
        done = owner.home.do("backup", "--to", host.nat.value, "--yes", str(folder)).last
        assert done["sent_bytes"]
        wait_path(owner, host, "direct")
