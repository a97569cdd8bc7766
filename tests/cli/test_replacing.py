from backuppeer.control.replacing import ReplaceResult
from backuppeer.errors import RefusedError
from cli.rows import ask, run
from control.dummy import PEER, telling

REPLACED = ReplaceResult(old=PEER, new=PEER, packs=3, bytes=10**9, until="2027-01-22T12:00:00Z", told=False)


def test_it_asks_and_says_until_when_the_first_keeps_all(capsys, agent, terminal):
    dummy = agent({"peers/replace": telling([], REPLACED)})
    shown = terminal("n\n")
    assert run(capsys, "peers", "replace", "alice", "bob")[0] == 13
    assert "copy everything to bob, then end the agreement with alice? [y/N]" in " ".join(shown.getvalue().split())
    assert dummy.requests == []
    terminal("y\n")
    code, out, _ = run(capsys, "peers", "replace", "alice", "bob")
    said = " ".join(out.split())
    assert code == 0
    assert "bob has everything, 3 packs of 1 GB" in said
    assert "it keeps all until 2027-01-22 at least; it could not be reached" in said
    request = dummy.requests[-1][1]
    assert (request.old, request.new, request.confirmed) == ("alice", "bob", True)


def test_without_a_terminal_nobody_is_asked_and_a_no_of_the_host_is_13(capsys, agent):
    dummy = agent({"peers/replace": telling([], RefusedError("bob lacks 3 packs still"))})
    assert run(capsys, "peers", "replace", "alice", "bob")[0] == 2
    assert dummy.requests == []
    assert run(capsys, "peers", "replace", "alice", "bob", "--yes")[0] == 13
    agent({"peers/replace": telling([], REPLACED)})
    assert ask(capsys, "peers replace", "alice", "bob", "--yes")[1][-1]["packs"] == 3
