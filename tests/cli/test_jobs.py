"""`jobs`, `pause`, `resume` and `cancel`, as people and programs see them."""

import asyncio
import json
import re
from types import SimpleNamespace

import msgspec
import pytest
from msgspec import structs

from backuppeer.cli import work
from backuppeer.cli.job_words import describe_live
from backuppeer.control.events import ErrorFile, Event, PeerShare, Progress
from backuppeer.control.jobs import JobEnded, JobRow
from backuppeer.errors import IncompleteError, InterruptedByUserError, NotFoundError, UserError
from cli.rows import BACKED_UP, RESTORED, ask, run
from control.dummy import given, telling

RUNNING = JobRow(
    job=3,
    kind="backup",
    of="set photos",
    by="schedule",
    state="running",
    since="2026-11-22T21:30:00Z",
    phase="backing up",
    bytes=430,
    bytes_total=1000,
    bytes_per_s=12_300_000,
    left_s=125.0,
    peers=[PeerShare(name="alice", bytes=1_200_000_000), PeerShare(name="bob\x1b[31m", bytes=800_000_000)],
)
PAUSED = structs.replace(
    RUNNING, job=4, by="command", state="paused", bytes_per_s=0, left_s=None, is_left=True, peers=[]
)
FAILED = structs.replace(
    PAUSED, job=2, state="ended", ended="2026-11-22T21:40:00Z", code=13, message="alice is full", hint="ask for more"
)
LEFT = structs.replace(FAILED, job=5, code=130, message="cancelled by a person", hint="")
DONE = structs.replace(FAILED, job=1, kind="restore", of="latest to /t", code=0, message="", bytes=5_000_000)
ENDED = JobEnded(job=DONE, route="restore", result=msgspec.to_builtins(RESTORED))


def say(capsys, *words):
    """Run a verb; in what it says commands stand without the home that the test gave."""
    code, out, err = run(capsys, *words)
    return SimpleNamespace(code=code, out=re.sub(r" --home [^ `]+", "", out), err=re.sub(r" --home [^ `]+", "", err))


def paused_event(number=3):
    return Event(event="state", data={"state": "paused", "text": "paused; it waits", "job": number})


def test_jobs_shows_how_far_each_is_and_how_it_goes_on(agent, capsys):
    agent({"jobs": given([PAUSED, RUNNING, LEFT, FAILED, DONE])})
    told = say(capsys, "jobs")
    assert told.code == 0
    shown = told.out
    assert "4  backup of set photos  paused   43 %          -" in shown
    assert "3  backup of set photos  running  43 %  12.3 MB/s  2 m 5 s" in shown
    assert "job 4: `backup-peer resume 4` goes on, `backup-peer cancel 4` ends it; its terminal is gone" in shown
    assert "job 3: begun by the agent, as scheduled" in shown
    assert "job 3: alice 1.2 GB, bob" in shown
    assert "\x1b" not in shown
    assert "✗  backup of set photos: ended with 13" in shown
    assert "job 2: alice is full" in shown
    assert "·  backup of set photos: cancelled by a person" in shown
    assert "✓  restore of latest to /t, 5 MB" in shown


def test_nothing_to_show_is_said(agent, capsys):
    agent({"jobs": given([])})
    told = say(capsys, "jobs")
    assert told.code == 0
    assert told.out == "nothing is under way, and nothing was since the agent began\n"


def test_as_json_jobs_are_one_array(agent, capsys):
    agent({"jobs": given([RUNNING])})
    code, (rows,) = ask(capsys, "jobs")
    assert code == 0
    (row,) = rows
    assert (row["job"], row["peers"][0]) == (3, {"name": "alice", "bytes": 1_200_000_000})


@pytest.mark.parametrize(("words", "asked"), [(["pause"], None), (["pause", "4"], 4)])
def test_pause_says_what_holds_and_how_it_goes_on(agent, capsys, words, asked):
    dummy = agent({"jobs/pause": given(PAUSED)})
    told = say(capsys, *words)
    assert told.code == 0
    assert dummy.requests[-1][1].job == asked
    shown = told.out
    assert "paused job 4 (backup of set photos) at 43 %: it reads and sends nothing" in shown
    assert "`backup-peer resume 4` goes on where it is; what was sent is kept" in shown
    assert "it stays paused when its terminal is closed, and ends with the agent" in shown


def test_of_a_paused_restore_nothing_is_said_of_sending(agent, capsys):
    agent({"jobs/pause": given(structs.replace(PAUSED, kind="restore", of="latest to /t"))})
    told = say(capsys, "pause")
    assert "goes on where it is; what is done stays" in told.out
    assert "sent is kept" not in told.out


def test_of_a_backup_that_is_all_read_it_is_said_how_much_was_sent(agent, capsys):
    agent({"jobs": given([structs.replace(RUNNING, bytes=1000, sent_bytes=12_000_000, left_s=None)])})
    shown = say(capsys, "jobs").out
    assert "100 %" not in shown
    assert "12 MB sent" in shown


def test_one_that_was_broken_off_is_called_interrupted(agent, capsys):
    agent({"jobs": given([structs.replace(LEFT, message="backup was interrupted")])})
    assert "·  backup of set photos: interrupted" in say(capsys, "jobs").out


def test_the_help_of_jobs_names_attach(capsys):
    _, out, _ = run(capsys, "jobs", "--help")
    assert out.count("jobs attach 3") == 2


def test_of_a_scheduled_set_it_is_said_what_a_restart_does(agent, capsys):
    agent({"jobs/pause": given(structs.replace(PAUSED, by="schedule"))})
    told = say(capsys, "pause")
    assert told.code == 0
    assert "an agent that is started anew begins it again when it is due" in told.out


def test_resume_says_where_a_job_without_terminal_is_seen(agent, capsys):
    agent({"jobs/resume": given(structs.replace(RUNNING, is_left=True))})
    told = say(capsys, "resume")
    assert told.code == 0
    assert "`backup-peer jobs attach 3` shows it here" in told.out


def test_cancel_says_what_is_kept(agent, capsys):
    agent({"jobs/cancel": given(structs.replace(FAILED, code=130, hint="what a host has stored is kept"))})
    told = say(capsys, "cancel", "2")
    assert told.code == 0
    assert told.out == "cancelled job 2 (backup of set photos)\n  what a host has stored is kept\n"


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
@pytest.mark.parametrize(
    ("error", "code"),
    [(UserError("several jobs could be meant", hint="name one"), 2), (NotFoundError("no job", hint="`jobs`"), 10)],
)
def test_a_job_that_is_not_clear_ends_with_its_code(agent, capsys, verb, error, code):
    agent({f"jobs/{verb}": given(error)})
    told = say(capsys, verb)
    assert told.code == code
    assert error.message in told.err


@pytest.mark.parametrize("words", [["pause", "0"], ["cancel", "x"], ["jobs", "attach", "-1"]])
def test_what_is_no_number_is_refused_with_an_example(agent, capsys, words):
    told = say(capsys, *words)
    assert told.code == 2
    assert "for example: `backup-peer" in told.err


def test_attach_shows_the_same_and_ends_with_the_same_result(agent, capsys):
    events = [Event(event="error-file", data=msgspec.to_builtins(ErrorFile(path="/a", message="gone")))]
    dummy = agent({"jobs/attach": telling(events, ENDED)})
    told = say(capsys, "jobs", "attach", "1")
    assert told.code == 0
    assert dummy.requests[-1][1].job == 1
    assert "✗ /a: gone" in told.err
    assert "✓ restored 2 files" in told.out


def test_attach_ends_with_the_exit_code_that_the_job_has_at_its_own_terminal(agent, capsys):
    partly = msgspec.to_builtins(structs.replace(BACKED_UP, errors=2))
    agent({"jobs/attach": given(JobEnded(job=DONE, route="backup", result=partly))})
    told = say(capsys, "jobs", "attach")
    assert told.code == 3
    assert "! snapshot 3fa9c1d2" in told.out
    code, (done,) = ask(capsys, "jobs attach")
    assert code == 3
    assert (done["event"], done["route"], done["result"]["errors"]) == ("done", "backup", 2)


def test_attach_to_one_that_fails_says_why(agent, capsys):
    agent({"jobs/attach": given(IncompleteError("not all", hint="again"))})
    told = say(capsys, "jobs", "attach", "--json")
    assert told.code == 3
    assert json.loads(told.out)["message"] == "not all"
    assert "error: not all" in told.err


def test_a_job_of_another_kind_is_said_to_have_ended(agent, capsys):
    agent({"jobs/attach": given(JobEnded(job=structs.replace(DONE, kind="prune", of=""), route="prune"))})
    told = say(capsys, "jobs", "attach")
    assert told.code == 0
    assert told.out == "✓ job 1 (prune) has ended\n"


class Interrupted:
    """Ctrl-C as soon as an event of a kind is shown."""

    def __init__(self, monkeypatch, event):
        show = work.View.show

        def shown(view, told):
            show(view, told)
            if told.event == event:
                raise KeyboardInterrupt

        monkeypatch.setattr(work.View, "show", shown)


async def _stays(request, emit):
    await emit(paused_event())
    await asyncio.Event().wait()


def test_ctrl_c_at_its_own_terminal_ends_a_paused_job_too(agent, capsys, monkeypatch, tmp_path):
    Interrupted(monkeypatch, "state")
    dummy = agent({"backup": _stays, "jobs/cancel": given(FAILED)})
    told = say(capsys, "backup", str(tmp_path), "--yes")
    assert told.code == 130
    assert [(route, asked.job) for route, asked in dummy.requests if route.startswith("jobs")] == [("jobs/cancel", 3)]
    assert "paused; it waits (Ctrl-C keeps what was sent)" in told.err


def test_ctrl_c_at_a_terminal_that_follows_leaves_the_job(agent, capsys, monkeypatch):
    Interrupted(monkeypatch, "state")
    dummy = agent({"jobs/attach": _stays})
    told = say(capsys, "jobs", "attach", "3")
    assert told.code == 130
    assert [route for route, _ in dummy.requests if route == "jobs/cancel"] == []
    shown = told.err
    assert "left; the job goes on" in shown
    assert "`backup-peer jobs attach 3` follows it again, `backup-peer cancel 3` ends it" in shown


def test_a_line_about_a_job_says_how_far_how_fast_and_how_long():
    assert describe_live(RUNNING) == "backup of set photos: running, 43 %, 12.3 MB/s, 2 m 5 s left"
    assert describe_live(PAUSED) == "backup of set photos: paused, 43 %, `backup-peer resume 4` goes on"
    waiting = structs.replace(PAUSED, state="waiting", text="waiting for alice", counting=True)
    assert describe_live(waiting) == "backup of set photos: waiting, 430 B, waiting for alice"


def test_one_that_was_cancelled_elsewhere_is_no_error_at_its_terminal(agent, capsys, tmp_path):
    error = InterruptedByUserError("cancelled by `backup-peer cancel 1`", hint="what a host has stored is kept")
    agent({"backup": telling([], error)})
    told = say(capsys, "backup", str(tmp_path), "--yes")
    assert told.code == 130
    shown = told.err
    assert "error:" not in shown
    assert "what a host has stored is kept" in shown


def test_a_line_of_progress_names_what_each_host_took_where_there_is_room():
    peers = [PeerShare(name="alice", bytes=1_200_000_000), PeerShare(name="bob", bytes=800_000_000)]
    progress = Progress(
        phase="backing up", bytes=500, bytes_total=1000, current="/home/me/a-long-name.jpg", peers=peers
    )
    wide = work.describe_progress(progress, work.Pace(), 120)
    assert "alice 1.2 GB, bob 800 MB" in wide
    narrow = work.describe_progress(progress, work.Pace(), 62)
    assert narrow == "backing up   50 % · 500 B of 1 kB · alice 1.2 GB, bob 800 MB"
    assert "alice" not in work.describe_progress(progress, work.Pace(), 40)
