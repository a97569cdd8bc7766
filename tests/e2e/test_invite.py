"""A friend is invited to a slot that no server lists, backs up there and gets everything back, also after a restart."""

import pytest

from e2e.harness import World, below, describe_tree
from e2e.seen import note
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


@pytest.mark.seen
def test_a_code_said_by_telephone_makes_friends_once_and_a_wrong_word_burns_it_for_both(world: World):
    world.start_server()
    host, _ = world.peer("host")
    owner, _ = world.peer("owner")
    host.do("host", "--storage", "1GB", "--unlisted", "--detach", "--yes")

    waiting = host.start("invite", "create", "--spoken", "--storage", "200MB", "--name", "alice")
    code = str(waiting.wait_event("code")["code"])
    number, _, words = code.partition("-")
    wrong = f"{number}-zoo-{'zone' if words == 'zoo-zoo' else 'zoo'}"
    guessed = owner.run("connect", wrong, "--name", "bob", "--yes")
    assert (guessed.code, "burnt" in str(guessed.last["message"])) == (12, True)
    told = waiting.wait()
    assert (told.code, told.last["code"]) == (12, 12)
    assert "other words were said" in str(told.last["message"])
    late = owner.run("connect", code, "--name", "bob", "--yes")
    assert late.code == 11
    assert f"nobody waits under the number {number}" in str(late.last["message"])
    assert host.do("requests").rows == []

    waiting = host.start("invite", "create", "--spoken", "--storage", "200MB", "--name", "alice")
    code = str(waiting.wait_event("code")["code"])
    # As somebody types it who heard it: capitals, blanks, the first four letters of each word.
    heard = " ".join(part[:4].upper() for part in code.split("-"))
    connected = owner.do("connect", heard, "--name", "bob", "--yes").last
    assert connected["quota_bytes"] == 200_000_000
    said = waiting.wait()
    assert (said.code, said.last["peer_id"]) == (0, owner.peer_id())
    for home, name in ((host, "alice"), (owner, "bob")):
        (row,) = home.do("peers").rows
        assert (row["alias"], row["verified"]) == (name, True)
    again = owner.run("connect", code, "--yes")
    assert (again.code, "nobody waits" in str(again.last["message"])) == (11, True), "it is over once it was said"
    note(
        world,
        "E2",
        "the chosen peer's spoken code is typed with wrong words, as by somebody in between who guesses",
        guessed,
        verb="connect",
        code=12,
        way_out="a new code, said again: connected, and both are marked as friends",
        hinted="",
    )
