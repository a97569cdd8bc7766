import msgspec
import pytest

from backuppeer.control.blocking import BlockResult
from cli.rows import ask, make_peer, run
from control.dummy import PEER, given

BLOCKED = BlockResult(peer_id=PEER, alias="eve", blocked=True, reason="", until="2027-01-22T12:00:00Z")


@pytest.mark.parametrize("verb", ["block", "unblock"])
def test_it_says_what_stays_and_what_takes_it_back(capsys, agent, verb):
    dummy = agent({verb: given(msgspec.structs.replace(BLOCKED, blocked=verb == "block"))})
    words = ["--reason", "rude"] if verb == "block" else []
    code, out, _ = run(capsys, verb, "eve", *words)
    assert code == 0
    assert "2027-01-22" in out
    assert ("`backup-peer unblock eve" if verb == "block" else "`backup-peer peers renew eve") in out
    assert dummy.requests[-1][1].peer == "eve"
    assert ask(capsys, verb, "eve")[1][-1]["peer_id"] == PEER


def test_peers_tells_who_is_blocked_and_why(capsys, agent):
    agent({"peers": given([msgspec.structs.replace(make_peer(), blocked=True, reason="rude\x1b[31m")])})
    out = run(capsys, "peers")[1]
    assert "alice: blocked: rude" in out
    assert "\x1b" not in out
