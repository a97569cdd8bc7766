"""The agent's log on a terminal and for programs, over its files, and as it grows."""

import json
import logging
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from backuppeer.agent.home import logbook
from backuppeer.agent.home.home import Home
from backuppeer.cli import logs
from backuppeer.cli.logs import _Tail
from backuppeer.limits import LOG_FILES, LOG_LINES_SHOWN
from cli.rows import run
from cli.terminal import check_output


def line(event, *, level="info", ago_s=0, **facts):
    moment = datetime.now(UTC) - timedelta(seconds=ago_s)
    return json.dumps({"event": event, "level": level, "timestamp": moment.isoformat(), **facts}) + "\n"


@pytest.fixture
def log(home):
    (home / "logs").mkdir()
    return home / "logs" / "agent.log"


def events(out):
    return [row["event"] for row in check_output("logs", out)[0]]


def test_the_last_lines_are_shown_oldest_first_over_all_files(capsys, log):
    log.with_name("agent.log.2").write_text("".join(line(f"old {n}") for n in range(3)))
    log.with_name("agent.log.1").write_text("".join(line(f"middle {n}") for n in range(3)))
    log.write_text(line("new") + "no json\n7\n")
    assert events(run(capsys, "logs", "--json", "--lines", "5")[1]) == [
        *("old 2", "middle 0", "middle 1", "middle 2"),
        "new",
    ]
    assert len(events(run(capsys, "logs", "--json")[1])) == 7


def test_since_and_level_choose_lines(capsys, log):
    log.write_text(
        line("long ago", ago_s=7200, level="error") + line("of late", level="warning") + line("just now") + line("x")
    )
    assert events(run(capsys, "logs", "--json", "--since", "1h")[1]) == ["of late", "just now", "x"]
    assert events(run(capsys, "logs", "--json", "--level", "warning")[1]) == ["long ago", "of late"]
    assert events(run(capsys, "logs", "--json", "--level", "warning", "--since", "1h")[1]) == ["of late"]


def test_all_since_a_time_is_shown_up_to_a_cap(capsys, log, monkeypatch):
    log.write_text("".join(line(f"number {n}") for n in range(120)))
    assert len(events(run(capsys, "logs", "--json")[1])) == 50
    assert len(events(run(capsys, "logs", "--json", "--since", "1h")[1])) == 120
    assert run(capsys, "logs", "--lines", str(LOG_LINES_SHOWN + 1))[0] == 2


@pytest.mark.parametrize("words", [("--level", "loud"), ("--since", "yesterday-ish"), ("--lines", "0")])
def test_nonsense_is_refused_with_an_example(capsys, log, words):
    code, _, err = run(capsys, "logs", *words)
    assert (code, "hint:" in err) == (2, True)


def test_people_read_local_times_and_nothing_is_painted_by_a_peer(capsys, log):
    log.write_text(line("session ended", peer="\x1b[31mevil", exception="Traceback:\n  boom"))
    out = run(capsys, "logs")[1]
    first, *further = out.splitlines()
    assert first[:16] == datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    assert ("session ended  peer=\\u001b[31mevil" in first, "\x1b" in out) == (True, False)
    assert further == ["    Traceback:", "      boom"]


@pytest.mark.parametrize("year", ["0001-01-01T00:00:00", "9999-12-31T23:59:59"])
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_a_line_of_a_time_that_can_not_be_is_shown_as_it_stands(capsys, log, monkeypatch, zone, year):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    log.write_text(json.dumps({"event": "odd", "level": "info", "timestamp": f"{year}+00:00"}) + "\n")
    code, out, _ = run(capsys, "logs")
    monkeypatch.undo()
    time.tzset()
    assert (code, "odd" in out) == (0, True)


def test_a_line_of_deep_brackets_is_passed_over(capsys, log):
    log.write_text('{"a":' + "[" * 100_000 + "\n" + line("behind it"))
    assert events(run(capsys, "logs", "--json")[1]) == ["behind it"]


def test_where_nothing_was_written_that_is_said(capsys, home):
    assert "nothing" in run(capsys, "logs")[1]
    assert run(capsys, "logs", "--json")[1] == "[]\n"


def test_following_misses_nothing_when_the_log_is_rotated(log):
    log.write_text(line("one") + '{"half')
    with _Tail(log) as tail:
        assert [each.event for each in tail.read()] == ["one"]
        with log.open("a") as file:
            file.write('": 1, "event": "two"}\n')
        assert [each.event for each in tail.read()] == ["two"]
        with log.open("a") as file:
            file.write(line("three"))
        log.rename(log.with_name("agent.log.1"))
        log.write_text(line("four"))
        assert [each.event for each in tail.read()] == ["three", "four"]


def test_following_prints_json_lines_until_it_is_interrupted(capsys, log, monkeypatch):
    log.write_text(line("one", peer="bp1"))
    looks = []

    def wait(_):
        looks.append(1)
        if len(looks) > 1:
            raise KeyboardInterrupt
        with log.open("a") as file:
            file.write(line("two"))

    monkeypatch.setattr(logs.time, "sleep", wait)
    code, out, _ = run(capsys, "logs", "-f", "--json")
    rows = check_output("logs --follow", out)
    assert (code, [row["message"] for row in rows]) == (130, ["one", "two"])


def test_a_log_grows_to_a_size_and_no_further(tmp_path, monkeypatch):
    root = logging.getLogger()
    handlers, level, hook = root.handlers, root.level, logbook.sys.excepthook
    monkeypatch.setattr(logbook, "LOG_FILE_BYTES", 2000)
    configured = threading.Event()
    monkeypatch.setattr(logbook.structlog, "configure", lambda **_: configured.set())
    home = Home(tmp_path)
    try:
        logbook.open_log(home)
        for number in range(300):
            logging.getLogger("x").info("a line of the log, number %d", number)
        root.handlers[0].close()
    finally:
        root.handlers, root.level, logbook.sys.excepthook = handlers, level, hook
    sizes = [path.stat().st_size for path in home.logs.iterdir()]
    assert len(sizes) == LOG_FILES + 1
    assert max(sizes) <= 2000
    assert configured.is_set()
    assert logs.read_log(home, 1)[0].event == "a line of the log, number 299"
