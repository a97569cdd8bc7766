from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from structlog.testing import capture_logs

from backuppeer.control.api import HostPlan
from control.dummy import Dummy, given


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch, tmp_path_factory):
    for name in ("BACKUPPEER_SERVERS", "BACKUPPEER_PROXY", "NO_COLOR", "SUDO_USER", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BACKUPPEER_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture(autouse=True)
def _quiet_log():
    """The scripted agent runs in this process: its log must not mix with what the command prints."""
    with capture_logs() as logs:
        yield logs


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The home that verbs use unless --home says otherwise."""
    path = tmp_path / "h"
    path.mkdir(mode=0o700)
    monkeypatch.setenv("BACKUPPEER_HOME", str(path))
    return path


@pytest.fixture
def agent(home) -> Iterator:
    """Start a scripted agent for `home`: agent({"browse": handler})."""
    with ExitStack() as stack:
        usual = {"host/plan": given(HostPlan(listed_bytes=2**35, agreed_bytes=0)), "peers": given([])}
        yield lambda handlers: stack.enter_context(Dummy(home / "agent.sock", usual | handlers))


@pytest.fixture
def terminal(monkeypatch):
    """Put a person in front of the command: terminal("y\\n") types; returns what the person sees on stderr."""
    from cli.terminal import FakeTerminal  # noqa: PLC0415 - beside its only use

    def sit_down(typed: str = "") -> FakeTerminal:
        shown = FakeTerminal()
        monkeypatch.setattr("sys.stdin", FakeTerminal(typed))
        monkeypatch.setattr("sys.stderr", shown)
        return shown

    return sit_down
