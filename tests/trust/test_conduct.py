"""What stands against a host, what ends it, and what follows: by hand, and for any order of acts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.clock import DAY_S
from backuppeer.trust.conduct import (
    DOUBTED,
    LIE_DAYS,
    Act,
    Bar,
    Conduct,
    Seen,
    add_told,
    advise,
    describe_caps,
    find_bar,
    find_word,
    is_doubted,
    stand,
    sum_up,
)
from backuppeer.trust.score import Evidence, find_caps, score_host

DAY_MS = 1000 * DAY_S
NOW_MS = 400 * DAY_MS
GIB = 1 << 30


def after(*acts, now_ms=NOW_MS, lost_bytes=GIB):
    seen = [
        Seen(act, NOW_MS + number, lost_bytes if act in {Act.LOST, Act.TOLD} else 0) for number, act in enumerate(acts)
    ]
    return sum_up(seen, now_ms=now_ms)


def bar_of(conduct, *, held_bytes=9 * GIB):
    return find_bar(stand(conduct, held_bytes=held_bytes))


@pytest.mark.parametrize(
    ("acts", "bar", "is_capped"),
    [
        ((), None, False),
        ((Act.FAILED,), None, True),
        ((Act.FAILED, Act.CLEARED), None, True),  # an audit alone does not say that what it lost is there again
        ((Act.FAILED, Act.HEALED), None, True),
        ((Act.FAILED, Act.HEALED, Act.CLEARED), None, False),
        ((Act.LOST,), Bar.LOST, True),
        ((Act.LOST, Act.HEALED), Bar.LOST, True),
        ((Act.HEALED, Act.LOST, Act.CLEARED), Bar.LOST, True),
        ((Act.LOST, Act.HEALED, Act.FAILED, Act.CLEARED), Bar.LOST, True),
        ((Act.LOST, Act.HEALED, Act.CLEARED), None, False),
        ((Act.LOST, Act.FORGIVEN), None, False),
        ((Act.LIED,), Bar.LIED, True),
        ((Act.LIED, Act.HEALED, Act.CLEARED), Bar.LIED, True),
        ((Act.LIED, Act.LOST, Act.HEALED, Act.CLEARED), Bar.LIED, True),
        ((Act.LIED, Act.FORGIVEN), None, False),
        ((Act.FORGIVEN, Act.LIED), Bar.LIED, True),
        ((Act.LOST, Act.FORGIVEN, Act.LOST), Bar.LOST, True),
        ((Act.TOLD,), None, True),
        ((Act.TOLD, Act.HEALED), None, True),
        ((Act.TOLD, Act.HEALED, Act.CLEARED), None, False),
        ((Act.TOLD, Act.FORGIVEN), None, False),
        ((Act.TOLD, Act.LOST), Bar.LOST, True),
    ],
)
def test_what_stands_ends_by_healing_and_an_audit_or_by_a_person_and_by_nothing_else(acts, bar, is_capped):
    conduct = after(*acts)
    standing = stand(conduct, held_bytes=9 * GIB)
    assert find_bar(standing) is bar
    assert bool(describe_caps(conduct, standing)) is is_doubted(standing) is is_capped
    assert bool(advise("alice", conduct, standing)) is is_capped


def test_a_proof_counts_for_180_days_and_a_loss_until_it_is_made_good():
    for days, bar in ((LIE_DAYS - 1, Bar.LIED), (LIE_DAYS + 1, None)):
        assert bar_of(after(Act.LIED, now_ms=NOW_MS + days * DAY_MS)) is bar
        assert bar_of(after(Act.LOST, now_ms=NOW_MS + days * DAY_MS)) is Bar.LOST


def test_a_hundredth_that_is_lost_is_what_disks_do_and_more_is_not():
    assert bar_of(after(Act.LOST), held_bytes=99 * GIB) is None
    assert bar_of(after(Act.LOST), held_bytes=98 * GIB) is Bar.LOST
    assert bar_of(after(Act.LOST), held_bytes=0) is Bar.LOST, "who keeps nothing any more lost all"


def test_the_same_loss_found_a_hundred_times_is_one_loss():
    assert bar_of(after(*[Act.LOST] * 100), held_bytes=99 * GIB) is None


@pytest.mark.parametrize(
    ("acts", "held_bytes", "said"),
    [
        ((Act.TOLD,), 0, "it lost 100 % of your data, as it said itself on "),
        ((Act.TOLD,), 999 * GIB, "it lost less than 1 % of your data, as it said itself on "),
        ((Act.TOLD, Act.FAILED), 9 * GIB, "it lost or withheld 10 % of your data, found on "),
        ((Act.FAILED, Act.TOLD), 999 * GIB, "it returned something wrong, lost or older on "),
        ((Act.LOST, Act.TOLD), 999 * GIB, "it lost or withheld less than 1 % of your data, found on "),
    ],
)
def test_what_a_host_told_by_itself_is_told_from_what_was_found_out(acts, held_bytes, said):
    conduct = after(*acts)
    [reason] = describe_caps(conduct, stand(conduct, held_bytes=held_bytes))
    assert reason.startswith(said)


def test_reports_of_a_loss_add_up_until_it_is_made_good():
    conduct = after(Act.TOLD)
    assert add_told(conduct, GIB) == 2 * GIB
    assert add_told(after(Act.TOLD, Act.HEALED), GIB) == GIB
    assert after(Act.TOLD, Act.HEALED, Act.TOLD).told_bytes == GIB, "the larger of the two counts"


def test_a_loss_of_before_whose_size_nobody_wrote_down_is_told_as_that():
    conduct = after(Act.TOLD, lost_bytes=0)
    standing = stand(conduct, held_bytes=GIB)
    assert describe_caps(conduct, standing)[0].startswith("it lost some of your data, as it said itself on ")
    assert find_caps(standing) == [0.5]


def test_a_clock_that_was_ahead_ends_nothing_early_and_holds_nothing_for_ever():
    ahead = [Seen(Act.LIED, NOW_MS + 1000 * DAY_MS)]
    assert bar_of(sum_up(ahead, now_ms=NOW_MS)) is Bar.LIED


def test_the_caps_are_those_of_the_design():
    trusted = Evidence(alpha=100.0)
    for acts, held_bytes, cap in (
        ((), 9 * GIB, 1.0),
        ((Act.FAILED,), 9 * GIB, 0.5),
        ((Act.LOST,), 999 * GIB, 0.5),
        ((Act.LOST,), 9 * GIB, 0.3),
        ((Act.TOLD,), 999 * GIB, 0.5),
        ((Act.TOLD,), 9 * GIB, 0.3),
        ((Act.TOLD,), 0, 0.3),
        ((Act.TOLD, Act.FAILED), 9 * GIB, 0.3),
        ((Act.TOLD, Act.LOST), 150 * GIB, 0.3),  # neither by itself
        ((Act.LIED,), 9 * GIB, 0.3),
    ):
        standing = stand(after(*acts), held_bytes=held_bytes)
        trust = score_host(Evidence(alpha=trusted.alpha, standing=standing))
        assert trust == min(cap, score_host(trusted))
    assert score_host(Evidence(alpha=100.0, standing=stand(Conduct(), held_bytes=1, blocked=True))) == 0.0


ACTS = st.lists(st.builds(Seen, st.sampled_from(Act), st.integers(0, 2 * NOW_MS), st.integers(0, 1 << 50)), max_size=30)


@given(ACTS, st.integers(0, 1 << 50))
def test_whatever_happened_a_host_that_is_barred_is_capped_doubted_told_and_forgiven(acts, held_bytes):
    conduct = sum_up(acts, now_ms=NOW_MS)
    standing = stand(conduct, held_bytes=held_bytes)
    if find_bar(standing):
        assert score_host(Evidence(alpha=1000.0, is_friend=True, standing=standing)) <= 0.3
        assert is_doubted(standing)
        assert "no new data" in " ".join(describe_caps(conduct, standing))
        assert "forgive alice" in advise("alice", conduct, standing) or conduct.is_healed
    forgiven = sum_up([*acts, Seen(Act.FORGIVEN, NOW_MS)], now_ms=NOW_MS)
    assert find_bar(stand(forgiven, held_bytes=held_bytes)) is None


@given(ACTS)
def test_what_a_host_does_well_by_itself_never_makes_room_for_it(acts):
    good = [seen for seen in acts if seen.act in {Act.HEALED, Act.CLEARED}]
    assert sum_up(good, now_ms=NOW_MS) == Conduct()


def test_a_relapse_caps_says_why_and_can_be_forgiven_but_bars_nobody():
    stands = Conduct(relapsed=True)
    standing = stand(stands, held_bytes=GIB)
    assert score_host(Evidence(alpha=1000, standing=standing)) == 0.45
    assert find_bar(standing) is None
    assert describe_caps(stands, standing) == ["it failed twice within a year, with good weeks between"]
    assert "peers forgive bob" in advise("bob", stands, standing)


def test_a_lie_of_before_is_forgiven_whenever_it_is_heard_of_again_and_a_later_one_is_not():
    forgiven = [Seen(Act.LIED, NOW_MS - 9), Seen(Act.FORGIVEN, NOW_MS - 5)]
    assert bar_of(sum_up([*forgiven, Seen(Act.LIED, NOW_MS - 9)], now_ms=NOW_MS)) is None
    assert bar_of(sum_up([*forgiven, Seen(Act.LIED, NOW_MS - 4)], now_ms=NOW_MS)) is Bar.LIED


def test_a_forgiving_by_a_clock_that_was_ahead_forgives_no_lie_that_comes_after_it():
    acts = [Seen(Act.FORGIVEN, NOW_MS + 400 * DAY_MS), Seen(Act.LIED, NOW_MS)]
    assert bar_of(sum_up(acts, now_ms=NOW_MS)) is Bar.LIED


@pytest.mark.parametrize(
    ("acts", "states", "level", "word"),
    [
        ((), {}, "unproven", "unproven"),
        ((), {"silent": True}, "unproven", "unproven"),
        ((Act.LOST,), {}, "unproven", "failed"),
        ((Act.LOST,), {"silent": True}, "unproven", "failed"),
        ((Act.LIED,), {}, "new", "new"),
        ((Act.LOST,), {"blocked": True}, "unproven", "blocked"),
    ],
)
def test_who_failed_is_called_otherwise_than_a_newcomer(acts, states, level, word):
    conduct = after(*acts)
    caps = describe_caps(conduct, stand(conduct, held_bytes=0, **states))
    assert find_word(level, caps) == word


def test_who_is_doubted_is_not_called_failed():
    assert find_word("unproven", [f"{DOUBTED} on 2026-11-28: no new data"]) == "in doubt"
