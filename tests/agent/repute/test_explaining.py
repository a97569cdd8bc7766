"""What a person reads of a score: real evidence, every cap with its end, and what ends it."""

import asyncio
from types import SimpleNamespace

import pytest

from agent.viewers import DAY_MS, Viewer
from backuppeer.agent.commands.reputation import ReputationCommands
from backuppeer.agent.home.identity_alarms import Alarm, Sort, keep_alarms
from backuppeer.clock import format_time
from backuppeer.control.reputation import ReputationRequest
from backuppeer.errors import NotFoundError, UserError
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.limits import GIB
from backuppeer.trust.evidence import Kind
from backuppeer.trust.hearsay import Heard

ME, ALICE, BOB, CAROL = (PeerId(letter * 32) for letter in (b"m", b"a", b"b", b"c"))


def way(amount, *by, kind="receipt"):
    """A way from this home by others to ALICE."""
    return SimpleNamespace(peers=(ME, *by, ALICE), kind=kind, amount=amount)


@pytest.fixture
def viewer(tmp_path):
    made = Viewer(tmp_path)
    yield made
    made.close()


@pytest.fixture
def state(viewer):
    return viewer.state


@pytest.fixture
def desk(viewer):
    """Commands of a home that met alice."""
    viewer.state.meet(ALICE, 1, alias="alice")
    parts = SimpleNamespace(
        state=viewer.state,
        standing=viewer.standing,
        views=viewer.views,
        clock=viewer.clock,
        keys=SimpleNamespace(peer=ME),
    )
    commands = ReputationCommands(SimpleNamespace(parts=parts))

    def explain(peer="alice"):
        return asyncio.run(commands.explain(ReputationRequest(peer=peer), None))

    def list_all(peer=""):
        return asyncio.run(commands.list_all(ReputationRequest(peer=peer), None))

    def saw(kind, *, days_ago=0, size_bytes=0, peer=ALICE):
        viewer.saw(peer, kind, days_ago=days_ago, size_bytes=size_bytes)

    return SimpleNamespace(
        explain=explain,
        list_all=list_all,
        saw=saw,
        views=viewer.views,
        standing=viewer.standing,
        clock=viewer.clock,
    )


def test_a_peer_nobody_ever_heard_of_is_no_such_thing_and_one_on_the_market_is_shown_as_far_as_it_is_known(state, desk):
    with pytest.raises(NotFoundError):
        desk.explain("nobody")
    with pytest.raises(NotFoundError, match="nothing was ever seen"):
        desk.explain(format_peer_id(BOB))
    with pytest.raises(UserError, match="nobody scores itself"):
        desk.explain(format_peer_id(ME))
    state.put_heard([BOB])
    found = desk.explain(format_peer_id(BOB))
    assert (found.known, found.reason, found.trust_level) == (False, "nothing known", "unproven")
    assert found.trust == pytest.approx(0.0976, abs=0.001)


def test_what_is_shown_adds_up_and_the_way_up_names_commands(desk):
    for day in range(40):
        desk.saw(Kind.AUDITED, days_ago=day, size_bytes=12 * GIB)
    found = desk.explain()
    assert sum(each.alpha for each in found.good) == pytest.approx(found.alpha, abs=0.001)
    assert [each.days for each in found.good] == [30, 10]
    assert found.reason == "kept 12.9 GB for 40 days"
    by_hand = (1 + found.alpha) / (3 + found.alpha + found.beta)
    assert found.mean == pytest.approx(by_hand, abs=0.001)
    assert found.trust == pytest.approx(found.mean - found.deviation, abs=0.001)
    commands = {each.command for each in found.raises}
    assert "backup-peer peers verify alice" in commands
    assert any("more days of audits" in each.text for each in found.raises)
    assert found.trust == desk.list_all("alice")[0].trust


def test_a_loss_names_its_day_and_repair_ends_it_until_it_is_sent_again_then_an_audit_does(desk):
    desk.standing.held_bytes = lambda _: 100 * GIB
    desk.saw(Kind.AUDITED, days_ago=9, size_bytes=GIB)
    desk.saw(Kind.LOST, days_ago=3, size_bytes=50 * GIB)
    found = desk.explain()
    assert {cap.name for cap in found.caps} == {"unresolved_loss", "verified_loss_share"}
    assert found.caps[0].text.startswith("it lost or withheld 33 % of your data")
    assert found.caps[1].text == "what it lost is not made good yet"
    assert [each.fault for each in found.bad] == ["proven_loss"]
    assert found.raises[0].command == "backup-peer repair"
    assert "repair" not in "".join(each.command for each in found.raises[1:]), "one act ends both"
    desk.saw(Kind.MISBEHAVED)
    assert desk.explain().raises[1].text.startswith("then "), "the one cap and then the other"
    desk.saw(Kind.HEALED)
    assert "backup-peer audit alice --now" in [each.command for each in desk.explain().raises]


def test_a_loss_that_the_host_reported_caps_as_one_found_out_says_whose_word_it_is_and_ends_by_the_same(desk):
    desk.saw(Kind.REPORTED_LOSS, days_ago=3, size_bytes=50 * GIB)
    found = desk.explain()
    assert {cap.name for cap in found.caps} == {"unresolved_loss", "reported_loss_share"}
    assert found.caps[0].text.startswith("it lost 100 % of your data, as it said itself on ")
    assert (found.caps[0].trust, found.caps[1].text) == (0.3, "what it lost is not made good yet")
    assert [each.command for each in found.raises if "sent again" in each.text] == ["backup-peer repair"]
    assert desk.standing.bar(BOB) is None, "who admits fares no worse than who hides"


def test_a_lie_and_a_relapse_say_when_they_end_by_themselves(desk):
    desk.saw(Kind.MISBEHAVED, days_ago=100)
    desk.saw(Kind.MISBEHAVED, days_ago=10)
    ends = {cap.name: cap.ends[:10] for cap in desk.explain().caps}
    assert set(ends) == {"misbehaviour", "relapsed"}
    desk.clock.ms += 169 * DAY_MS
    assert "misbehaviour" in {cap.name for cap in desk.explain().caps}
    desk.clock.ms += 1 * DAY_MS
    assert "misbehaviour" not in {cap.name for cap in desk.explain().caps}
    day = 170
    while any(cap.name == "relapsed" for cap in desk.explain().caps):
        desk.clock.ms += DAY_MS
        day += 1
    assert day == 265, "a year after the first spell"
    assert format_time(desk.clock.now_ms())[:10] == ends["relapsed"]


def test_what_was_heard_names_each_way_and_how_many_of_ones_peers_store_there(desk):
    desk.standing.heard = {ALICE: Heard(1.0, 0.1)}.get
    desk.views.explaining.paths = lambda _: (way(0.7, BOB), way(0.3, BOB, CAROL), way(0.1, CAROL, kind="claim"))
    found = desk.explain()
    assert found.reason == "2 of your peers store there"
    assert [(len(each.by), each.beta > 0) for each in found.heard] == [(1, False), (2, False), (1, True)]
    assert sum(each.alpha for each in found.heard) == pytest.approx(found.heard_alpha)


def test_everybody_dealt_with_or_seen_is_listed_best_first(state, desk):
    desk.saw(Kind.AUDITED, peer=BOB, size_bytes=GIB)
    state.meet(CAROL, 1, alias="carol", verified=True)
    rows = desk.list_all()
    assert [row.peer_id for row in rows] == [format_peer_id(peer) for peer in (CAROL, BOB, ALICE)]
    assert rows[0].friend
    assert rows[0].reason == "friend"


def test_who_keeps_nothing_is_to_keep_something_first(state, desk):
    ahead = [each for each in desk.explain().raises if "audits" in each.text]
    assert ahead
    assert all(each.text.startswith("first it must keep something") for each in ahead)
    assert {each.command for each in ahead} == {"backup-peer connect alice"}
    desk.standing.held_bytes = lambda _: GIB
    assert not any("first it must" in each.text for each in desk.explain().raises)


def test_a_way_that_leaves_the_number_as_it_is_says_so(desk):
    desk.standing.held_bytes = lambda _: GIB
    for day in range(3):
        desk.saw(Kind.LOST, days_ago=day, size_bytes=3 * GIB)
    found = desk.explain()
    [mended] = [each for each in found.raises if each.command == "backup-peer repair"]
    assert mended.trust == found.trust
    assert mended.text.endswith("that alone raises no score")


def test_words_that_differed_are_the_reason_and_comparing_is_no_promise(state, desk):
    keep_alarms(state, [Alarm(peer=ALICE, sort=Sort.WORDS, time_ms=desk.clock.now_ms(), is_seen=True)])
    found = desk.explain()
    assert "its safety words differed" in found.reason
    assert not any("compare" in each.text for each in found.raises)
