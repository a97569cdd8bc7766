"""A read waits for a host for a while and no longer, and others don't wait again right after it."""

import threading

import pytest

from agent.loops import SetClock
from backuppeer.agent.jobs.patience import Patience
from backuppeer.errors import IntegrityFault, InterruptedByUserError, PeerUnreachable
from backuppeer.ids import LogicalId
from backuppeer.limits import MOUNT_GONE_S, MOUNT_PATIENCE_S

ONE, TWO = LogicalId(b"1" * 16), LogicalId(b"2" * 16)


class Host:
    """Has packs, unless it is away; each try takes `takes_s` of the clock."""

    def __init__(self, clock, takes_s=5.0):
        self.clock, self.takes_s, self.is_away, self.tries = clock, takes_s, False, 0

    def fetch(self, pack, ranges):
        self.tries += 1
        self.clock.ms += int(self.takes_s * 1000)
        if self.is_away and pack == ONE:
            raise PeerUnreachable("no answer")
        return b"header", [bytes(length) for _, length in ranges]


class Story:
    def __init__(self, monkeypatch):
        monkeypatch.setattr("backuppeer.agent.jobs.patience.MOUNT_PAUSE_S", 0.0)
        self.clock, self.stop, self.said = SetClock(), threading.Event(), []
        self.host = Host(self.clock)
        self.patience = Patience(
            self.host,
            lambda pack: ("alice",) if pack == ONE else ("bob",),
            say=lambda state, text, _retry_s: self.said.append((state, text)),
            clock=self.clock,
            stop=self.stop,
        )

    def read(self, pack=ONE):
        return self.patience.fetch(pack, [(0, 3)])


@pytest.fixture
def story(monkeypatch):
    return Story(monkeypatch)


def test_a_host_that_answers_is_asked_once_and_nothing_is_said(story):
    assert story.read() == (b"header", [bytes(3)])
    assert (story.host.tries, story.said) == (1, [])


def test_a_host_that_stays_away_is_given_up_after_a_while_and_both_is_said_once(story):
    story.host.is_away = True
    with pytest.raises(PeerUnreachable, match="no answer"):
        story.read()
    assert story.host.tries == MOUNT_PATIENCE_S / story.host.takes_s
    assert [state for state, _ in story.said] == ["waiting", "working"]
    assert all("alice" in text for _, text in story.said)


def test_further_reads_fail_at_once_for_a_while_but_not_those_of_other_hosts(story):
    story.host.is_away = True
    with pytest.raises(PeerUnreachable):
        story.read()
    tries = story.host.tries
    with pytest.raises(PeerUnreachable, match="no answer"):
        story.read()
    assert story.host.tries == tries
    assert story.read(TWO)
    story.clock.ms += int(MOUNT_GONE_S * 1000)
    story.host.is_away = False
    assert story.read()
    assert story.said[-1] == ("connected", "connected to alice again")


def test_a_host_that_comes_back_while_a_read_waits_serves_it(story):
    story.host.is_away = True
    fetch = story.host.fetch

    def come_back(pack, ranges):
        story.host.is_away = story.host.tries < 2
        return fetch(pack, ranges)

    story.host.fetch = come_back
    assert story.read()
    assert [state for state, _ in story.said] == ["waiting", "connected"]


def test_what_is_wrong_is_not_waited_for(story):
    def lie(pack, ranges):
        raise IntegrityFault("wrong")

    story.host.fetch = lie
    with pytest.raises(IntegrityFault):
        story.read()
    assert story.said == []


def test_the_end_of_the_mount_ends_all_waiting(story):
    story.host.is_away = True
    fetch = story.host.fetch

    def end(pack, ranges):
        story.stop.set()
        return fetch(pack, ranges)

    story.host.fetch = end
    with pytest.raises(InterruptedByUserError):
        story.read()
    assert story.host.tries == 1
