"""Three real servers hang and die one by one while peers meet, back up, and go on without any."""

import os
import signal

import pytest

from e2e.harness import Home, Running, World, wait_request, wait_until
from e2e.seen import note
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def hang(server: Running) -> None:
    """Stop a process where it is: its sockets stay open, and nothing is ever answered."""
    os.kill(server.process.pid, signal.SIGSTOP)


def kill(server: Running) -> None:
    """End it as a power cut would."""
    server.process.kill()
    server.process.wait()


def states(home: Home) -> dict[str, dict[str, object]]:
    return {str(row["url"]): row for row in home.do("status").last["servers"]}


@pytest.mark.seen
def test_peers_meet_and_back_up_while_server_after_server_hangs_and_dies(world: World):
    servers, urls = [], []
    for _ in range(3):
        servers.append(world.start_server())
        urls.append(world.servers)
    world.servers = ",".join(urls)
    (one, two, three), (first, second, third) = servers, urls
    host, _ = world.peer("host")
    owner, _ = world.peer("owner")
    name = host.peer_id()

    hang(one)
    offered = host.do("host", "--storage", "1GB", "--accept", "ask", "--detach", "--yes").last
    assert offered["servers"] == [second, third]
    kill(one)

    hang(two)
    (row,) = owner.do("browse").rows
    assert (row["peer_id"], row["servers"]) == (name, [third])
    listed = {str(row["url"]): row["state"] for row in owner.do("config", "servers", "list").rows}
    assert "refused" in listed[first]["error"]
    assert "did not answer" in listed[second]["error"]
    assert (listed[third]["error"], listed[third]["rows"]) == ("", 1)

    connecting = owner.start("connect", name, "--storage", "500MB", "--name", "alice", "--yes", "--wait", "60s")
    connecting.wait_event("state", state="waiting")
    kill(two)
    host.do("requests", "accept", str(wait_request(host)["request_id"]))
    assert connecting.wait().code == 0

    # Killed and back: the host is on show there again without anybody's doing.
    world.start_server(port=int(first.rpartition(":")[2]))
    wait_until(lambda: states(host)[first]["connected"], "the host to come back to the first server")
    again = world.home("again", servers=first)
    again.do("init", "--yes")
    wait_until(lambda: [row["peer_id"] for row in again.do("browse").rows] == [name], "the offer to be back")

    tree = world.path / "files"
    make_random_files(tree, count=4, size_bytes=8_000_000, seed=3)
    saving = owner.start("backup", str(tree))
    saving.wait_event("progress")
    kill(three)
    kill(world._servers[-1])
    saved = saving.wait()
    assert (saved.code, saved.last["errors"]) == (0, 0)

    wait_until(lambda: not any(row["connected"] for row in states(host).values()), "the host to notice")
    owner.do("disconnect", "alice")
    (tree / "new").write_text("written when no server was left")
    assert owner.do("backup", str(tree)).last["files"] == 5
    refused = owner.run("browse")
    assert refused.code == 14
    for url in urls:
        assert url in str(refused.last["message"])
    world.start_server(port=int(second.rpartition(":")[2]))
    wait_until(lambda: owner.do("browse").rows, "the offer to be on a server that is back")
    note(
        world,
        "E3",
        "all three signaling servers hang or are killed, one after the other; backups go on without any",
        refused,
        verb="browse",
        code=14,
        way_out="one server is back, and the same command finds the offer; nothing else was needed",
        hinted="",
    )
