"""What a newcomer is told is what the score does."""

from backuppeer.trust.newcomer import advise_newcomer, days_until
from backuppeer.trust.score import DayEvidence, Evidence, score_host, sum_days


def test_the_days_that_are_named_lead_to_the_score_that_is_named_and_no_day_less_does():
    for trust in (0.5, 0.6):
        days = [DayEvidence(float(age), 1.0) for age in range(days_until(trust))]
        assert score_host(Evidence(*sum_days(days))) >= trust > score_host(Evidence(*sum_days(days[:-1])))


def test_the_advice_begins_with_a_friend_and_names_a_host_to_try():
    friend, trial, waiting = advise_newcomer("bp1abc")
    assert "--verified" in friend
    assert "`backup-peer connect bp1abc --trial`" in trial
    assert "asks for 1.07 GB for 30 days" in trial, "as sizes are shown everywhere"
    assert f"after {days_until(0.5)} days" in waiting
