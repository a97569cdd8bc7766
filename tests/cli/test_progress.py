import io
import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from backuppeer.cli.progress import Pace, describe_progress
from backuppeer.cli.screen import Screen
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.work import PLAIN_LINE_S, View
from backuppeer.control.events import Event, Progress
from backuppeer.errors import LocalError, UserError
from backuppeer.limits import HERALD_S
from cli.terminal import FakePipe, FakeTerminal


def at(seconds, done, total=0, **more):
    return Progress(phase="backup", seconds=seconds, bytes=done, bytes_total=total, **more)


def test_rate_and_time_left_come_from_the_last_seconds():
    pace = Pace()
    for second in range(60):  # a slow minute, then 1 MB/s
        pace.add(at(second, second, 10**9))
    for second in range(60, 80):
        pace.add(at(second, (second - 59) * 10**6, 10**9))
    now = at(79, 20 * 10**6, 30 * 10**6)
    assert pace.rate() == pytest.approx(10**6, rel=0.01)
    assert pace.left_s(now) == pytest.approx(10, rel=0.01)
    assert "1 MB/s" in describe_progress(now, pace, 100)
    assert "10 s left" in describe_progress(now, pace, 100)


def test_a_new_phase_starts_a_new_rate():
    pace = Pace()
    pace.add(at(0, 0))
    pace.add(at(1, 10**6))
    pace.add(Progress(phase="check", seconds=2.0, bytes=0))
    assert pace.rate() == 0


def test_the_rate_falls_while_nothing_is_heard_and_then_the_line_says_so():
    pace = Pace()
    for second in range(11):
        pace.add(at(second, second * 10**8, 2 * 10**9))
    now = at(10, 10**9, 2 * 10**9)
    assert pace.rate(5) == pytest.approx(10**8 / 2, rel=0.01)
    assert pace.rate(10) == 0
    assert "100 MB/s · 10 s left" in describe_progress(now, pace, 100)
    assert "90 MB/s · 11 s left" in describe_progress(now, pace, 100, 1)
    assert describe_progress(now, pace, 100, 9) == "backup   50 % ██████░░░░░░ · 1 GB of 2 GB · nothing moved for 9 s"
    for second in range(11, 15):  # reports, but nothing moves
        pace.add(at(second, 10**9, 2 * 10**9))
    assert "nothing moved for 5 s" in describe_progress(now, pace, 100, 1)
    pace.add(at(15, 10**9, 2 * 10**9, traffic_bytes=1))  # a pack on its way through a slow line
    assert "no answer" not in describe_progress(now, pace, 100, 1)


def test_no_time_left_is_guessed_from_the_first_second():
    pace = Pace()
    for tenth in range(10):
        pace.add(at(tenth / 10, tenth * 10**8, 10**10))
    assert "left" not in describe_progress(at(0.9, 9 * 10**8, 10**10), pace, 100)


def test_a_total_that_is_still_counted_or_was_passed_claims_no_share():
    pace = Pace()
    for second in range(5):
        pace.add(at(second, second * 10**8, 10**9))
    line = describe_progress(at(4, 4 * 10**8, 10**9, counting=True, files=12), pace, 100)
    assert line == "backup  400 MB of 1 GB so far · 100 MB/s"
    assert describe_progress(at(4, 4 * 10**8, 3 * 10**8, files=12), pace, 100) == "backup  400 MB · 12 files · 100 MB/s"


def test_without_total_nothing_is_claimed():
    line = describe_progress(at(1, 10**6, files=1234), Pace(), 100)
    assert "%" not in line
    assert "left" not in line
    assert "1,234 files" in line


def test_when_all_is_read_what_was_sent_is_told_and_how_fast_that_goes():
    pace = Pace()
    for second in range(3):
        pace.add(at(second, 105 * 10**6, 105 * 10**6, sent_bytes=12 * 10**6, traffic_bytes=second * 628_000))
    now = at(2, 105 * 10**6, 105 * 10**6, sent_bytes=12 * 10**6, traffic_bytes=2 * 628_000)
    assert describe_progress(now, pace, 79) == "backup  all of 105 MB read, sending: 12 MB sent · 628 kB/s"
    assert "12 MB sent" in describe_progress(now, pace, 55)
    assert "100 %" in describe_progress(at(2, 10, 10), pace, 79), "nothing is sent of a restore"


def test_while_a_pack_is_on_its_way_it_is_told_how_fast_it_comes():
    pace = Pace()
    for second in range(3):
        pace.add(at(second, 0, 10**8, traffic_bytes=second * 628_000))
    line = describe_progress(at(2, 0, 10**8, traffic_bytes=2 * 628_000), pace, 79)
    assert line.endswith("0 B of 100 MB · 628 kB/s")


def test_what_is_counted_is_called_by_its_name():
    asking = Progress(phase="asking hosts", unit="host", files=1, files_total=2, current="waiting for bp1x")
    assert describe_progress(asking, Pace(), 100) == "asking hosts  1 of 2 hosts · waiting for bp1x"
    reading = Progress(phase="reading directories", unit="pack", files=1)
    assert describe_progress(reading, Pace(), 100) == "reading directories  1 pack"


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (100, "backup   50 % ██████░░░░░░ · 50 MB of 100 MB · 1 MB/s · 50 s left · notes.txt"),
        (70, "backup   50 % ██████░░░░░░ · 50 MB of 100 MB · 1 MB/s · 50 s left"),
        (60, "backup   50 % · 50 MB of 100 MB · 1 MB/s · 50 s left"),
        (40, "backup   50 % · 1 MB/s · 50 s left"),
        (30, "backup   50 % · 50 s left"),
    ],
)
def test_in_a_narrow_line_the_share_and_the_time_left_stay_to_the_last(width, line):
    pace = Pace()
    pace.add(at(0, 48 * 10**6, 10**8))
    now = at(2, 50 * 10**6, 10**8, current="notes.txt" * (width == 100))
    pace.add(now)
    assert describe_progress(now, pace, width) == line


@given(st.integers(0, 2**62), st.integers(0, 2**62), st.text(max_size=300), st.integers(20, 200), st.floats(0, 1e9))
def test_the_line_never_exceeds_its_width_and_is_printable(done, total, current, width, seconds):
    pace = Pace()
    pace.add(at(0.0, 0, total))
    now = at(seconds, done, total, current=current)
    pace.add(now)
    line = describe_progress(now, pace, width)
    assert cell_len(line) <= width
    assert line.isprintable()


def screen(err, *, json=False, yes=False, typed=""):
    return Screen((FakeTerminal(typed), io.StringIO(), err), json=json, yes=yes)


def show(view, seconds):
    view.show(Event(event="progress", data=msgspec.to_builtins(at(seconds, 10, 100))))


def test_a_pipe_gets_a_plain_line_every_few_seconds():
    err, now = FakePipe(), [0.0]
    view = View(screen(err), now=lambda: now[0])
    for tenth in range(round(PLAIN_LINE_S * 10 * 3)):
        now[0] = tenth / 10
        show(view, now[0])
    lines = err.getvalue().splitlines()
    assert len(lines) == 2
    assert "\r" not in err.getvalue()


def test_a_terminal_gets_one_line_that_is_redrawn_and_wiped(monkeypatch):
    err, now = FakeTerminal(), [0.0]
    it = screen(err)
    view = View(it, now=lambda: now[0])
    for _ in range(5):
        now[0] += 1
        show(view, now[0])
    it.line("done")
    assert "\n" not in err.getvalue()
    assert err.getvalue().endswith("\r\x1b[K")


def test_a_line_on_which_nothing_moves_is_redrawn_by_itself():
    err, now = FakeTerminal(), [0.0]
    it = screen(err)
    spinner = Spinner(it)
    view = View(it, spinner=spinner, now=lambda: now[0])
    show(view, 0)
    spinner.on_turn()
    assert "no answer" not in err.getvalue()
    now[0] += 7
    spinner.on_turn()
    assert err.getvalue().endswith("10 B of 100 B · nothing moved for 7 s")
    tell(view, "waiting", "waiting for alice: no answer")
    before = err.getvalue()
    now[0] += 7
    spinner.on_turn()
    assert err.getvalue() == before, "one line at a time"


def tell(view, state, text):
    view.show(Event(event="state", data={"state": state, "text": text}))


def test_a_rate_after_a_wait_does_not_count_the_wait():
    err, now = FakeTerminal(), [0.0]
    view = View(screen(err), spinner=Spinner(screen(err)), now=lambda: now[0])
    for second in range(4):
        view.show(Event(event="progress", data={"phase": "restoring", "seconds": second, "bytes": second * 10}))
    assert view._pace.rate() == pytest.approx(10)
    tell(view, "waiting", "waiting for alice: no answer")
    tell(view, "connected", "connected to alice again")
    for second in range(100, 104):
        view.show(Event(event="progress", data={"phase": "restoring", "seconds": second, "bytes": second * 10}))
    assert view._pace.rate() == pytest.approx(10)
    assert view._pace.still_s() == 0


def test_waiting_for_a_peer_looks_different_from_working_on_a_terminal():
    err, now = FakeTerminal(), [0.0]
    it = screen(err)
    with Spinner(it) as spinner:
        view = View(it, spinner=spinner, now=lambda: now[0])
        tell(view, "connecting", "connecting to alice")
        assert " connecting to alice" in err.getvalue()
        show(view, 1)
        assert err.getvalue().endswith("10 B of 100 B")
        tell(view, "waiting", "waiting for alice: no answer")
        now[0] += 1
        show(view, 2)
        _, _, after = err.getvalue().partition("waiting for alice: no answer (Ctrl-C ends)")
        assert "(Ctrl-C ends)" in err.getvalue()
        assert "10 B" not in after, "progress does not paint over it"
        tell(view, "connected", "connected to alice again")
        now[0] += 1
        show(view, 3)
        assert err.getvalue().endswith("10 B of 100 B")


def test_waiting_and_going_on_are_a_plain_line_each_in_a_pipe_and_events_with_json():
    err, out = FakePipe(), io.StringIO()
    for is_json in (False, True):
        it = Screen((FakePipe(), out, err), json=is_json, yes=False)
        with Spinner(it) as spinner:
            view = View(it, spinner=spinner, now=lambda: 0.0)
            for _ in range(2):
                tell(view, "waiting", "waiting for alice: no answer")
            tell(view, "connected", "connected to alice again")
    assert err.getvalue() == "waiting for alice: no answer (Ctrl-C ends)\nconnected to alice again\n"
    assert [json.loads(line)["state"] for line in out.getvalue().splitlines()] == ["waiting", "waiting", "connected"]


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_are_left_out_where_they_are_not_wanted(monkeypatch, name, value):
    assert screen(FakeTerminal()).paint("x", "31") == "\x1b[31mx\x1b[0m"
    monkeypatch.setenv(name, value)
    assert screen(FakeTerminal()).paint("x", "31") == "x"


def test_advice_is_wrapped_for_people_at_a_terminal_and_for_nobody_else():
    error = UserError("word " * 40, hint="advice " * 40)
    for err, is_json, is_wrapped in (
        (FakeTerminal(), False, True),
        (FakePipe(), False, False),
        (FakeTerminal(), True, False),
    ):
        it = screen(err, json=is_json)
        it.error(error)
        it.note("fact " * 40)
        it.aside("plan " * 40)
        plain = re.sub("\x1b\\[[0-9;]*m", "", err.getvalue())
        assert (max(map(len, plain.splitlines())) <= it.columns) == is_wrapped
        assert ("\n       word" in plain) == is_wrapped


def test_with_json_stdout_holds_json_lines_only():
    out = io.StringIO()
    it = Screen((FakePipe(), out, FakePipe()), json=True, yes=False)
    it.line("words")
    it.event("note", {"text": "ü"})
    it.done({"a": 1})
    assert out.getvalue() == '{"event":"note","text":"\\u00fc"}\n{"event":"done","a":1}\n'


def test_a_question_needs_a_person_or_a_yes():
    assert screen(FakeTerminal(), typed="y\n").confirm("sure?", unanswered="it") is True
    assert screen(FakeTerminal(), typed="\n").confirm("sure?", unanswered="it") is False
    assert screen(FakeTerminal(), typed="").confirm("sure?", unanswered="it") is False
    assert screen(FakePipe(), yes=True).confirm("sure?", unanswered="it") is True
    with pytest.raises(UserError, match="it, and there is no terminal"):
        screen(FakePipe()).confirm("sure?", unanswered="it")


def test_an_event_of_another_shape_is_our_error_and_not_shown():
    with pytest.raises(LocalError, match="can't read"):
        View(screen(FakePipe())).show(Event(event="note", data={"tixt": "x"}))


def test_a_spinner_tells_how_long_it_has_waited_and_never_cuts_how_to_end_it():
    err, now = FakeTerminal(), [0.0]
    spinner = Spinner(screen(err), now=lambda: now[0])
    spinner.show(f"waiting for {'x' * 80}", tail="(Ctrl-C ends)", timed=True)
    now[0] = 65.0
    spinner.show(f"waiting for {'y' * 80}", tail="(Ctrl-C ends)", timed=True)
    lines = err.getvalue().split("\r\x1b[K")[1:]
    assert all(len(line) < 80 for line in lines)
    assert lines[0].endswith("x… (Ctrl-C ends)")
    assert lines[1].endswith("y… · 1 m 5 s (Ctrl-C ends)"), "other words, the same waiting"
    spinner.show("working")
    spinner.show("waiting", timed=True)
    assert err.getvalue().endswith(" waiting"), "a new one"


@pytest.mark.parametrize("columns", ["80", "40"])
def test_a_pause_leaves_a_line_that_can_be_pasted_and_one_that_says_paused(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    err, now = FakeTerminal(), [0.0]
    it = screen(err)
    it.home = "--home /tmp/a"
    spinner = Spinner(it, now=lambda: now[0])
    view = View(it, spinner=spinner, leaving="Ctrl-C stops, restored files stay")
    tell(view, "paused", "paused; `backup-peer resume 9` goes on")
    assert "`backup-peer resume 9 --home /tmp/a`" in err.getvalue()
    now[0] = 11.0
    spinner._draw()
    shown = err.getvalue().rpartition("\r\x1b[K")[2][2:]
    assert shown == "paused · 11 s" + (" (Ctrl-C stops, restored files stay)" if columns == "80" else "")


AWAY = "alice is offline since 14:02"
LEAVING = "(Ctrl-C keeps what was sent)"


def test_a_spinner_counts_down_to_the_next_try_in_80_columns():
    err, now = FakeTerminal(), [0.0]
    spinner = Spinner(screen(err), now=lambda: now[0])
    spinner.show(AWAY, tail=LEAVING, timed=True, retry_s=40.0)
    for now[0] in (38.8, 41.0):
        spinner._draw()
    lines = [line[2:] for line in err.getvalue().split("\r\x1b[K")[1:]]
    assert all(len(line) < 78 for line in lines)
    assert lines == [f"{AWAY}; retrying {when} {LEAVING}" for when in ("in 40 s", "in 1 s", "now")]
    spinner.show("bob does not answer yet", tail=LEAVING, timed=True)
    assert "retrying" not in err.getvalue().rpartition("bob")[2]


def test_in_a_pipe_a_waiting_that_goes_on_is_told_again_after_a_while():
    err, now = FakePipe(), [0.0]
    spinner = Spinner(screen(err), now=lambda: now[0])
    for now[0], retry_s in ((0.0, 4.0), (10.0, 9.0), (HERALD_S, 15.0)):
        spinner.show(AWAY, tail=LEAVING, timed=True, retry_s=retry_s)
    assert err.getvalue().splitlines() == [f"{AWAY}; retrying in {n} s {LEAVING}" for n in (4, 15)]


def test_the_next_try_of_a_waiting_is_shown_by_the_view():
    err = FakePipe()
    it = screen(err)
    view = View(it, spinner=Spinner(it), leaving="Ctrl-C ends")
    view.show(Event(event="state", data={"state": "waiting", "text": AWAY, "retry_s": 3.0}))
    assert err.getvalue() == f"{AWAY}; retrying in 3 s (Ctrl-C ends)\n"


def test_a_spinner_speaks_once_in_a_pipe_and_turns_on_a_terminal():
    err = FakePipe()
    with Spinner(screen(err)) as spinner:
        spinner.show("waiting \x1b[2J…")
        spinner.show("waiting \x1b[2J…")
    assert err.getvalue() == "waiting \\u001b[2J…\n"
    err = FakeTerminal()
    with Spinner(screen(err)) as spinner:
        spinner.show("waiting …")
    assert "⠋ waiting …" in err.getvalue()
    assert err.getvalue().endswith("\r\x1b[K")


def spoken(events, **how):
    """Return what a command says of events on a pipe, in one second each."""
    err, now = FakePipe(), [0.0]
    screen = Screen((FakePipe(), FakePipe(), err), json=False, yes=False)
    for name, value in how.items():
        setattr(screen, name, value)
    with Spinner(screen) as spinner:
        view = View(screen, spinner=spinner, now=lambda: now[0])
        for name, data in events:
            view.show(Event(event=name, data=msgspec.to_builtins(data)))
            now[0] += 1
    return err.getvalue().splitlines()


STORY = [
    ("state", {"state": "connecting", "text": "connecting to alice"}),
    ("state", {"state": "connected", "text": "connected to alice"}),
    *(("progress", at(second, second * 10**6, 10**7)) for second in range(4)),
    ("state", {"state": "waiting", "text": "waiting for alice"}),
    ("state", {"state": "connected", "text": "connected to alice again"}),
    ("note", {"text": "alice is a stranger to you"}),
    ("error-file", {"path": "/a", "message": "gone"}),
]


def test_who_wants_quiet_hears_of_what_is_wrong_and_nothing_else():
    assert spoken(STORY, is_quiet=True) == ["note: alice is a stranger to you", "  ✗ /a: gone"]


def test_who_wants_all_hears_each_step_with_its_time_and_progress_each_second():
    plain, all_of_it = spoken(STORY), spoken(STORY, is_verbose=True)
    assert sum("MB" in line for line in plain) == 0, "the first line comes after five seconds"
    assert sum("MB" in line for line in all_of_it) == 3
    assert "connected to alice" not in plain
    assert [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in all_of_it if re.match(r"\d\d:\d\d:\d\d ", line)] == [
        "connected to alice",
        "connected to alice again",
    ]


def test_quiet_draws_no_live_line_on_a_terminal_either():
    shown = FakeTerminal()
    screen = Screen((FakeTerminal(), FakeTerminal(), shown), json=False, yes=False)
    screen.is_quiet = True
    with Spinner(screen) as spinner:
        view = View(screen, spinner=spinner)
        for name, data in STORY[:6]:
            view.show(Event(event=name, data=msgspec.to_builtins(data)))
    assert shown.getvalue() == ""


def test_where_only_a_count_has_a_total_the_time_left_goes_by_that():
    pace = Pace()
    for second in range(11):
        pace.add(Progress(phase="asking hosts", unit="host", files=second, files_total=40, seconds=float(second)))
    now = Progress(phase="asking hosts", unit="host", files=10, files_total=40, seconds=10.0)
    assert describe_progress(now, pace, 80) == "asking hosts  10 of 40 hosts · 30 s left"
