import os

import msgspec
import pytest

from backuppeer.control.api import Conflict, LeftOut, RestorePlan
from backuppeer.errors import IntegrityFault, NotFoundError
from cli.rows import BACKED_UP, ERROR_FILE, PROGRESS, RESTORED, ask, run
from cli.terminal import check_output
from control.dummy import PEER, telling


# --- backup, restore
def test_backup_sends_absolute_paths_and_keeps_links(capsys, agent, tmp_path, monkeypatch):
    name = os.fsdecode(b"na\xffme")
    (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(name)
    monkeypatch.chdir(tmp_path)
    dummy = agent({"backup": telling([PROGRESS], BACKED_UP)})
    code, lines = ask(capsys, "backup", name, "link", "--to", "alice", "--tag", "t", "--dry-run", "--level", "7")
    assert code == 0
    assert lines[-1] == {"event": "done", **msgspec.to_builtins(BACKED_UP)}
    request = dummy.requests[0][1]
    assert request.paths == [str(tmp_path / name), str(tmp_path / "link")]
    assert (request.to, request.tags, request.dry_run, request.level) == (["alice"], ["t"], True, 7)


def test_backup_of_what_is_not_there_is_exit_10_before_any_work(capsys, agent):
    dummy = agent({})
    assert run(capsys, "backup", "/no/such\x1b[2Jthing")[0] == 10
    assert dummy.requests == []


def test_backup_of_some_that_are_not_there_lets_the_agent_name_them(capsys, agent, tmp_path):
    dummy = agent({"backup": telling([], msgspec.structs.replace(BACKED_UP, errors=1))})
    assert run(capsys, "backup", str(tmp_path), str(tmp_path / "no"))[0] == 3
    assert dummy.requests[0][1].paths == [str(tmp_path), str(tmp_path / "no")]


def test_a_slash_behind_a_link_means_what_it_points_to(capsys, agent, tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    monkeypatch.chdir(tmp_path)
    dummy = agent({"backup": telling([], BACKED_UP)})
    assert run(capsys, "backup", "link/", "link", "link/.", "folder/")[0] == 0
    folder = str(tmp_path / "folder")
    assert dummy.requests[0][1].paths == [folder, str(tmp_path / "link"), folder, folder]


def test_a_backup_of_nothing_is_no_success_to_look_at(capsys, agent, tmp_path):
    agent({"backup": telling([], msgspec.structs.replace(BACKED_UP, files=0, bytes=0))})
    code, out, err = run(capsys, "backup", str(tmp_path))
    assert code == 0
    assert out.startswith("! snapshot")
    assert "no file was found to save" in err


def test_what_is_not_in_a_snapshot_need_not_be_unreadable(capsys, agent, tmp_path):
    agent({"backup": telling([ERROR_FILE], msgspec.structs.replace(BACKED_UP, errors=1))})
    _, _, err = run(capsys, "backup", str(tmp_path), "/not/there")
    assert "note: not in this snapshot: 1 entry, named above" in err
    assert "could not be read" not in err


def test_backup_with_unreadable_files_names_them_and_exits_3(capsys, agent, tmp_path):
    agent({"backup": telling([ERROR_FILE], msgspec.structs.replace(BACKED_UP, errors=1))})
    code, out, err = run(capsys, "backup", str(tmp_path))
    assert code == 3
    assert "2 files" in out
    assert r"/a\xff\u001b[2J: permission denied" in err
    code, lines = ask(capsys, "backup", str(tmp_path))
    assert (code, lines[0]["path"], lines[-1]["errors"]) == (3, "/a\udcff\x1b[2J", 1)


def test_a_backup_without_some_hosts_tells_what_is_done_and_then_who_is_missing(capsys, agent, tmp_path):
    left = [
        LeftOut(peer_id=PEER, name="bob", reason="no answer", hint="run it again"),
        LeftOut(peer_id=PEER, name="carol", reason="full", hint="run it again"),
    ]
    agent({"backup": telling([], msgspec.structs.replace(BACKED_UP, left_out=left))})
    code, lines = ask(capsys, "backup", str(tmp_path))
    assert (code, [line["event"] for line in lines]) == (3, ["done", "error"])
    assert (lines[0]["snapshot"], lines[0]["peers"]) == (BACKED_UP.snapshot, [PEER])
    assert lines[1]["message"] == "snapshot 3fa9c1d2 is safe with 1 of 3 hosts (bob: no answer; carol: full)"
    assert lines[1]["hint"] == "run it again"
    code, out, err = run(capsys, "backup", str(tmp_path))
    assert code == 3
    assert out.startswith("! snapshot 3fa9c1d2: 2 files")
    assert err.startswith("error: snapshot 3fa9c1d2")


def test_restore_sends_snapshot_path_and_absolute_target(capsys, agent, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dummy = agent({"restore": telling([PROGRESS], RESTORED)})
    code, lines = ask(capsys, "restore", "latest:/a b", "--target", "out/../new")
    assert code == 0
    assert lines[-1] == {"event": "done", **msgspec.to_builtins(RESTORED)}
    request = dummy.requests[0][1]
    assert (request.snapshot, request.path, request.target) == ("latest", "/a b", str(tmp_path / "new"))
    assert request.overwrite is False


def test_restore_says_which_snapshot_it_was_and_passes_on_how_latest_was_meant(capsys, agent, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dummy = agent({"restore": telling([], RESTORED)})
    words = ("restore", "latest", "--target", "new", "--path", "docs/", "--tag", "t")
    code, out, _ = run(capsys, *words)
    assert code == 0
    assert "  from snapshot 3fa9c1d2 of 2026-11-22 " in out
    assert out.endswith(": /a\n")
    request = dummy.requests[0][1]
    assert (request.backed_up, request.tag) == (str(tmp_path / "docs"), "t")


def test_restore_with_local_errors_exits_3_and_with_wrong_data_15(capsys, agent, tmp_path):
    agent({"restore": telling([ERROR_FILE], msgspec.structs.replace(RESTORED, errors=1))})
    assert run(capsys, "restore", "latest", "--target", str(tmp_path / "x"))[0] == 3


def test_restore_of_missing_data_exits_15(capsys, agent, tmp_path):
    agent({"restore": telling([ERROR_FILE], IntegrityFault("1 file is missing"))})
    code, out, _ = run(capsys, "restore", "latest", "--target", str(tmp_path / "x"), "--json")
    assert code == 15
    assert [line["event"] for line in check_output("restore", out)] == ["error-file", "error"]


@pytest.fixture
def full(tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "old").touch()
    return str(tmp_path / "t")


PLAN = RestorePlan(
    snapshot="3fa9c1d2" * 8,
    time="2026-11-22T21:30:00Z",
    paths=["/a"],
    conflicts=[Conflict(path="/t/a", kind="link", target="/b\x1b"), Conflict(path="/t/f", kind="folder")],
    conflicts_total=1234,
)


@pytest.mark.parametrize(("words", "code"), [([], 2), (["--yes"], 0)])
def test_restore_over_what_stands_in_the_way_needs_a_yes(capsys, agent, full, words, code):
    dummy = agent({"restore": telling([], RESTORED), "restore/plan": telling([], PLAN)})
    assert run(capsys, "restore", "latest", "--target", full, *words)[0] == code
    assert [route for route, _ in dummy.requests] == (["restore"] if words else ["restore/plan"])
    assert dummy.requests[0][1].overwrite is bool(words)


def test_the_question_lists_what_a_yes_replaces_and_is_about_the_snapshot_that_was_shown(capsys, agent, full, terminal):
    dummy = agent({"restore": telling([], RESTORED), "restore/plan": telling([], PLAN)})
    shown = terminal("y\n")
    assert run(capsys, "restore", "latest", "--target", full)[0] == 0
    said = shown.getvalue()
    assert "  link /t/a -> /b\\u001b\n  folder /t/f (stays as it is)\n  … and 1,232 more\n" in said
    assert f"replace 1,234 entries in {full} by what snapshot 3fa9c1d2 has? [y/N]" in " ".join(said.split())
    request = dummy.requests[1][1]
    assert (request.snapshot, request.overwrite) == (PLAN.snapshot, True)


def test_restore_beside_what_is_there_asks_nothing_and_looks_for_the_snapshot_first(capsys, agent, full):
    free = msgspec.structs.replace(PLAN, conflicts=[], conflicts_total=0)
    dummy = agent({"restore": telling([], RESTORED), "restore/plan": telling([], free)})
    assert run(capsys, "restore", "latest", "--target", full)[0] == 0
    assert [request.overwrite for _, request in dummy.requests] == [False, False]


def test_restore_of_an_unknown_snapshot_ends_before_any_question(capsys, agent, full, terminal):
    agent({"restore/plan": telling([], NotFoundError("there is no snapshot zzzz"))})
    shown = terminal("y\n")
    assert run(capsys, "restore", "zzzz", "--target", full)[0] == 10
    assert "replace" not in shown.getvalue()


def test_restore_into_a_file_exits_2(capsys, agent, tmp_path):
    (tmp_path / "t").touch()
    agent({})
    assert run(capsys, "restore", "latest", "--target", str(tmp_path / "t"))[0] == 2


# --- config
def test_config_is_set_read_and_listed(capsys, home):
    code, lines = ask(capsys, "config set", "servers", "wss://one.example, wss://two.example")
    assert (code, lines[-1]["value"]) == (0, ["wss://one.example", "wss://two.example"])
    assert ask(capsys, "config get", "servers")[1] == [{"key": "servers", "value": lines[-1]["value"]}]
    assert ask(capsys, "config list")[1][0]["servers"] == lines[-1]["value"]
    assert run(capsys, "config", "get", "servers")[1] == "wss://one.example,wss://two.example\n"


def test_a_wrong_setting_changes_nothing(capsys, home):
    assert run(capsys, "config", "set", "servers", "wss://one.example")[0] == 0
    assert run(capsys, "config", "set", "servers", "http://two.example")[0] == 2
    assert run(capsys, "config", "get", "servers")[1] == "wss://one.example\n"
