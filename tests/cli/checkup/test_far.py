"""What answers of servers, the agent and peers mean."""

import msgspec
import pytest

from backuppeer import limits
from backuppeer.agent.home.sets import BackupSet
from backuppeer.cli.checkup import far
from backuppeer.cli.checkup.findings import State
from backuppeer.clock import format_time
from backuppeer.control.api import SnapshotRow
from backuppeer.control.doctor import NetworkCheck, PeerCheck
from backuppeer.control.proven import AuditRow
from backuppeer.signaling.probe import Probe
from control.dummy import PEER

LATER = "2026-12-01T00:00:00Z"
WELL = Probe(url="wss://one.example", connect_ms=12.0, round_trip_ms=3.0, skew_s=0.4, offers=2)
HOST = PeerCheck(
    peer_id=PEER,
    alias="old alice",
    role="host",
    reached=True,
    path="direct",
    rtt_ms=12.3,
    verified=True,
    agreed_bytes=10**10,
    used_bytes=10**9,
    until="2027-11-22T21:30:00Z",
    last_seen="2026-11-22T21:30:00Z",
    audit=AuditRow(peer_id=PEER, alias="", state="proven", proven="2026-11-21T21:30:00Z"),
)


CAUGHT = AuditRow(peer_id=PEER, alias="", state="caught", fault="lied", fault_time="2026-11-21T21:30:00Z")


@pytest.mark.parametrize(
    ("step", "words"),
    [("name", "DNS"), ("connection", "TCP"), ("tls", "TLS"), ("protocol", "protocol"), ("", "gone")],
)
def test_a_server_that_does_not_work_names_the_broken_step(step, words):
    told = far.judge_probe(Probe(url="wss://one.example", error="gone\x1b[31m", hint="look there", step=step))
    assert (told.state, told.code, told.fix) == (State.BROKEN, 14, "look there")
    assert words in told.text
    assert "\x1b" not in told.text


def test_a_server_that_works_says_how_fast():
    told = far.judge_probe(WELL)
    assert (told.state, told.name) == (State.OK, "wss://one.example")
    assert "answers in 3 ms" in told.text


@pytest.mark.parametrize(
    ("skews", "state", "words"),
    [
        ([], State.UNSEEN, "not compared"),
        ([0.4, -1.0, 3.0], State.OK, "agrees with 3 other clocks"),
        ([3600.0], State.WARNING, "1 h behind, by 1 other clock; up to"),
        ([-3600.0, -3601.0, 0.0], State.WARNING, "1 h ahead, by 2 of 3 other clocks"),
        ([0.0, 0.1, 86_400.0], State.OK, "agrees with 2 of 3 other clocks"),
        ([limits.CLOCK_AGREES_S - 0.1], State.OK, "agrees"),
        ([limits.CLOCK_AGREES_S], State.WARNING, "1 m behind"),
        ([float(limits.CLOCK_SKEW_S)] * 2, State.BROKEN, "2 h behind, by 2 other clocks: offers"),
        ([36_000.0, 36_000.0, 0.0], State.BROKEN, "10 h behind, by 2 of 3 other clocks"),
        ([36_000.0, 36_000.0, 3600.0, 0.0], State.WARNING, "1 h behind, by 3 of 4 other clocks"),
        ([36_000.0], State.WARNING, "one alone may be the wrong one"),
        ([0.0, 36_000.0], State.WARNING, "clocks disagree: 1 of 2 others agrees with this machine's"),
        ([-36_000.0, 36_000.0], State.WARNING, "clocks disagree: none of 2 others agrees"),
        ([0.0, 0.0, 36_000.0, 36_000.0], State.WARNING, "clocks disagree: 2 of 4 others agree with"),
        ([0.0, 36_000.0, -36_000.0], State.WARNING, "clocks disagree"),
    ],
)
def test_most_other_clocks_decide_whose_is_wrong_and_never_one_alone(skews, state, words):
    told = far.judge_clock(skews)
    assert told.state == state
    assert words in told.text
    assert bool(told.fix) == (state in {State.WARNING, State.BROKEN})


@pytest.mark.parametrize(
    ("found", "state", "words"),
    [
        (NetworkCheck(looked=False), State.NONE, "on this machine alone"),
        (NetworkCheck(looked=True), State.UNSEEN, "no observer told"),
        (NetworkCheck(looked=True, nat="none"), State.OK, "no NAT"),
        (NetworkCheck(looked=True, nat="steady", relays=["wss://r"]), State.OK, "see the same one"),
        (NetworkCheck(looked=True, nat="symmetric", relays=["wss://r"]), State.WARNING, "another port"),
        (NetworkCheck(looked=True, nat="symmetric"), State.BROKEN, "no relay lets it in"),
    ],
)
def test_the_network_is_named_by_what_observers_saw(found, state, words):
    told = far.judge_network(found)
    assert told.state == state
    assert words in told.text


@pytest.mark.parametrize(
    ("change", "state", "code", "words", "fix"),
    [
        ({}, State.OK, 0, "there, direct, answers in 12 ms; safety words compared; 1 GB of 10 GB used", ""),
        ({"reached": False, "error": "no answer within 5 s", "code": 11}, State.BROKEN, 11, "last seen", "peers show"),
        ({"reached": False, "error": "no", "hint": "do so", "code": 13}, State.BROKEN, 13, "no;", "do so"),
        ({"differs": True}, State.BROKEN, 12, "somebody else", "`backup-peer peers verify 'old alice'`"),
        ({"verified": False}, State.WARNING, 0, "never compared", "peers verify 'old alice'"),
        ({"used_bytes": 99 * 10**8}, State.WARNING, 0, "nearly full", "peers resize 'old alice' SIZE"),
        ({"room_bytes": 0}, State.WARNING, 0, "may get no more", "peers show 'old alice'"),
        ({"ends": LATER}, State.WARNING, 0, "it ends the agreement", "peers replace 'old alice' OTHER"),
        ({"ends": LATER, "ended_by_us": True}, State.WARNING, 0, "you end the agreement", "peers renew 'old alice'"),
        (
            {
                "audit": AuditRow(
                    peer_id=PEER, alias="", state="caught", fault="lied", fault_time="2026-11-21T21:30:00Z"
                )
            },
            State.BROKEN,
            15,
            "caught 2026-11-2",
            "repair",
        ),
        ({"audit": AuditRow(peer_id=PEER, alias="", state="owing", owed=2)}, State.WARNING, 0, "owes 2", "audit --now"),
        (
            {"reached": False, "left_alone": True, "error": "ended here", "code": 11},
            *(State.UNSEEN, 0, "not asked: ended here, and it is left alone for a while", "goes there at once"),
        ),
        ({"role": "owner", "reached": False}, State.NONE, 0, "you keep 1 GB", ""),
        ({"role": "owner"}, State.OK, 0, "connected", ""),
        ({"role": "owner", "differs": True}, State.BROKEN, 12, "somebody else", "peers verify"),
    ],
)
def test_of_a_peer_the_first_thing_that_is_wrong_is_told(change, state, code, words, fix):
    told = far.judge_peer(msgspec.structs.replace(HOST, **change))
    assert (told.link, told.name, told.state, told.code) == ("peer", "old alice", state, code)
    assert words in told.text
    assert fix in told.fix
    assert bool(told.fix) == bool(fix)


NOW_S = 1_795_000_000.0


def snapshot(of="docs", peers=1, time="2026-11-18T01:46:40Z", **more):
    return SnapshotRow(
        snapshot="a" * 64, time=time, paths=["/a"], files=1, bytes=1, peers=[PEER] * peers, set=of, **more
    )


@pytest.mark.parametrize(
    ("rows", "copies", "state", "code", "words"),
    [
        ([snapshot()], 1, State.OK, 0, "ago, at 1 host"),
        ([snapshot(), snapshot(time="2026-01-01T00:00:00Z", peers=0)], 1, State.OK, 0, "ago, at 1 host"),
        ([snapshot(peers=1)], 2, State.BROKEN, 3, "at 1 host, not 2"),
        ([snapshot(incomplete=True)], 1, State.BROKEN, 15, "a part of it is at no host"),
        ([snapshot(of="other")], 1, State.WARNING, 0, "no snapshot yet"),
        ([snapshot(missing=True, time="")], 1, State.WARNING, 0, "no snapshot yet"),
    ],
)
def test_of_each_set_the_newest_snapshot_counts(rows, copies, state, code, words):
    told = next(far.judge_backups(rows, {"docs": BackupSet(paths=["/a"], copies=copies)}, hosts=1, now_s=NOW_S))
    assert (told.name, told.state, told.code) == ("docs", state, code)
    assert words in told.text


OLD = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("age_s", "schedule", "state"),
    [
        (limits.BACKUP_OLD_S, "", State.OK),
        (limits.BACKUP_OLD_S + 1, "", State.WARNING),
        (10 * 365 * 86_400, "", State.WARNING),
        (limits.BACKUP_OLD_S + 1, "daily 03:00", State.OK),
    ],
)
def test_an_old_backup_that_nothing_makes_anew_is_told(age_s, schedule, state):
    time = format_time(int((NOW_S - age_s) * 1000))
    sets = {"docs": BackupSet(paths=["/a"], schedule=schedule)}
    (told,) = far.judge_backups([snapshot(time=time)], sets, hosts=1, now_s=NOW_S)
    assert (told.state, told.code) == (state, 0)
    if state == State.WARNING:
        assert "no schedule" in told.text
        assert "`backup-peer backup --set docs`" in told.fix
        assert "schedule = " in told.fix


def test_an_old_backup_of_paths_in_no_set_is_told_too_and_what_is_broken_comes_first():
    (told,) = far.judge_backups([snapshot(of="", time=OLD)], {}, hosts=1, now_s=NOW_S)
    assert (told.state, "`backup-peer backup PATH`" in told.fix) == (State.WARNING, True)
    (told,) = far.judge_backups([snapshot(of="", time=OLD, incomplete=True)], {}, hosts=1, now_s=NOW_S)
    assert told.state == State.BROKEN


@pytest.mark.parametrize(("hosts", "state"), [(0, State.NONE), (1, State.WARNING)])
def test_who_has_a_host_and_no_snapshot_is_told_how_to_make_one(hosts, state):
    (told,) = far.judge_backups([], {}, hosts=hosts, now_s=NOW_S)
    assert told.state == state
    assert ("`backup-peer backup PATH`" in told.fix) == bool(hosts)


def test_snapshots_of_no_set_are_judged_too():
    told = list(far.judge_backups([snapshot(of="")], {"docs": BackupSet(paths=["/a"])}, hosts=1, now_s=NOW_S))
    assert [(each.name, each.state) for each in told] == [("docs", State.WARNING), ("paths in no set", State.OK)]


def test_a_home_that_only_reads_is_told_no_backup_that_it_could_not_make():
    (told,) = far.judge_read([snapshot(of="", time=OLD)], hosts=1, now_s=NOW_S)
    assert (told.state, "makes no backups; newest known here" in told.text) == (State.NONE, True)
    assert "`backup-peer recover --take-over`" in told.fix
    (told,) = far.judge_read([snapshot(of="", time=OLD)], hosts=0, now_s=NOW_S)
    assert told.fix == "", "taking over asks hosts"
    (told,) = far.judge_read([snapshot(of="", time=OLD, incomplete=True)], hosts=1, now_s=NOW_S)
    assert (told.state, told.code) == (State.BROKEN, 15)
    (told,) = far.judge_read([], hosts=0, now_s=NOW_S)
    assert (told.text, told.fix) == ("nothing is backed up from here", "")
