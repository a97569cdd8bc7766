import msgspec
import pytest

from backuppeer.control.blocking import BlockPlan, BlockResult, EndingLeft, EndingSide
from backuppeer.control.ending import EndPlan
from cli.rows import ask, make_peer, run
from control.dummy import PEER, given

BLOCKED = BlockResult(peer_id=PEER, alias="eve", blocked=True, reason="", until="2027-01-22T12:00:00Z")
BLOCKED.ends = [EndingSide(side="owner", until=BLOCKED.until, ended_by_us=True)]


@pytest.mark.parametrize("verb", ["block", "unblock"])
def test_it_says_what_stays_and_what_takes_it_back(capsys, agent, verb):
    plan = BlockPlan(peer_id=PEER, name="eve", ends=[])
    dummy = agent({verb: given(msgspec.structs.replace(BLOCKED, blocked=verb == "block")), "block/plan": given(plan)})
    words = ["--reason", "rude"] if verb == "block" else []
    code, out, _ = run(capsys, verb, "eve", *words)
    assert code == 0
    assert "2027-01-22" in out
    assert ("`backup-peer unblock eve" if verb == "block" else "`backup-peer peers renew eve") in out
    assert dummy.requests[-1][1].peer == "eve"
    assert ask(capsys, verb, "eve")[1][-1]["peer_id"] == PEER


@pytest.mark.parametrize("verb", ["block", "unblock"])
def test_it_says_why_the_peer_is_or_was_shut_out(capsys, agent, verb):
    result = msgspec.structs.replace(BLOCKED, reason="rude\x1b[31m")
    agent({verb: given(result), "block/plan": given(BlockPlan(peer_id=PEER, name="eve", ends=[]))})
    out = run(capsys, verb, "eve")[1]
    assert "because: rude" in out
    assert "\x1b" not in out


def test_peers_tells_who_is_blocked_and_why(capsys, agent):
    agent({"peers": given([msgspec.structs.replace(make_peer(), blocked=True, reason="rude\x1b[31m")])})
    out = run(capsys, "peers")[1]
    assert "alice: blocked: rude" in out
    assert "\x1b" not in out


def ending_plan():
    end = EndPlan(peer_id=PEER, name="eve", side="owner", used_bytes=5 * 10**9, until="2027-01-22T12:00:00Z")
    return BlockPlan(peer_id=PEER, name="eve", ends=[end])


def test_a_block_that_ends_an_agreement_asks_and_a_no_changes_nothing(capsys, agent, terminal):
    dummy = agent({"block": given(BLOCKED), "block/plan": given(ending_plan())})
    shown = terminal("n\n")
    assert run(capsys, "block", "eve")[0] == 13
    text = " ".join(shown.getvalue().split())
    assert "eve keeps 5 GB of your backups: this gives notice" in text
    assert "block eve, and end the agreement? [y/N]" in text
    assert [route for route, _ in dummy.requests] == ["block/plan"]
    terminal("y\n")
    assert run(capsys, "block", "eve")[0] == 0
    assert dummy.requests[-1][1].confirmed


def test_without_a_terminal_it_ends_nothing_unasked(capsys, agent):
    dummy = agent({"block": given(BLOCKED), "block/plan": given(ending_plan())})
    code, _, err = run(capsys, "block", "eve")
    assert (code, "--yes" in err) == (2, True)
    assert run(capsys, "block", "eve", "--yes")[0] == 0
    assert dummy.requests[-1][1].confirmed


def test_unblock_says_what_it_does_not_bring_back(capsys, agent):
    both = [
        EndingSide(side="owner", until=BLOCKED.until, ended_by_us=False),
        EndingSide(side="host", until=BLOCKED.until, ended_by_us=True),
    ]
    agent({"unblock": given(msgspec.structs.replace(BLOCKED, blocked=False, alias="old eve", ends=both))})
    out = " ".join(run(capsys, "unblock", "old eve")[1].split())
    assert "its agreement to keep your data ends all the same" in out
    assert "`backup-peer peers renew 'old eve' --as host" in out


def test_what_could_not_be_ended_is_said_with_the_command_for_it(capsys, agent):
    left = msgspec.structs.replace(BLOCKED, ends=[], left=[EndingLeft(side="owner", why="it says no")])
    agent({"block": given(left), "block/plan": given(ending_plan())})
    code, out, _ = run(capsys, "block", "eve", "--yes")
    text = " ".join(out.split())
    assert (code, "blocked: eve" in text) == (0, True)
    assert "its agreement to keep your data could not be ended: it says no" in text
    assert "`backup-peer peers end eve --as owner" in text
