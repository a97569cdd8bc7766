"""How fast a session is now, what it loses, and how good that is."""

import pytest

from backuppeer.agent.peers.meter import Meter
from backuppeer.agent.peers.quality import judge_quality
from backuppeer.agent.peers.work import Deed, describe_work
from backuppeer.transport.base import PathInfo, PathKind
from backuppeer.wire.messages import GetRange, GetUsage, PutPack


def path(sent=0, lost=0, address="a:1"):
    return PathInfo(PathKind.DIRECT, 1.0, address, sent, lost)


def meter(*looks):
    made = Meter()
    for time_s, moved, at in looks:
        made.look(time_s, moved, at)
    return made


@pytest.mark.parametrize(
    ("looks", "rate"),
    [
        ([], 0),
        ([(0, 5, path())], 0),
        ([(0, 0, path()), (2, 200, path())], 100),
        ([(0, 0, path()), (5, 5000, path()), (10, 5000, path())], 0),
        ([(0, 0, path()), (10, 1000, path()), (10.5, 9000, path())], 857),
        ([(0, 0, path()), (30, 9000, path())], 0),
    ],
)
def test_now_is_the_last_second_or_more_and_what_is_long_ago_is_not_now(looks, rate):
    assert meter(*looks).rate == rate


@pytest.mark.parametrize(
    ("looks", "loss"),
    [
        ([], None),
        ([(0, 0, path(0, 0)), (5, 0, path(499, 99))], None),
        ([(0, 0, path(1000, 500)), (5, 0, path(2000, 550))], 0.05),
        ([(0, 0, path(1000, 900)), (50, 0, path(2000, 900)), (100, 0, path(3000, 900))], 0.0),
        ([(0, 0, path(5000, 4000)), (5, 0, path(1000, 20, "b:1"))], 0.02),
    ],
)
def test_loss_is_that_of_the_last_minute_and_of_the_path_in_use(looks, loss):
    assert meter(*looks).loss == loss


@pytest.mark.parametrize(
    ("kind", "rtt_ms", "loss", "silent_s", "grade", "words"),
    [
        (PathKind.DIRECT, 12.0, 0.0, 5.0, "good", "direct, 12 ms"),
        (PathKind.DIRECT, 12.0, None, 5.0, "good", "direct"),
        (PathKind.DIRECT, 150.0, 0.0, 5.0, "fair", "150 ms"),
        (PathKind.DIRECT, 400.0, 0.01, 5.0, "poor", "400 ms"),
        (PathKind.DIRECT, 12.0, 0.01, 5.0, "fair", "1% of packets"),
        (PathKind.DIRECT, 200.0, 0.05, 5.0, "poor", "5% of packets"),
        (PathKind.RELAYED, 12.0, 0.0, 5.0, "fair", "relay"),
        (PathKind.RELAYED, 500.0, 0.0, 5.0, "poor", "500 ms"),
        (PathKind.DIRECT, 12.0, 0.0, 12.0, "poor", "for 12 s"),
        (PathKind.NONE, 0.0, None, 0.0, "poor", "no path"),
    ],
)
def test_the_worst_of_what_is_measured_decides_how_good_a_connection_is(kind, rtt_ms, loss, silent_s, grade, words):  # noqa: PLR0917
    quality = judge_quality(kind, rtt_ms=rtt_ms, loss=loss, silent_s=silent_s)
    assert quality.grade == grade
    assert words in quality.reason


def test_work_is_told_in_words_by_who_asked():
    ours, theirs = (lambda kind: Deed(kind, by_us=True)), (lambda kind: Deed(kind, by_us=False))
    deeds = [ours(PutPack), ours(PutPack), theirs(PutPack), theirs(GetRange), ours(GetUsage), theirs(None)]
    assert describe_work(deeds) == [
        *("sending 2 packs", "taking 1 pack", "giving 1 part of a pack", "asking 1 question", "answering 1 question"),
    ]
    assert describe_work([]) == []
