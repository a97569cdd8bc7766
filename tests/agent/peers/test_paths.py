"""Why a session is relayed: what both sides know of their NATs, and nothing that they don't."""

import pytest

from backuppeer.agent.peers.course import Course
from backuppeer.agent.peers.paths import explain_path
from backuppeer.agent.peers.whereabouts import NatKind
from backuppeer.transport.base import PathKind
from signaling.kit import TurnedClock

NOTHING = "no direct path was found"


@pytest.mark.parametrize(
    ("own", "theirs", "why"),
    [
        (NatKind.SYMMETRIC, "symmetric", "both NATs are symmetric"),
        (NatKind.SYMMETRIC, "steady", "this side's NAT is symmetric, and the peer's lets in only whom it wrote to"),
        (NatKind.STEADY, "symmetric", "the peer's NAT is symmetric, and this side's lets in only whom it wrote to"),
        (NatKind.NONE, "symmetric", "the peer's NAT is symmetric, and no direct path was found"),
        (NatKind.SYMMETRIC, "", "this side's NAT is symmetric, and no direct path was found"),
        (NatKind.STEADY, "steady", NOTHING),
        (NatKind.UNKNOWN, "", NOTHING),
    ],
)
def test_a_relayed_session_says_why_as_far_as_is_known(own, theirs, why):
    assert explain_path(PathKind.RELAYED, own=own, theirs=theirs) == why


@pytest.mark.parametrize("kind", [PathKind.DIRECT, PathKind.NONE])
def test_a_session_that_is_not_relayed_explains_nothing(kind):
    assert explain_path(kind, own=NatKind.SYMMETRIC, theirs="symmetric") == ""


def test_a_rate_counts_the_time_in_which_something_was_under_way():
    clock, course = TurnedClock(), Course()
    course.start(clock)
    assert course.rate(1000) == 0
    clock.turn(100)
    course.use(is_busy=True)
    clock.turn(2)
    course.use(is_busy=False)
    clock.turn(100)
    assert course.rate(4_200_000) == 2_100_000
