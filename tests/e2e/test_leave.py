"""Leaving between real processes: notice on both sides, others' data kept, a home deleted without a rest."""

import pytest

from e2e.harness import agree

pytestmark = pytest.mark.slow


def test_who_leaves_keeps_what_is_others_and_a_home_without_any_goes_whole(world, tmp_path):
    pair = agree(world)
    data = tmp_path / "data"
    data.mkdir()
    (data / "file").write_bytes(bytes(range(256)) * 400)
    pair.owner.do("backup", str(data), "--to", "alice")

    kept = pair.host.run("leave", "--purge", "--yes", "--json")
    assert (kept.code, "nothing was deleted: 1 owner has" in kept.stderr) == (13, True), kept
    pair.owner.do("restore", "latest", "--target", str(tmp_path / "back"), "--verify")

    first = pair.owner.do("leave", "--yes").last
    assert [(row["alias"], row["told"]) for row in first["hosts"]] == [("alice", True)]
    assert (first["until"], first["agent"], first["purged"]) == ("", False, False)
    assert pair.owner.agent_pids() == []
    gone = pair.owner.do("leave", "--purge", "--yes").last
    assert (gone["purged"], gone["remaining"]) == (True, [])
    assert not pair.owner.path.exists()
    assert pair.owner.run("leave", "--purge", "--yes").code == 10
