"""`doctor`: with an agent, without one, with broken settings, with no home; nothing hangs, nothing false is said."""

import asyncio
import json
import socket
import sqlite3
import time
from contextlib import closing

import msgspec
import pytest

from backuppeer.agent.home.home import locate_home
from backuppeer.agent.home.keyring import create_identity
from backuppeer.cli import agents as agents_module
from backuppeer.cli import doctor
from backuppeer.cli.checkup import asking
from backuppeer.clock import SystemClock, format_time
from backuppeer.control import api
from backuppeer.control.doctor import NetworkCheck, PeersChecked
from backuppeer.errors import LocalError
from cli.checkup.test_far import HOST, snapshot
from cli.rows import ask, event, make_peer, run
from cli.test_servers import served  # noqa: F401 - a fixture
from control.dummy import PEER, given, telling
from signaling.kit import dead_url

STATUS = api.StatusResult(
    peer_id=PEER, agent="running", servers=[], sessions=0, hosting=api.HostingState(), snapshots=1
)


@pytest.fixture
def identity(home):
    """Make an identity in the home."""
    create_identity(locate_home(None), b"m" * 32, SystemClock())
    return home


def handlers(**changed):
    rows = event("rows", {"rows": msgspec.to_builtins([HOST])})
    usual = {
        "status": given(STATUS),
        "doctor/peers": telling([rows], PeersChecked(peers=1)),
        "doctor/network": given(NetworkCheck(looked=True, nat="steady", relays=["wss://r"])),
        "snapshots": given([snapshot(of="", time=format_time(SystemClock().now_ms()))]),
        "sessions": given([]),
        "peers": given([make_peer()]),
    }
    return usual | {name.replace("_", "/"): handler for name, handler in changed.items()}


def by_link(lines):
    return {row["link"]: row for row in lines[0]}


def test_all_is_well_where_every_link_holds(capsys, identity, agent, served):  # noqa: F811
    agent(handlers())
    code, lines = ask(capsys, "doctor", "--server", served)
    assert code == 0
    links = [row["link"] for row in lines[0] if row["link"] != "service"]  # which this system may not have
    assert links == [
        *("home", "identity", "settings", "disk", "agent", "clock", "server", "network", "peer", "backups"),
    ]
    assert {row["state"] for row in lines[0] if row["link"] != "service"} == {"ok"}


def test_a_person_reads_one_line_for_each_link_and_how_all_is(capsys, identity, agent, served):  # noqa: F811
    agent(handlers())
    code, out, _ = run(capsys, "doctor", "--server", served)
    lines = out.splitlines()
    assert code == 0
    assert lines[-1] == "all is well"
    assert f"✓ server    {served}: open in" in out
    assert "✓ peer      old alice: there, direct" in out
    assert "✓ clock     agrees with 1 other clock" in lines[-3]


def test_without_an_agent_the_rest_is_looked_at_and_that_is_said(capsys, identity, served):  # noqa: F811
    code, lines = ask(capsys, "doctor", "--server", served)
    told = by_link(lines)
    assert code == 3
    assert (told["agent"]["state"], told["server"]["state"]) == ("unseen", "ok")
    assert "`backup-peer agent start`" in told["agent"]["fix"]
    assert "peer" not in told


@pytest.mark.parametrize("name", ["state.db", "evidence.db", "receipts.db", "repository/proven.db"])
def test_a_home_of_a_newer_version_is_a_broken_link_and_no_start_is_proposed(capsys, identity, name):
    with closing(sqlite3.connect(identity / name)) as database:
        database.execute("PRAGMA user_version=99")
    code, lines = ask(capsys, "doctor", "--server", "")
    told = by_link(lines)["agent"]
    assert (code, told["state"], name in told["text"], "newer version" in told["text"]) == (15, "broken", True, True)
    assert "install the newer" in told["fix"]
    (identity / name).write_bytes(b"no database")
    assert ask(capsys, "doctor", "--server", "")[0] == 3, "damage is told when the agent starts"


def test_with_no_home_at_all_the_way_to_one_is_told(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("BACKUPPEER_HOME", str(tmp_path / "none"))
    code, out, _ = run(capsys, "doctor", "--server", "")
    assert code == 10
    assert "✗ home" in out
    assert "`backup-peer init" in out
    assert not (tmp_path / "none").exists()


def test_a_home_that_is_a_file_is_told_as_one(capsys, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BACKUPPEER_HOME", str(tmp_path / "file"))
    assert run(capsys, "doctor", "--server", "")[0] == 2


def test_broken_settings_name_the_key_and_no_server_is_guessed(capsys, identity, agent):
    (identity / "config.toml").write_text("serverz = []\n")
    agent(handlers())
    code, lines = ask(capsys, "doctor")
    told = by_link(lines)
    assert code == 2
    assert "serverz" in told["settings"]["text"]
    assert (told["server"]["state"], told["server"]["code"]) == ("unseen", 0)
    assert told["peer"]["state"] == "ok"


def test_the_code_is_that_of_the_first_broken_link(capsys, identity, agent):
    gone = msgspec.structs.replace(HOST, reached=False, error="no answer within 5 s", code=11)
    rows = event("rows", {"rows": msgspec.to_builtins([gone])})
    agent(handlers(doctor_peers=telling([rows], PeersChecked(peers=1, left_out=2))))
    code, out, _ = run(capsys, "doctor", "--server", dead_url())
    assert code == 14
    assert "no connection to it (TCP)" in out
    assert "2 links are broken; begin with the first of the chain: server" in out
    assert "? peer      2 more were not asked" in out
    code, out, _ = run(capsys, "doctor", "--server", "")
    assert code == 11
    assert "✗ peer      old alice: no answer within 5 s; last seen" in out


def test_an_alarm_and_a_store_that_is_away_are_broken_links(capsys, identity, agent):
    away = api.HostingState(store="/mnt/usb", store_state="unavailable: not mounted")
    status = msgspec.structs.replace(STATUS, notes=["ALARM: an owner deletes\x1b all", "no alarm"], hosting=away)
    agent(handlers(status=given(status)))
    code, out, _ = run(capsys, "doctor", "--server", "")
    assert code == 13
    assert "✗ alarms    an owner deletes\\u001b all" in out
    assert "✗ disk      the store /mnt/usb: unavailable: not mounted" in out


def test_an_agent_that_says_nothing_holds_nobody_up(capsys, identity, agent, monkeypatch):
    ended = asyncio.Event

    async def hang(request, emit):
        await ended().wait()

    monkeypatch.setattr(asking, "DOCTOR_S", 0.2)
    monkeypatch.setattr(asking.Questions.answers, "__defaults__", (0.3,))
    agent(handlers(doctor_network=hang))
    began_s = time.monotonic()
    code, lines = ask(capsys, "doctor", "--server", "")
    assert time.monotonic() - began_s < 5
    assert code == 1
    assert "no answer within" in by_link(lines)["network"]["text"]


def test_an_agent_that_is_there_and_stuck_is_a_broken_link(capsys, identity, monkeypatch, served):  # noqa: F811
    monkeypatch.setattr(agents_module, "AGENT_PING_S", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(identity / "agent.sock"))
        silent.listen()
        code, lines = ask(capsys, "doctor", "--server", served)
    told = by_link(lines)
    assert code == told["agent"]["code"] == 1
    assert told["agent"]["state"] == "broken"
    assert told["agent"]["fix"]
    assert told["server"]["state"] == "ok"


def test_an_error_of_the_agent_is_a_finding_and_the_rest_is_told(capsys, identity, agent):
    agent(handlers(snapshots=given(LocalError("the index can't be read", hint="mend it"))))
    code, lines = ask(capsys, "doctor", "--server", "")
    told = by_link(lines)
    assert code == 1
    assert (told["backups"]["text"], told["backups"]["fix"]) == ("the index can't be read", "mend it")
    assert told["peer"]["state"] == "ok"


def test_a_look_that_breaks_off_is_never_well():
    def broken(tell):
        tell(1.0)
        raise ZeroDivisionError

    questions = asking.Questions()
    questions._open["peer"] = 1
    with pytest.raises(ZeroDivisionError):
        questions._run("peer", broken)
    skew, told = questions.answers()
    assert (skew, told.link, told.state, told.code) == (1.0, "peer", "broken", 1)


def test_a_report_is_written_for_this_user_alone_and_replaces_nothing(capsys, identity, agent, tmp_path):
    agent(handlers())
    target = tmp_path / "report.json"
    code, _, err = run(capsys, "doctor", "--server", "", "--bundle", str(target))
    assert code == 3  # no other clock was seen
    assert "look at it before you send it" in err
    assert target.stat().st_mode & 0o777 == 0o600
    told = json.loads(target.read_text())
    assert {"findings", "sessions", "log", "program"} <= set(told)
    text = target.read_text()
    assert [secret for secret in (str(identity), PEER, "old alice", (b"m" * 32).hex()) if secret in text] == []
    assert run(capsys, "doctor", "--bundle", str(target))[0] == 2


def test_a_report_has_no_names_of_sets(capsys, identity, agent, tmp_path):
    (identity / "config.toml").write_text('[sets.tax-evasion]\npaths = ["/a"]\n[sets.diary]\npaths = 3\n')
    agent(handlers(snapshots=given([snapshot(of="tax-evasion")])))
    target = tmp_path / "report.json"
    run(capsys, "doctor", "--server", "", "--bundle", str(target))
    assert [name for name in ("tax", "diary") if name in target.read_text()] == []
    assert "sets.set 2.paths" in target.read_text()


def test_a_report_is_written_though_the_agent_falls_silent_after_all_was_looked_at(
    capsys, identity, agent, tmp_path, monkeypatch
):
    ended = asyncio.Event

    async def hang(request, emit):
        await ended().wait()

    gone = msgspec.structs.replace(HOST, reached=False, error="old alice is away", code=11)
    rows = event("rows", {"rows": msgspec.to_builtins([gone])})
    status = msgspec.structs.replace(STATUS, notes=["ALARM: uncle bob deletes all"])
    monkeypatch.setattr(doctor, "DOCTOR_S", 0.2)
    agent(handlers(peers=hang, status=given(status), doctor_peers=telling([rows], PeersChecked(peers=1))))
    (identity / "logs").mkdir(exist_ok=True)
    (identity / "logs/agent.log").write_text(json.dumps({"event": "session ended", "reason": "uncle bob"}) + "\n")
    target = tmp_path / "report.json"
    code, out, err = run(capsys, "doctor", "--server", "", "--bundle", str(target))
    assert code == 15
    assert "uncle bob deletes all" in out
    assert "the agent does not answer any more" in " ".join(err.split())
    text = target.read_text()
    assert [name for name in ("bob", "alice", PEER[:13]) if name in text] == []
    told = {each["link"]: each for each in json.loads(text)["findings"]}
    assert (told["peer"]["text"][:14], told["peer"]["state"]) == ("peer 1 is away", "broken")
    assert (told["alarms"]["state"], told["alarms"]["code"]) == ("broken", "15")


def test_a_backup_ten_years_old_is_told_before_all_is_well(capsys, identity, agent):
    agent(handlers(snapshots=given([snapshot(of="", time="2016-01-01T00:00:00Z")])))
    _, out, _ = run(capsys, "doctor", "--server", "")
    assert "! backups   paths in no set: newest 2016-01-01" in out
    assert "all is well" not in out


@pytest.mark.parametrize("words", [("--addresses",), ("--bundle", "/none/such/report.json")])
def test_a_report_that_can_not_be_is_refused_before_anything_is_looked_at(capsys, identity, words):
    code, out, err = run(capsys, "doctor", *words)
    assert (code, out) == (2, "")
    assert "hint: " in err
