import msgspec

from backuppeer.control.forgiving import ForgiveResult
from cli.rows import ROW, ask, make_peer, run
from control.dummy import PEER, given

LOST = "it lost or withheld 37 % of your data, found on 2026-11-28, and gets no new data"
FORGIVEN = ForgiveResult(peer_id=PEER, alias="alice", forgiven=[LOST + "\x1b[31m"])


def test_it_says_what_is_forgiven_and_what_happens_next(capsys, agent):
    dummy = agent({"peers/forgive": given(FORGIVEN)})
    code, out, _ = run(capsys, "peers", "forgive", "alice")
    assert code == 0
    assert "forgiven: alice" in " ".join(out.split())
    assert "37 %" in out
    assert "goes there again" in " ".join(out.split())
    assert "\x1b" not in out
    assert dummy.requests[-1][1].peer == "alice"
    assert ask(capsys, "peers forgive", "alice")[1][-1]["forgiven"] == FORGIVEN.forgiven


def test_peers_tells_why_a_score_is_capped_and_a_block_only_once(capsys, agent):
    row = msgspec.structs.replace(make_peer(), blocked=True, reason="rude", capped=["you blocked it", LOST])
    agent({"peers": given([row])})
    out = " ".join(run(capsys, "peers")[1].split())
    assert f"alice: {LOST}" in out
    assert out.count("alice: blocked") == 1
    assert "you blocked" not in out


def test_who_lost_things_is_not_called_as_a_newcomer_is(capsys, agent):
    low = {"trust": 0.06, "trust_level": "unproven", "capped": [LOST]}
    agent({"peers": given([make_peer(**low)]), "browse": given([msgspec.structs.replace(ROW, **low)])})
    for verb in ("peers", "browse"):
        assert "0.06 failed" in run(capsys, verb)[1]
        assert ask(capsys, verb)[1][0][0]["trust_level"] == "unproven"


def test_browse_tells_it_too_and_suggests_somebody_else(capsys, agent):
    capped = msgspec.structs.replace(ROW, capped=[LOST])
    other = msgspec.structs.replace(ROW, peer_id="bp1zzzz" + ROW.peer_id[7:])
    for rows, chosen in (([capped, other], other), ([capped], capped)):
        agent({"browse": given(rows), "peers": given([])})
        out = " ".join(run(capsys, "browse")[1].split())
        assert LOST in out
        assert f"`backup-peer connect {chosen.peer_id[:12]}" in out
