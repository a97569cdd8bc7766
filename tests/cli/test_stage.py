"""The demo's stage runs verbs as processes, hears what they say, and takes everything down."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from backuppeer.cli.stage import Stage, VerbFailed, end_signals_raised
from backuppeer.errors import ExitCode


class ScriptStage(Stage):
    """Runs a Python script where a verb is meant: the stage's own part is what is tested here."""

    def command(self, home: Path, *words: str) -> tuple[list[str], dict[str, str]]:
        _, environment = super().command(home, *words)
        return [sys.executable, "-c", words[0]], environment


def _say(*events: dict[str, object], code: int = 0) -> str:
    lines = "".join(f"print({json.dumps(json.dumps(event))}, flush=True)\n" for event in events)
    return f"import sys, time\n{lines}sys.exit({code})"


@pytest.fixture
def heard() -> list[dict[str, object]]:
    return []


@pytest.fixture
def stage(heard):
    with ScriptStage(heard.append) as made:
        yield made


def test_a_verbs_closing_line_is_its_result_and_every_line_is_heard(stage, heard):
    party = stage.party("owner")
    done = party.run(_say({"event": "progress", "bytes": 1}, {"event": "done", "files": 2}))
    assert done == {"event": "done", "files": 2}
    assert [event["event"] for event in heard] == ["progress", "done"]


def test_a_failed_verb_keeps_its_message_hint_and_exit_code(stage):
    error = {"event": "error", "code": 13, "message": "the quota is full", "hint": "ask for more"}
    with pytest.raises(VerbFailed, match="the quota is full") as caught:
        stage.party("owner").run(_say(error, code=13))
    assert (caught.value.exit_code, caught.value.hint) == (ExitCode.REFUSED, "ask for more")


def test_a_verb_that_dies_without_a_word_is_told_by_its_last_line_of_errors(stage):
    with pytest.raises(VerbFailed, match="ValueError: broken"):
        stage.party("owner").run("raise ValueError('broken')")


def test_incomplete_is_a_failure_unless_it_was_allowed_for(stage):
    script = _say({"event": "done", "files": 1}, code=3)
    party = stage.party("owner")
    assert party.start(script).wait_done(may_be_incomplete=True)["files"] == 1
    with pytest.raises(VerbFailed):
        party.start(script).wait_done()


def test_an_awaited_event_that_never_comes_is_a_failure(stage):
    with pytest.raises(VerbFailed):
        stage.party("owner").start(_say({"event": "state"})).wait_event("request")


def test_words_travel_on_standard_input_and_not_on_the_command_line(stage):
    script = "import sys, json; print(json.dumps({'event': 'done', 'said': sys.stdin.read(), 'argv': sys.argv}))"
    done = stage.party("owner").run(script, stdin="abandon about\n")
    assert done["said"] == "abandon about\n"
    assert "abandon" not in str(done["argv"])


def test_verbs_see_their_own_home_loopback_and_nothing_of_the_users_settings(stage, monkeypatch):
    monkeypatch.setenv("BACKUPPEER_SERVERS", "wss://users.example")
    script = (
        "import os, json\n"
        "print(json.dumps({k: v for k, v in os.environ.items() if k.startswith('BACKUPPEER_')} | {'event': 'done'}))"
    )
    seen = stage.party("owner").run(script)
    assert seen["BACKUPPEER_HOME"] == str(stage.path / "owner")
    assert seen["BACKUPPEER_BIND"] == "127.0.0.1"
    assert seen["BACKUPPEER_SERVERS"] == ""


def test_leaving_the_stage_ends_what_runs_and_deletes_its_folder(heard):
    script = 'import time\nprint(\'{"event": "ready"}\', flush=True)\ntime.sleep(600)'
    with ScriptStage(heard.append) as stage:
        running = stage.party("owner").start(script)
        running.wait_event("ready")
    assert running.process.returncode == -signal.SIGTERM
    assert not stage.path.exists()


def test_the_stage_is_taken_down_after_an_error_too(heard):
    stage = ScriptStage(heard.append)
    with pytest.raises(VerbFailed), stage:
        stage.party("owner").run("raise SystemExit(1)")
    assert not stage.path.exists()


def _end_this_process() -> None:
    with end_signals_raised():
        os.kill(os.getpid(), signal.SIGTERM)
        signal.sigtimedwait([], 5)  # the handler runs before this returns


def test_a_signal_to_end_becomes_an_interrupt_and_the_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        _end_this_process()
    assert signal.getsignal(signal.SIGTERM) is before
