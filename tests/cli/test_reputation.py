import msgspec

from backuppeer.control.reputation import BadDay, CapRow, GoodDays, HeardBy, RaiseRow, Reputation, ReputationRow
from cli.rows import run
from control.dummy import PEER, given

ROW = ReputationRow(peer_id=PEER, alias="alice", friend=True, trust=0.62, trust_level="fair", reason="friend")
FOUND = Reputation(
    peer_id=PEER,
    alias="alice",
    friend=True,
    known=True,
    trust=0.5,
    trust_level="fair",
    reason="friend, kept 12.9 GB for 30 days",
    good=[GoodDays(newest="2026-11-22", oldest="2026-10-24", days=30, weight=0.25, spans=1, fade=0.8, alpha=6)],
    bad=[BadDay(day="2026-11-01", fault="refused_online", kappa=4, weight=0.125, fade=0.9, beta=0.45)],
    heard=[
        HeardBy(by=[PEER], names=["bob\x1b[31m"], kind="receipt", alpha=0.4, beta=0.0),
        HeardBy(by=[PEER, PEER], names=["carol", "dan"], kind="vouch", alpha=0.1, beta=0.0),
        HeardBy(by=[PEER], names=["erin"], kind="one-sided", alpha=0.06, beta=0.0),
        HeardBy(by=[PEER], names=["frank"], kind="rumour", alpha=0.04, beta=0.0),
    ],
    own_alpha=6,
    own_beta=0.45,
    friend_alpha=6.0,
    heard_alpha=0.6,
    heard_beta=0.0,
    alpha=12.5,
    beta=0.45,
    mean=0.8464,
    deviation=0.0876,
    score=0.7588,
    observed=0.9,
    promised=0.95,
    factor=0.9733,
    uncapped=0.7386,
    caps=[CapRow(name="unresolved_loss", trust=0.5, text="it lost\x1b[31m", ends="2027-01-01T12:00:00Z")],
    raises=[RaiseRow(trust=0.63, text="an audit finds it whole", command="backup-peer audit alice --now")],
)


def test_one_line_per_peer_with_score_level_and_reason(capsys, agent):
    agent({"reputation": given([ROW])})
    code, out, _ = run(capsys, "reputation")
    assert code == 0
    assert "♥ alice  0.62 fair  friend" in out
    assert "reputation explain alice" in out
    code, out, _ = run(capsys, "reputation", "alice", "--json")
    assert msgspec.json.decode(out, type=list[ReputationRow]) == [ROW]


def test_who_knows_nobody_is_told_where_to_look(capsys, agent):
    agent({"reputation": given([])})
    _, out, err = run(capsys, "reputation")
    assert "nobody is known yet" in out
    assert "backup-peer browse" in err


def test_an_explanation_is_a_sum_that_can_be_checked_by_hand(capsys, agent):
    agent({"reputation/explain": given(FOUND)})
    code, out, _ = run(capsys, "reputation", "explain", "alice")
    assert code == 0
    for part in (
        "6.000  2026-10-24 to 2026-11-22: 30 days * weight 0.250 * faded to 0.800",
        "6.000  you compared the safety words: a friend",
        "0.600  heard from others\n",
        "of it 0.400 by way of bob\\u001b[31m: a receipt that both signed",
        "of it 0.100 by way of carol → dan: a vouch",
        "of it 0.060 by way of erin: a receipt that the owner alone signed",
        "of it 0.040 by way of frank: rumour",
        "12.500  = alpha",
        "0.450  2026-11-01: refused, or broke the protocol, while online: weight 0.125 * 4 * faded to 0.900",
        "0.450  = beta",
        "mean       (1 + 12.500) / (3 + 12.500 + 0.450) = 0.846",
        "score      0.846 - 0.088 = 0.759",
        "it was there 90 % of the time, and promised 95 %: * 0.973 = 0.739",
        "at 0.50 at most, until 2027-01-01: it lost\\u001b[31m",
        "trust      0.500: fair",
        "0.63  an audit finds it whole: `backup-peer audit alice --now",
    ):
        assert part in out.replace("\N{MULTIPLICATION SIGN}", "*"), part
    assert "\x1b" not in out
    code, out, _ = run(capsys, "reputation", "explain", "alice", "--json")
    assert msgspec.json.decode(out, type=Reputation) == FOUND


def test_of_whom_nothing_is_known_only_the_beginning_is_shown(capsys, agent):
    unknown = msgspec.structs.replace(
        FOUND, known=False, good=[], bad=[], heard=[], caps=[], raises=[], alpha=0, beta=0
    )
    agent({"reputation/explain": given(unknown)})
    out = run(capsys, "reputation", "explain", "alice")[1]
    assert "this is where everybody begins" in out
    assert "speaks for it" not in out
    assert "nothing that can be done now would raise it" in out
