"""A friend is invited to a slot that no server lists, backs up there and gets everything back, also after a restart."""

import pytest

from e2e.harness import World, below, describe_tree
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def test_a_friend_comes_by_an_invite_to_an_unlisted_host_and_gets_every_byte_back(world: World):
    world.start_server()
    host, _ = world.peer("host")
    owner, _ = world.peer("owner")
    host.do("host", "--storage", "1GB", "--unlisted", "--detach", "--yes")
    made = host.do("invite", "create", "--storage", "200MB", "--name", "alice").last
    assert owner.do("browse").rows == []

    connected = owner.do("connect", "-", "--name", "bob", "--yes", stdin=f"\n{str(made['invite']).upper()}\n").last
    assert (connected["peer_id"], connected["quota_bytes"]) == (made["peer_id"], 200_000_000)
    (row,) = host.do("requests").rows
    assert (row["invite"], row["alias"], row["state"]) == ("alice", "alice", "agreed")
    assert row["safety_words"] == connected["safety_words"]
    (invite,) = host.do("invite", "list").rows
    assert (invite["state"], [use["peer_id"] for use in invite["used"]]) == ("used up", [owner.peer_id()])

    tree = world.path / "files"
    make_random_files(tree, count=3, size_bytes=300_000, seed=5)
    owner.do("backup", str(tree))
    host.do("agent", "stop")
    assert host.do("status").last["hosting"]["unlisted"] is True
    assert owner.do("browse").rows == [], "nor is it listed after a restart"
    target = world.path / "restored"
    owner.do("restore", "latest", "--target", str(target))
    assert describe_tree(below(target, tree)) == describe_tree(tree)
