"""`export` needs the home for itself; the agent that it stops for that runs again afterwards."""

import sys
from functools import partial

import pytest

from backuppeer.agent.home.belongings import write_belongings
from backuppeer.agent.home.home import Home
from backuppeer.cli import agents
from backuppeer.cli import export as verb
from backuppeer.cli.agents import ping_agent, start_agent, stop_agent
from backuppeer.cli.homes import create_peer
from backuppeer.crypto.custody import Stretch
from cli.rows import run
from cli.terminal import FakePipe

pytestmark = pytest.mark.slow
PASSPHRASE = "correct horse battery\n"
CHEAP = Stretch(memory_kib=64, passes=1, lanes=1)


@pytest.fixture
def live(home, monkeypatch):
    """A home with a real agent; it is stopped afterwards."""
    create_peer(Home(home), bytes(32))
    monkeypatch.setenv("BACKUPPEER_BIND", "127.0.0.1")
    start_agent(Home(home))
    yield Home(home)
    stop_agent(Home(home))


def export(capsys, monkeypatch, file, *options, write=None):
    monkeypatch.setattr("sys.stdin", FakePipe(PASSPHRASE))
    monkeypatch.setattr(verb, "write_belongings", write or partial(write_belongings, stretch=CHEAP))
    return run(capsys, "export", str(file), "--yes", *options)


def test_the_agent_that_ran_runs_again_whatever_became_of_the_file(live, tmp_path, capsys, monkeypatch):
    file = tmp_path / "home.bp"
    before = ping_agent(live).pid
    code, out, _ = export(capsys, monkeypatch, file)
    after = ping_agent(live)
    assert (code, file.exists(), after is not None and after.pid != before) == (0, True, True)
    assert "`backup-peer import FILE` on the other machine" in " ".join(out.split())
    assert export(capsys, monkeypatch, file)[0] == 2, "a file that is there is left alone"
    assert ping_agent(live) is not None


def test_none_is_started_where_none_ran(live, tmp_path, capsys, monkeypatch):
    stop_agent(live)
    assert export(capsys, monkeypatch, tmp_path / "home.bp")[0] == 0
    assert ping_agent(live) is None


def test_an_agent_that_does_not_start_again_is_said_with_the_command_for_it(live, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(agents, "agent_command", lambda _: [sys.executable, "-c", "raise SystemExit(7)"])
    code, _, err = export(capsys, monkeypatch, tmp_path / "home.bp")
    text = " ".join(err.split())
    assert (code, "does not start again" in text, "`backup-peer agent start" in text) == (0, True, True)


def test_a_machine_gives_up_its_right_only_to_a_file_that_can_be_read_back(home, tmp_path, capsys, monkeypatch):
    home, file = Home(home), tmp_path / "home.bp"
    create_peer(home, bytes(32))

    def lose_half(path, belongings, passphrase):
        write_belongings(path, belongings, passphrase, stretch=CHEAP)
        path.write_bytes(path.read_bytes()[:-9])

    home.config.write_text('[sets.s]\npaths = ["/tmp"]\nschedule = "never"\n')
    code, _, err = export(capsys, monkeypatch, file, "--move")
    assert (code, "schedule" in err, file.exists(), home.is_read_only) == (2, True, False, False)
    home.config.unlink()
    code, _, err = export(capsys, monkeypatch, file, "--move", write=lose_half)
    text = " ".join(err.split())
    assert "could not be read back, and was removed: this machine goes on making backups" in text
    assert (code != 0, file.exists(), home.is_read_only) == (True, False, False)
    assert export(capsys, monkeypatch, file, "--move")[0] == 0
    assert (file.exists(), home.is_read_only) == (True, True)
