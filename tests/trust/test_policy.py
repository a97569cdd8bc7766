"""Policy: who is accepted unasked, and what people are warned of."""

import pytest

from backuppeer.trust.policy import AcceptPolicy, copy_risk, is_safe_copy, may_auto_accept, risks_of


@pytest.mark.parametrize(
    ("policy", "is_friend", "has_agreement", "accepted"),
    [
        (AcceptPolicy.ASK, True, True, False),
        (AcceptPolicy.TRUSTED, False, False, False),
        (AcceptPolicy.TRUSTED, True, False, True),
        (AcceptPolicy.TRUSTED, False, True, True),
        (AcceptPolicy.ALL, False, False, True),
    ],
)
def test_only_what_the_host_said_is_accepted_unasked(policy, is_friend, has_agreement, accepted) -> None:
    assert may_auto_accept(policy, is_friend=is_friend, has_agreement=has_agreement) is accepted


def test_a_stranger_comes_with_every_warning_about_itself() -> None:
    risks = risks_of(0.0976, is_friend=False, has_evidence=False)
    assert len(risks) == 2
    assert any("safety words" in risk for risk in risks)
    assert any("nothing is known" in risk for risk in risks)


def test_a_peer_is_warned_of_by_what_it_did_or_by_what_it_has_not_done_yet() -> None:
    (failed,) = risks_of(0.3, is_friend=True, has_evidence=True, has_failed=True)
    assert failed == "this peer has failed before: it may lose or withhold what it keeps"
    (caught,) = risks_of(0.5, is_friend=True, has_evidence=True, has_failed=True, is_unresolved=True)
    assert caught == "this peer failed, and that is not made good yet: it may lose or withhold what it keeps"
    (young,) = risks_of(0.3, is_friend=True, has_evidence=True)
    assert "failed" not in young
    assert "not proven itself for long" in young


def test_a_friend_of_fair_trust_is_not_called_unknown_for_want_of_evidence() -> None:
    assert risks_of(0.65, is_friend=True, has_evidence=False) == []


def test_the_only_copy_is_warned_of_when_it_is_the_only_one_and_not_safe() -> None:
    assert copy_risk([False]) == "your only copy is with an unproven peer: keep another one elsewhere"
    assert copy_risk([False], is_planned=True).startswith("your only copy would be")
    assert copy_risk([False, False]).startswith("none of your 2 copies is with a proven peer")
    assert [copy_risk(safe) for safe in ([], [True], [False, True])] == [""] * 3


def test_a_trusted_friend_comes_without_warnings() -> None:
    assert risks_of(0.9, is_friend=True, has_evidence=True) == []


def test_a_copy_is_safe_from_point_six() -> None:
    assert [is_safe_copy(t) for t in (0.0, 0.5999, 0.6, 1.0)] == [False, False, True, True]
    assert is_safe_copy(0.0, is_friend=True)
    assert not is_safe_copy(0.3, is_friend=True, is_capped=True), "a friend that failed is one copy less"
