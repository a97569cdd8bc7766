"""Policy: who is accepted unasked, and what people are warned of."""

import pytest

from backuppeer.trust.policy import AcceptPolicy, is_safe_copy, may_auto_accept, risks_of


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
    assert not may_auto_accept(policy, is_friend=is_friend, has_agreement=has_agreement, is_blocked=True)


def test_a_stranger_comes_with_every_warning() -> None:
    risks = risks_of(0.0976, is_friend=False, has_evidence=False)
    assert len(risks) == 3
    assert any("safety words" in risk for risk in risks)
    assert any("your only copy is with an unproven peer" in risk for risk in risks)


def test_a_peer_that_failed_is_warned_of_by_what_it_did() -> None:
    risks = risks_of(0.3, is_friend=True, has_evidence=True)
    assert risks == ["this peer has not proven itself yet, or has failed before: it may lose or withhold what it keeps"]


def test_another_safe_copy_takes_the_last_warning_away() -> None:
    lonely = risks_of(0.55, is_friend=False, has_evidence=True)
    safe = risks_of(0.55, is_friend=False, has_evidence=True, other_safe_copies=1)
    assert [risk for risk in lonely if risk not in safe] == [
        "your only copy is with an unproven peer: keep another one elsewhere"
    ]


def test_a_trusted_friend_comes_without_warnings() -> None:
    assert risks_of(0.9, is_friend=True, has_evidence=True) == []


def test_a_copy_is_safe_from_point_six() -> None:
    assert [is_safe_copy(t) for t in (0.0, 0.5999, 0.6, 1.0)] == [False, False, True, True]
