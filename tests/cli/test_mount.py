"""`mount` before anything is mounted: what is wrong is said, with its code, and the agent asked for what is meant."""

import asyncio
import json
import signal
import sys

import pytest

from backuppeer.cli import mount as verb
from backuppeer.cli.main import main
from backuppeer.control.mounting import MountOpened, MountResult
from backuppeer.errors import NotFoundError
from cli.late_signals import sending
from cli.rows import event
from control.dummy import given, telling


class Library:
    """Stands for mfusepy where it must not come to a mount."""

    def FUSE(self, *_, **__):  # noqa: N802 - its name
        raise AssertionError("mounted")


@pytest.fixture
def place(tmp_path):
    (tmp_path / "mnt").mkdir()
    return tmp_path / "mnt"


@pytest.fixture
def _library(monkeypatch):
    monkeypatch.setattr("backuppeer.cli.mounted.place.check_system", lambda: None)
    monkeypatch.setattr("backuppeer.cli.mounted.kernel.load_library", Library)


@pytest.mark.parametrize(("name", "code"), [("no", 10), ("file", 2), ("full", 2)])
@pytest.mark.usefixtures("home", "_library")
def test_a_place_that_will_not_do_is_refused_before_the_agent_is_asked(capsys, tmp_path, name, code):
    (tmp_path / "file").touch()
    (tmp_path / "full" / "something").mkdir(parents=True)
    assert main(["mount", str(tmp_path / name)]) == code
    said = capsys.readouterr().err
    assert "error: " in said
    assert "hint: " in said


@pytest.mark.usefixtures("home")
def test_without_the_package_it_is_said_what_to_install(capsys, place, monkeypatch):
    monkeypatch.setattr("backuppeer.cli.mounted.place.check_system", lambda: None)
    monkeypatch.setenv("FUSE_LIBRARY_NAME", "fuse3")
    monkeypatch.setitem(sys.modules, "mfusepy", None)
    assert main(["mount", str(place)]) == 10
    assert "pipx inject backup-peer mfusepy" in capsys.readouterr().err


@pytest.mark.usefixtures("_library")
def test_the_agent_is_asked_for_the_snapshots_that_are_meant_and_its_no_is_passed_on(capsys, agent, place):
    dummy = agent({"mount": given(NotFoundError("no snapshot fits", hint="look"))})
    words = [
        "--snapshot",
        "latest",
        "--snapshot",
        "3fa9",
        "--tag",
        "t",
        "--host",
        "pc",
        "--set",
        "s",
        "--path",
        "/a/../b",
    ]
    assert main(["--json", "mount", str(place), *words]) == 10
    (request,) = [request for route, request in dummy.requests if route == "mount"]
    assert (request.snapshots, request.tags, request.hosts) == (["latest", "3fa9"], ["t"], ["pc"])
    assert (request.set, request.path) == ("s", "/b")
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["message"] == "no snapshot fits"


@pytest.mark.usefixtures("_library")
def test_when_the_list_of_snapshots_can_not_be_had_nothing_is_mounted(capsys, agent, place):
    opened = event("opened", MountOpened(mount="m", snapshots=[]))
    agent(
        {
            "mount": telling([opened], MountResult(read_bytes=0, seconds=0.0)),
            "snapshots": given(NotFoundError("the recovery is not finished", hint="look")),
        }
    )
    assert main(["mount", str(place)]) == 10
    assert "recovery" in capsys.readouterr().err


@pytest.mark.usefixtures("_library")
def test_ctrl_c_that_comes_just_before_the_wait_for_news_ends_it(capsys, agent, place):
    rescued = asyncio.Event()

    async def mount(request, emit):
        await rescued.wait()
        raise NotFoundError("nothing came of it")

    dummy = agent({"mount": mount})
    with sending(signal.SIGINT, verb._Mount._wait.__code__, lambda: dummy.call_soon(rescued.set)) as ended_by:
        assert main(["mount", str(place)]) == 130
    assert ended_by == []
    assert capsys.readouterr().err == "stopped; nothing was mounted\n"


def test_signals_that_end_programs_end_a_mount_as_ctrl_c_does(monkeypatch):
    import os  # noqa: PLC0415 - beside its only use

    with pytest.raises(KeyboardInterrupt), verb._ending_by_signals():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
