from backuppeer.control.vouching import VouchResult
from cli.rows import ask, run
from control.dummy import PEER, given

GIVEN = VouchResult(peer_id=PEER, alias="alice", vouched=True, until="2027-11-28T12:00:00Z")
BACK = VouchResult(peer_id=PEER, alias="alice", vouched=False, until="")


def test_a_word_that_is_given_says_until_when_it_counts_and_how_it_is_taken_back(capsys, agent):
    dummy = agent({"vouch": given(GIVEN)})
    code, out, _ = run(capsys, "vouch", "alice")
    assert code == 0
    assert "you vouch for alice" in out
    assert "2027-11-28" in out
    assert "`backup-peer vouch alice --withdraw" in " ".join(out.split())
    assert not dummy.requests[-1][1].withdraw
    assert ask(capsys, "vouch", "alice")[1][-1]["until"] == GIVEN.until


def test_a_word_that_is_taken_back_says_who_hears_of_that(capsys, agent):
    dummy = agent({"vouch": given(BACK)})
    code, out, _ = run(capsys, "vouch", "alice", "--withdraw")
    assert code == 0
    assert "no longer vouch for alice" in out
    assert dummy.requests[-1][1].withdraw
