"""Two machines at home find each other without any server, and again when one of them has another address."""

import os

import pytest

from e2e.harness import wait_until
from nat.house import cabled
from nat.lab import why_not

REASON = why_not()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(REASON), reason=REASON or "there is a cable")]
MIB = 1 << 20


def test_a_laptop_finds_the_machine_beside_it_and_backs_up_there_also_after_its_address_changed():
    with cabled("192.168.7.2", "192.168.7.3") as (world, (nas, laptop)):
        offered = nas.home.do("host", "--storage", "1GB", "--accept", "all", "--detach", "--yes").last
        assert (offered["servers"], offered["lan"]) == ([], ["192.168.7.2"])
        (row,) = laptop.home.do("browse").rows
        assert (row["peer_id"], row["lan"], row["servers"]) == (nas.peer_id, True, [])
        laptop.home.do("connect", nas.peer_id, "--storage", "100MB", "--name", "nas", "--yes")
        folder = world.path / "files"
        folder.mkdir()
        (folder / "one").write_bytes(os.urandom(MIB))
        assert laptop.home.do("backup", str(folder)).last["peers"] == [nas.peer_id]

        laptop.home.do("disconnect", "nas")
        # From here on nothing is on offer any more: only a partner is recognised.
        nas.home.do("host", "--stop")
        nas.move("192.168.7.50")
        wait_until(lambda: nas.home.do("status").last["lan"]["announced"] == ["192.168.7.50"], "the new address")
        (folder / "two").write_bytes(os.urandom(MIB))
        done = laptop.home.do("backup", str(folder)).last
        assert (done["peers"], done["sent_bytes"] > MIB) == ([nas.peer_id], True)
