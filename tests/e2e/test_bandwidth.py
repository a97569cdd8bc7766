"""Caps on what is sent and received, between real processes: kept to, shown, and lifted in the middle of a backup."""

import time

import pytest

from e2e.harness import World, agree, wait_until
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
MB = 1_000_000


def test_a_cap_holds_is_shown_and_can_be_lifted_while_bytes_move(world: World):
    pair = agree(world)
    owner, host = pair.owner, pair.host
    make_random_files(world.path / "docs", count=4, size_bytes=2 * MB, seed=1)
    owner.do("config", "set", "bandwidth.up", "2MB/s")
    host.do("config", "set", "bandwidth.host_down", "250kB/s")
    backup, begun_s = owner.start("backup", str(world.path / "docs")), time.monotonic()
    wait_until(lambda: any(row["caps"] for row in host.do("sessions").rows), "work under a cap")
    capped = next(row for row in owner.do("sessions").rows if row["caps"])
    assert capped["caps"] == [{"direction": "up", "role": "all", "bytes_per_s": 2 * MB, "until": ""}]
    host.do("config", "set", "bandwidth.host_down", "")
    assert backup.wait().code == 0
    took_s = time.monotonic() - begun_s
    assert took_s >= 3, "its own cap still held"
    assert took_s < 25, "with the host's cap it would have taken 32 s"
    assert host.do("status").last["caps"] == []
