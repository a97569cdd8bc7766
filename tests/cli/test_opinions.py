import msgspec

from backuppeer.control.reputation import OpinionRow
from cli.rows import run
from control.dummy import PEER, given

SAID = OpinionRow(
    peer_id=PEER, alias="alice", trust=0.62, trust_level="fair", reasons=["kept 12.9 GB\x1b[31m", 'run "`rm`"']
)
AWAY = OpinionRow(peer_id=PEER, alias="bob", error="no answer within 10 s")


def test_what_partners_think_is_shown_as_their_word_and_who_is_silent_is_named_with_3(capsys, agent):
    dummy = agent({"reputation/me": given([SAID, AWAY])})
    code, out, err = run(capsys, "reputation", "--me", "--wait", "20s")
    assert code == 3
    assert "alice  0.62 fair   \"kept 12.9 GB\\u001b[31m; run '`rm`'\"" in out
    assert "1 partner said so; it is their word" in out
    assert "bob did not say: no answer within 10 s" in err
    assert dummy.requests[-1][1].wait_s == 20
    code, out, _ = run(capsys, "reputation", "--me", "--json")
    assert msgspec.json.decode(out, type=list[OpinionRow]) == [SAID, AWAY]


def test_an_answer_of_within_the_hour_is_shown_with_its_time_and_is_as_good(capsys, agent):
    agent({"reputation/me": given([msgspec.structs.replace(SAID, told="2026-11-28T12:00:00Z")])})
    code, out, err = run(capsys, "reputation", "--me")
    assert code == 0
    assert "0.62 fair" in out
    assert "alice said so at 2026-11-28 " in err


def test_all_heard_is_0_nobody_is_11_and_a_name_beside_is_no_command(capsys, agent):
    agent({"reputation/me": given([SAID])})
    assert run(capsys, "reputation", "--me")[0] == 0
    agent({"reputation/me": given([AWAY])})
    assert run(capsys, "reputation", "--me")[0] == 11
    assert run(capsys, "reputation", "alice", "--me")[0] == 2
    assert run(capsys, "reputation", "alice", "--wait", "3s")[0] == 2
