"""Whom trouble is told, taken in without being shown; trials, reports, alarms, and what a person reads of them."""

import json

import msgspec
import pytest

from backuppeer.agent.notifications import courier
from backuppeer.agent.notifications.courier import Answer
from backuppeer.cli import notified
from backuppeer.control import api
from backuppeer.control.reporting import Attention, NotifiedPlace, Report, ReportedSet
from backuppeer.control.scheduling import OverdueSet, ScheduledSet
from backuppeer.limits import NOTIFY_URL_CHARS, NOTIFY_URLS
from cli.rows import ask, run
from cli.terminal import FakePipe, FakeTerminal
from control.dummy import PEER, given

SECRET = "json://me:hunter2@hook.example/x"
OTHER = "ntfy://ntfy.example/hidden"


@pytest.fixture
def apprise(monkeypatch):
    """Answers as the process that sends does, without starting one."""
    heard = []

    def check(urls):
        heard.append(list(urls))
        return [Answer(is_wrong=url.startswith("wrong"), reason="it is no address") for url in urls]

    monkeypatch.setattr(notified, "check_urls", check)
    return heard


def test_addresses_come_by_standard_input_and_are_never_shown(home, capsys, monkeypatch, apprise):
    monkeypatch.setattr("sys.stdin", FakePipe(f"{SECRET}\n{OTHER}\n"))
    code, out, err = run(capsys, "config", "set", "notify.urls", "-")
    assert (code, out) == (0, "notify.urls = json://***,ntfy://***\n")
    assert "`backup-peer notify test --home" in err
    assert apprise == [[SECRET, OTHER]]
    assert SECRET in (home / "config.toml").read_text()
    assert (home / "config.toml").stat().st_mode & 0o077 == 0
    shown = [run(capsys, *words) for words in (("config", "get", "notify.urls"), ("config", "list"))]
    shown += [run(capsys, "--json", "config", "list"), run(capsys, "config", "set", "notify.urls", SECRET)]
    assert [code for code, _, _ in shown] == [0] * 4
    assert "hunter2" not in str(shown)
    assert ask(capsys, "config list")[1][0]["notify.urls"] == ["json://***"]


def test_a_person_types_one_address_a_line_and_ends_with_an_empty_one(home, capsys, terminal, apprise):
    seen = terminal(f"{SECRET}\n{OTHER}\n\nnot read\n")
    assert run(capsys, "config", "set", "notify.urls", "-")[0] == 0
    assert apprise == [[SECRET, OTHER]]
    assert "address, such as ntfy://ntfy.sh/TOPIC:" in seen.getvalue()


def test_what_was_typed_into_the_command_is_said_to_stand_in_the_history(home, capsys, monkeypatch, apprise):
    assert "your shell's history" in run(capsys, "config", "set", "notify.urls", SECRET)[2]
    monkeypatch.setattr("sys.stdin", FakePipe(SECRET))
    assert "history" not in run(capsys, "config", "set", "notify.urls", "-")[2]


def test_no_more_is_read_than_addresses_may_have(home, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", FakePipe("x" * (NOTIFY_URL_CHARS + 2) * NOTIFY_URLS * 10))
    code, _, err = run(capsys, "config", "set", "notify.urls", "-")
    assert (code, "number 1 is no address" in err) == (2, True)


def test_one_that_apprise_does_not_know_is_refused_and_nothing_changes(home, capsys, apprise):
    code, _, err = run(capsys, "config", "set", "notify.urls", f"{SECRET} wrong://hunter2")
    assert code == 2
    assert "notify.urls: number 2, wrong://***: it is no address" in err
    assert "hunter2" not in err
    assert not (home / "config.toml").exists()


def test_without_apprise_they_are_kept_and_what_is_missing_is_said(home, capsys, monkeypatch):
    monkeypatch.setattr(notified, "is_available", lambda: False)
    code, _, err = run(capsys, "config", "set", "notify.urls", SECRET)
    assert code == 0
    assert "note: notifications need the Python package apprise" in err
    assert "pip install apprise" in " ".join(err.split())


def test_unsetting_asks_nobody(home, capsys, apprise):
    run(capsys, "config", "set", "notify.urls", SECRET)
    apprise.clear()
    code, out, _ = run(capsys, "config", "set", "notify.urls", "")
    assert (code, out, apprise) == (0, "notify.urls is not set any more\n", [])


def test_where_nothing_tells_of_batteries_that_is_said(home, capsys, monkeypatch):
    monkeypatch.setattr("backuppeer.cli.config.CAN_TELL", False)
    assert "is known on Linux alone" in run(capsys, "config", "set", "schedule.on_battery", "no")[2]
    monkeypatch.setattr("backuppeer.cli.config.CAN_TELL", True)
    assert run(capsys, "config", "set", "schedule.on_battery", "no")[2] == ""


SENT, LOST = NotifiedPlace(service="ntfy", sent=True), NotifiedPlace(service="json", sent=False, reason="away\x1b[31m")


@pytest.mark.parametrize(("rows", "code"), [([SENT], 0), ([SENT, LOST], 3), ([LOST], 11)])
def test_a_trial_says_who_has_it_and_who_not(capsys, agent, rows, code):
    agent({"notify/test": given(rows)})
    assert ask(capsys, "notify test") == (code, [msgspec.to_builtins(rows)])
    told, out, err = run(capsys, "notify", "test")
    assert told == code
    assert "\x1b" not in out
    assert ("✓ ntfy" in out) is (SENT in rows)
    assert ("can't be told" in err) is (LOST in rows)


REPORT = Report(
    machine="attic",
    since="2026-11-22T10:00:00Z",
    until="2026-11-29T10:00:00Z",
    sets=[ReportedSet(set="photos", made=7, last="2026-11-29T03:00:00Z", bytes=10**9)],
    hosts=[],
    owners=0,
    hosted_agreed_bytes=0,
    hosted_used_bytes=0,
    home_free_bytes=10**11,
    store_free_bytes=None,
    attention=[Attention(text="alice was caught on 2026-11-29: it signed wrong bytes " * 2, fix="repair it")],
)


def test_a_report_fits_80_columns_and_begins_with_what_needs_attention(capsys, agent, monkeypatch):
    agent({"report": given(REPORT)})
    assert ask(capsys, "report") == (0, [msgspec.to_builtins(REPORT)])
    shown_on = FakeTerminal()
    monkeypatch.setattr("sys.stdout", shown_on)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    assert run(capsys, "report")[0] == 0
    lines = shown_on.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[:4] == [
        "the week from 2026-11-22 to 2026-11-29",
        "",
        "needs attention",
        "  ! alice was caught on 2026-11-29: it signed wrong bytes alice was caught on",
    ]
    assert "     → repair it" in lines
    assert "  photos: 7 snapshots this week, the newest of 2026-11-29 has 1 GB" in lines


def test_a_report_without_trouble_says_so(capsys, agent):
    agent({"report": given(msgspec.structs.replace(REPORT, attention=[]))})
    assert "  ✓ nothing\n" in run(capsys, "report")[1]


def test_status_has_an_alarm_for_what_was_not_backed_up_and_says_what_waits(capsys, agent):
    status = api.StatusResult(
        peer_id=PEER,
        agent="running",
        servers=[],
        sessions=0,
        hosting=api.HostingState(),
        snapshots=3,
        overdue=[OverdueSet(set="photos", days=4, last="2026-11-25T03:00:00Z")],
        scheduled=[
            ScheduledSet(
                set="photos",
                next="2026-11-29T03:00:00Z",
                last="2026-11-25T03:00:00Z",
                late=True,
                waiting="this machine runs on its battery",
            )
        ],
    )
    agent({"status": given(status)})
    code, out, _ = run(capsys, "status")
    assert code == 0
    assert "alarm: the set photos was not backed up for 4 days: last 2026-11-25" in out
    assert "`backup-peer backup --set photos --home" in out
    assert "which is late; due, and waits: this machine runs on its battery" in out
    assert json.loads(run(capsys, "--json", "status")[1])["overdue"][0]["days"] == 4


def test_a_process_that_can_t_be_started_says_nothing_of_addresses(monkeypatch):
    monkeypatch.setattr(courier, "_COMMAND", ("/nonexistent/program",))
    (answer,) = courier.check_urls([SECRET])
    assert (answer.is_sent, answer.is_wrong) == (False, False)
