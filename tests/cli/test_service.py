"""The agent as a service: what is written, what the system is told, and what is refused."""

import plistlib
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.agent.home.home import usual_home
from backuppeer.cli.installed import LaunchAgent, SystemdUnit, name_of
from backuppeer.control.api import PingResult
from backuppeer.control.stopping import StopResult
from backuppeer.errors import UserError
from cli.rows import run
from cli.terminal import check_output
from control.dummy import PEER
from control.dummy import given as answer

FAKE = """#!/bin/sh
echo "$0 $*" >> {told}
case "$*" in
*is-active*) exit {active};; *show-environment*) exit {there};; *disable*) exit {disabled};; *enable*) exit {enabled};;
esac
"""


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A systemctl that notes what it is told."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    told = tmp_path / "told"

    def make(*, active: int = 0, there: int = 0, enabled: int = 0, disabled: int = 0) -> Path:
        script = tmp_path / "bin" / "systemctl"
        script.parent.mkdir()
        script.write_text(FAKE.format(told=told, active=active, there=there, enabled=enabled, disabled=disabled))
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")
        return told

    return make


@pytest.fixture
def peer(home, capsys, agent):
    assert run(capsys, "init", "--yes")[0] == 0
    with subprocess.Popen(["/bin/true"]) as ended:
        pid = ended.pid
    agent(
        {"ping": answer(PingResult(version="0.1.0", pid=pid, peer_id=PEER)), "stop": answer(StopResult(stopped=True))}
    )
    return home


def test_installing_writes_a_unit_of_the_user_and_has_it_started_now_and_at_each_login(peer, capsys, system):
    told = system()
    code, out, _ = run(capsys, "service", "install")
    assert code == 0
    unit = Path(peer.parent / "config" / "systemd" / "user" / f"{name_of(peer)}.service")
    assert str(unit) in out
    assert f'"--home" "{peer}" "agent" "run" "--keep"' in unit.read_text()
    assert sys.executable in unit.read_text()
    said = told.read_text()
    assert said.index("daemon-reload") < said.index(f"enable {unit.name}") < said.index(f"restart {unit.name}")


def test_uninstalling_ends_it_and_leaves_no_file(peer, capsys, system):
    told = system()
    run(capsys, "service", "install")
    code, out, _ = run(capsys, "service", "uninstall", "--json")
    assert code == 0
    state = check_output("service uninstall", out)[-1]
    assert state["installed"] is False
    assert not Path(state["file"]).exists()
    assert f"disable --now {name_of(peer)}.service" in told.read_text()
    assert run(capsys, "service", "uninstall")[0] == 10


def test_a_system_that_refuses_is_told_with_what_may_help(peer, capsys, system):
    system(enabled=1)
    code, _, err = run(capsys, "service", "install")
    assert code == 1
    assert "--user enable" in err
    assert "loginctl enable-linger" in err
    assert not list(peer.parent.glob("config/systemd/user/*.service"))


def test_where_the_manager_is_not_reached_nothing_is_touched(peer, capsys, system):
    told = system(there=1)
    code, _, err = run(capsys, "service", "install")
    assert code == 1
    assert "loginctl enable-linger" in err
    assert told.read_text().count("\n") == 1, "asked whether it is there, and nothing else"
    assert not (peer.parent / "config").exists()


def test_uninstalling_removes_the_file_though_the_manager_refuses(peer, capsys, system):
    system(disabled=1)
    run(capsys, "service", "install")
    assert run(capsys, "service", "uninstall")[0] == 0
    assert not list(peer.parent.glob("config/systemd/user/*.service"))


def test_a_link_that_forbids_the_service_stays(peer, capsys, system):
    system()
    place = peer.parent / "config" / "systemd" / "user" / f"{name_of(peer)}.service"
    place.parent.mkdir(parents=True)
    place.symlink_to("/dev/null")
    assert run(capsys, "service", "install")[0] == 2
    assert place.is_symlink()


def test_the_service_waits_for_an_agent_that_runs_and_then_is_one(peer, capsys, monkeypatch):
    there = [True, True, False, False]
    monkeypatch.setattr("backuppeer.cli.agent._is_there", lambda _: there.pop(0))
    monkeypatch.setattr("backuppeer.cli.agent.ping_agent", lambda _: None)
    monkeypatch.setattr("backuppeer.cli.agent.time.sleep", lambda _: None)
    monkeypatch.setattr("backuppeer.cli.agent._become", lambda *_: 7)
    assert run(capsys, "agent", "run", "--keep")[0] == 7
    assert there == [False]


def test_where_no_service_can_be_installed_that_is_said(peer, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    code, _, err = run(capsys, "service", "install")
    assert code == 2
    assert "@reboot" in err


def test_a_home_without_identity_gets_no_service(home, capsys, system):
    told = system()
    assert run(capsys, "service", "install")[0] == 10
    assert not told.exists()


def test_status_says_how_it_stands(peer, capsys, system):
    system()
    code, out, _ = run(capsys, "service", "status", "--json")
    assert code == 0
    assert check_output("service status", out)[0]["installed"] is False
    run(capsys, "service", "install")
    assert "the service runs" in run(capsys, "service", "status")[1]


def test_what_the_terminal_sets_does_not_count_for_the_service_and_that_is_said(peer, capsys, system, monkeypatch):
    system()
    monkeypatch.setenv("BACKUPPEER_SERVERS", "ws://127.0.0.1:1")
    assert "BACKUPPEER_SERVERS of this terminal does not count" in run(capsys, "service", "install")[2]


def test_the_end_of_the_log_is_shown_and_paints_nothing(peer, capsys):
    (peer / "logs").mkdir(exist_ok=True)
    lines = [f'{{"event": "number {n}", "level": "info", "timestamp": "T", "peer": "\\u001b[31m"}}' for n in range(9)]
    (peer / "logs" / "agent.log").write_text("\n".join([*lines, "no json", "7", ""]))
    code, out, _ = run(capsys, "service", "logs", "--lines", "5")
    assert code == 0
    assert ["number 4" in out, "number 3" in out, "\x1b" in out] == [True, False, False]
    found = check_output("service logs", run(capsys, "service", "logs", "--json")[1])[0]
    assert len(found) == 9


def test_the_usual_home_has_the_plain_name_and_others_each_their_own(tmp_path):
    assert name_of(usual_home().path) == "backup-peer"
    assert name_of(tmp_path / "a") != name_of(tmp_path / "b")


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=40))
def test_systemd_and_launchd_read_back_the_words_that_were_meant(word):
    if not word.isprintable():
        return
    unit, listed = SystemdUnit(Path("/h"), ["/bin/x", word]), LaunchAgent(Path("/h"), ["/bin/x", word])
    line = next(line for line in unit.text().splitlines() if line.startswith("ExecStart="))
    assert shlex.split(line.partition("=")[2].replace("%%", "%").replace("$$", "$"))[1:] == [word]
    assert plistlib.loads(listed.text().encode())["ProgramArguments"] == ["/bin/x", word]


@pytest.mark.parametrize("home", ["/with\nline", "/with\x1bescape"])
def test_a_home_that_no_unit_can_name_is_refused(home):
    with pytest.raises(UserError):
        SystemdUnit(Path(home), ["x"]).text()


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    unit = SystemdUnit(tmp_path / "a home with 100%", [sys.executable, "-P", "-m", "x", "--home", str(tmp_path)])
    file = tmp_path / "backup-peer-test.service"
    file.write_text(unit.text())
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", str(file)], capture_output=True, text=True, check=False
    )
    assert "backup-peer-test" not in done.stderr, done.stderr
