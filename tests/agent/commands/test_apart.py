"""What is said of a host before it is chosen: its own reasons, and whom it hangs together with."""

from types import SimpleNamespace

import pytest

from agent.viewers import Viewer
from backuppeer.agent.commands.apart import describe_spare, find_risks, remind_of_spare
from backuppeer.ids import AgreementId, PeerId, format_peer_id
from backuppeer.limits import GIB
from backuppeer.trust.evidence import Kind

ALICE, BOB = PeerId(b"a" * 32), PeerId(b"b" * 32)
DAY_MS = 86_400_000


@pytest.fixture
def agent(tmp_path, owner):
    made = Viewer(tmp_path / "viewer")
    made.state.meet(ALICE, 1, alias="alice")
    made.state.meet(BOB, 1, alias="bob")
    made.state.put_agreement(AgreementId(b"1" * 16), ALICE, owner.propose(ALICE))
    yield SimpleNamespace(parts=made, places=made.places, saw=made.saw)
    made.close()


def risks_of(agent, peer=BOB):
    return " | ".join(find_risks(agent, peer))


def test_of_a_stranger_nothing_is_said_but_that_nothing_is_known(agent):
    assert "nothing is known about this peer yet" in risks_of(agent)
    assert "what is known of this peer" not in risks_of(agent)


def test_of_a_newer_host_its_own_short_record_is_the_reason(agent):
    agent.saw(BOB, Kind.AUDITED, days=3)
    assert find_risks(agent, BOB)[0].startswith("what is known of this peer makes 0.1")


def test_of_a_proven_one_only_what_was_not_compared_is_left(agent):
    agent.saw(BOB, Kind.AUDITED, days=120, size_bytes=10 * GIB)
    assert find_risks(agent, BOB) == ["you have not compared safety words: somebody else may answer under this name"]


def test_of_a_host_that_was_caught_is_said_what_that_means_and_the_score_says_at_what(agent):
    agent.saw(BOB, Kind.AUDITED, days=120, size_bytes=10 * GIB)
    agent.saw(BOB, Kind.MISBEHAVED)
    assert agent.parts.views.explaining.regard(BOB).reason.startswith("it broke its signed word (proven on 2026-11-")
    assert "failed before" in risks_of(agent)
    assert "its signed word" not in risks_of(agent)


def test_a_host_in_one_network_with_one_of_today_is_a_risk_and_both_copies_count_once(agent):
    agent.places |= {ALICE: ["8.8.4.4:1"], BOB: ["8.8.4.5:1"]}
    assert "it may be one machine with alice, or fall together with it (the same network)" in risks_of(agent)
    [spare] = describe_spare(agent, [format_peer_id(ALICE), format_peer_id(BOB)])
    assert (spare.name, "bob and alice may be one machine" in spare.reason) == ("bob", True)
    [line] = remind_of_spare(agent, [ALICE, BOB])
    assert "their copies count as one: `backup-peer browse` shows other hosts" in line
    assert remind_of_spare(agent, [ALICE]) == []
