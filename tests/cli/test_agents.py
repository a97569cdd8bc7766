import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from backuppeer import __version__
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyring import recover_identity
from backuppeer.cli import agents
from backuppeer.cli.agents import agent_command, agent_environment, ensure_agent, ping_agent, start_agent, stop_agent
from backuppeer.cli.homes import create_peer
from backuppeer.cli.main import main
from backuppeer.control.api import Nothing, PingResult
from backuppeer.errors import ExitCode, LocalError, NewerFormatError, NotFoundError
from backuppeer.ids import shorten_peer_id
from backuppeer.limits import AGENT_REASON_BYTES
from cli.rows import run
from cli.terminal import check_output, identity_in
from control.dummy import Dummy

FAKE = Path(__file__).with_name("fake_agent.py")


@pytest.fixture
def live(home, monkeypatch):
    """A home whose agent is the fake one; it is stopped afterwards."""
    identity_in(home)
    monkeypatch.setattr(agents, "agent_command", lambda home: [sys.executable, str(FAKE), str(home.path), __version__])
    yield Home(home)
    stop_agent(Home(home))


def started(home):
    return (home.path / "started").read_text().split()


def test_an_agent_is_started_on_demand_once_and_found_again(live):
    assert ping_agent(live) is None
    first = ensure_agent(live).call("ping", Nothing(), PingResult)
    again = ensure_agent(live).call("ping", Nothing(), PingResult)
    assert first.pid == again.pid
    assert started(live) == [str(first.pid)]


@pytest.mark.slow
def test_it_is_a_session_of_its_own_at_the_root_with_nothing_open(live):
    pid = start_agent(live).pid
    assert os.getsid(pid) == pid
    assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
    assert {Path(f"/proc/{pid}/fd/{number}").readlink() for number in range(3)} == {Path("/dev/null")}


@pytest.mark.slow
def test_commands_that_start_it_at_once_reach_the_same_agent(live):
    pids = []
    threads = [threading.Thread(target=lambda: pids.append(start_agent(live).pid)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 4
    assert len(set(pids)) == 1
    assert started(live) == [str(pids[0])]


@pytest.mark.slow
def test_settings_that_can_not_be_read_are_a_note_of_status_as_long_as_they_are_so(home, monkeypatch, capsys):
    create_peer(Home(home), bytes(32))
    monkeypatch.setenv("BACKUPPEER_BIND", "127.0.0.1")
    start_agent(Home(home))
    try:
        for slip, is_noted in (('[sets.s]\npaths = ["/x"]\nschedule = "never"\n', True), ("", False)):
            Home(home).config.write_text(slip)
            code, out, _ = run(capsys, "status")
            text = " ".join(out.split())
            assert (code, "note: " in text and "sets.s: schedule: not a schedule" in text) == (0, is_noted)
            assert ("no set is backed up by its schedule" in text) == is_noted
    finally:
        stop_agent(Home(home))


@pytest.mark.slow
def test_stop_returns_when_the_process_has_ended(live):
    pid = start_agent(live).pid
    assert stop_agent(live)
    state = Path(f"/proc/{pid}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"
    assert not stop_agent(live)
    assert not (live.path / "agent.sock").exists()


@pytest.mark.slow
def test_an_agent_of_another_version_is_replaced(live, monkeypatch):
    command = [sys.executable, str(FAKE), str(live.path), "0.0.0"]
    with monkeypatch.context() as patch:
        patch.setattr(agents, "agent_command", lambda _: command)
        old = start_agent(live)
    assert old.version == "0.0.0"
    said = []
    new = ensure_agent(live, said.append).call("ping", Nothing(), PingResult)
    assert new.version == __version__
    assert said == [f"the agent was of version 0.0.0: it was ended, and {__version__} goes on with its jobs"]
    assert started(live) == [str(old.pid), str(new.pid)]


@pytest.mark.slow
def test_an_agent_whose_home_this_version_can_not_open_is_left_alone(live, monkeypatch):
    command = [sys.executable, str(FAKE), str(live.path), "9.9.9"]
    with monkeypatch.context() as patch:
        patch.setattr(agents, "agent_command", lambda _: command)
        newer = start_agent(live)
    with contextlib.closing(sqlite3.connect(live.state)) as state:
        state.execute("PRAGMA user_version=999")
    with pytest.raises(NewerFormatError, match="newer version"):
        ensure_agent(live)
    assert ping_agent(live) == newer


def test_an_agent_that_ends_at_once_is_told_with_its_exit_code(live, monkeypatch):
    monkeypatch.setattr(agents, "agent_command", lambda _: [sys.executable, "-c", "raise SystemExit(7)"])
    with pytest.raises(LocalError, match="exit code 7") as caught:
        start_agent(live)
    assert "agent run" in caught.value.hint


@pytest.mark.slow
def test_what_an_agent_says_of_why_it_cannot_run_is_passed_on_with_its_exit_code(home):
    create_peer(Home(home), bytes(32))
    (home / "keys" / "grant").write_bytes(b"")
    with pytest.raises(LocalError, match="keys/grant is damaged") as caught:
        start_agent(Home(home))
    assert caught.value.exit_code is ExitCode.INTEGRITY
    assert "copy of this home" in caught.value.hint


@pytest.mark.parametrize("said", ["", "no json", '{"message": "m"}', "[]", '{"message": "m", "hint": "h", "code": 99}'])
def test_an_agent_that_says_no_reason_is_told_with_its_exit_code(live, monkeypatch, said):
    script = f"import os, sys; os.write(int(sys.argv[-1]), {said!r}.encode()); sys.exit(7)"
    monkeypatch.setattr(agents, "agent_command", lambda _: [sys.executable, "-c", script])
    with pytest.raises(LocalError, match="exit code 7"):
        start_agent(live)


def test_a_reason_is_read_up_to_its_cap(live, monkeypatch):
    room = AGENT_REASON_BYTES - len('{"message": "", "hint": "h", "code": 15}')
    script = (
        "import json, os, sys; said = json.dumps({'message': 'm' * int(sys.argv[1]), 'hint': 'h', 'code': 15});"
        "os.write(int(sys.argv[-1]), said.encode()); sys.exit(15)"
    )
    for size, told in ((room, "mmm"), (room + 1, "exit code 15")):
        command = [sys.executable, "-c", script, str(size)]
        monkeypatch.setattr(agents, "agent_command", lambda _, command=command: command)
        with pytest.raises(LocalError, match=told):
            start_agent(live)


def open_files(pid):
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            yield str(link.readlink())


@pytest.mark.slow
def test_a_running_agent_holds_nothing_that_the_command_gave_it(home, monkeypatch):
    create_peer(Home(home), bytes(32))
    monkeypatch.setenv("BACKUPPEER_BIND", "127.0.0.1")
    pid = start_agent(Home(home)).pid
    try:
        assert not any(target.startswith("pipe:") for target in open_files(pid))
    finally:
        stop_agent(Home(home))


def test_an_agent_that_never_answers_is_ended_and_told(live, monkeypatch):
    monkeypatch.setattr(agents, "AGENT_START_S", 0.2)
    monkeypatch.setattr(agents, "agent_command", lambda _: [sys.executable, "-c", "import signal; signal.pause()"])
    with pytest.raises(LocalError, match="did not answer"):
        start_agent(live)


def test_without_identity_no_agent_is_started(home):
    with pytest.raises(NotFoundError, match="no identity"):
        start_agent(Home(home))


def test_the_agent_inherits_no_secrets():
    shell = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "AWS_SECRET_ACCESS_KEY": "x",
        "RESTIC_PASSWORD": "x",
        "BACKUPPEER_BIND": "::1",
    }
    assert agent_environment(shell) == {"PATH": "/bin", "LC_ALL": "C", "BACKUPPEER_BIND": "::1"}


def test_the_agents_command_does_not_import_from_its_folder(tmp_path):
    command = agent_command(Home(tmp_path))
    assert command[1:4] == ["-P", "-m", "backuppeer.cli.serve"]


@pytest.mark.slow
def test_agent_verbs_start_tell_and_stop(live, capsys):
    for verb, first in (("start", True), ("start", False)):
        assert main(["agent", verb, "--json"]) == 0
        assert check_output("agent start", capsys.readouterr().out)[-1]["started"] is first
    assert main(["agent", "status", "--json"]) == 0
    assert check_output("agent status", capsys.readouterr().out)[-1]["running"] is True
    for stopped in (True, False):
        assert main(["agent", "stop", "--json"]) == 0
        assert check_output("agent stop", capsys.readouterr().out)[-1]["stopped"] is stopped
    assert main(["agent", "status"]) == 0
    assert capsys.readouterr().out == "no agent is running\n"


@pytest.mark.slow
def test_an_agent_in_the_foreground_says_so_and_one_that_runs_already_is_left_alone(home, capsys, monkeypatch):
    peer = recover_identity(Home(home), bytes(32))
    became = []

    def become(command, secret):
        assert secret == b""
        became.append(command)
        raise SystemExit(0)

    monkeypatch.setattr("backuppeer.cli.agent._become", become)
    for words in (["agent", "run"], ["agent", "run", "--json"]):
        with pytest.raises(SystemExit):
            main(words)
    said, line = capsys.readouterr().out.splitlines()
    assert said.startswith(f"agent of {shorten_peer_id(peer)} runs in the foreground")
    assert check_output("agent run", line)[-1]["pid"] == os.getpid()
    with Dummy(home / "agent.sock", {}):
        assert main(["agent", "run"]) == 0
    assert "runs already" in capsys.readouterr().out
    assert len(became) == 2


@pytest.mark.slow
def test_a_command_leaves_the_agent_running(live):
    script = (
        "from pathlib import Path; from backuppeer.agent.home.home import Home; import backuppeer.cli.agents as a;"
        f"a.agent_command = lambda home: {agents.agent_command(live)!r};"
        f"print(a.start_agent(Home(Path({str(live.path)!r}))).pid)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, check=True)
    found = ping_agent(live)
    assert found is not None
    assert found.pid == int(done.stdout)
    assert done.stderr == b""
