import msgspec

from backuppeer.control.showing import Account, PeerAccount
from cli.rows import run
from control.dummy import PEER, given

THERE = Account(
    agreed_bytes=10**10,
    used_bytes=4 * 10**9,
    deleted_bytes=10**9,
    next_free_bytes=10**9,
    next_free="2026-12-22T12:00:00Z",
    lock_s=30 * 86400,
    notice_s=30 * 86400,
    until="2027-11-22T12:00:00Z",
    revision=3,
    ends="2027-01-22T12:00:00Z",
    ended_by_us=True,
)
HERE = msgspec.structs.replace(THERE, used_bytes=10**9, revision=1, ends="", next_free_bytes=0)
BOTH = PeerAccount(
    peer_id=PEER, alias="alice", verified=True, blocked=False, there=THERE, here=HERE, owed_bytes=-3 * 10**9
)


def test_the_account_names_both_sides_their_terms_and_who_keeps_more(capsys, agent):
    agent({"peers/show": given(BOTH)})
    said = " ".join(run(capsys, "peers", "show", "alice")[1].split())
    for part in (
        "keeps for you: 4 GB of 10 GB, nothing more, as it ends",
        "changed 2 times",
        "you ended it: all is kept until 2027-01-22 at least",
        "you keep for it: 1 GB of 10 GB, 9 GB free now until 2027-11-22, lock 30 d, notice 30 d",
        "together: it keeps 3 GB more than the other",
    ):
        assert part in said
    code, out, _ = run(capsys, "peers", "show", "alice", "--json")
    assert code == 0
    assert msgspec.json.decode(out, type=PeerAccount) == BOTH


def test_what_is_not_agreed_is_said_so_and_nothing_is_compared(capsys, agent):
    agent({"peers/show": given(msgspec.structs.replace(BOTH, here=None))})
    out = run(capsys, "peers", "show", "alice")[1]
    assert "you keep for it: nothing is agreed" in out
    assert "together" not in out
