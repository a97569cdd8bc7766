import os

import msgspec
import pytest

from backuppeer.cli import excluding
from backuppeer.control import events
from backuppeer.control.events import ErrorFile
from backuppeer.control.restoring import Conflict, RestorePlan
from backuppeer.control.saving import LeaveOut, LeftOut
from backuppeer.errors import IntegrityFault, NotFoundError, PeerUnreachable, RefusedError
from backuppeer.signaling.servers import DEFAULT_SERVER
from cli.rows import BACKED_UP, ERROR_FILE, PROGRESS, RESTORED, ask, event, run
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


def test_backup_sends_priorities_in_their_order(capsys, agent, tmp_path):
    dummy = agent({"backup": telling([], BACKED_UP)})
    assert run(capsys, "backup", str(tmp_path), "--priority", "*.kdbx", "--priority", "/home/me/work/")[0] == 0
    assert dummy.requests[0][1].priority == ("*.kdbx", "/home/me/work/")


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


CAUGHT = event("fault", events.Fault(peer_id=PEER, name="al\x1bice", message="it shows head 1", hint="ask its human"))


@pytest.mark.parametrize("errors", [0, 1])
def test_a_host_that_is_caught_ends_whatever_was_done_with_15_and_is_named(capsys, agent, tmp_path, *, errors):
    agent({"backup": telling([CAUGHT], msgspec.structs.replace(BACKED_UP, errors=errors))})
    code, out, err = run(capsys, "backup", str(tmp_path))
    assert (code, "snapshot" in out) == (15, True)
    assert "alarm: al\\u001bice: it shows head 1\nhint: ask its human\n" in err
    code, lines = ask(capsys, "backup", str(tmp_path))
    assert (code, [line["event"] for line in lines][:2]) == (15, ["fault", "done"])


def test_an_error_of_its_own_keeps_its_code_beside_a_host_that_is_caught(capsys, agent, tmp_path):
    agent({"backup": telling([CAUGHT], RefusedError("the agreement is full"))})
    assert run(capsys, "backup", str(tmp_path))[0] == 13


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
    dummy = agent({"backup": telling([], msgspec.structs.replace(BACKED_UP, left_out=left, copies=2))})
    code, lines = ask(capsys, "backup", str(tmp_path), "--copies", "2")
    assert dummy.requests[0][1].copies == 2
    assert (code, [line["event"] for line in lines]) == (3, ["done", "error"])
    assert (lines[0]["snapshot"], lines[0]["peers"]) == (BACKED_UP.snapshot, [PEER])
    assert lines[1]["message"] == "snapshot 3fa9c1d2 has 1 of 2 copies (bob: no answer; carol: full)"
    assert lines[1]["hint"] == "run it again"
    code, out, err = run(capsys, "backup", str(tmp_path))
    assert code == 3
    assert out.startswith("! snapshot 3fa9c1d2: 2 files")
    assert err.startswith("error: snapshot 3fa9c1d2")


def test_a_backup_with_as_many_copies_as_wanted_is_done_and_names_who_has_none(capsys, agent, tmp_path):
    left = [LeftOut(peer_id=PEER, name="bob", reason="no answer", hint="run it again")]
    agent({"backup": telling([], msgspec.structs.replace(BACKED_UP, left_out=left))})
    code, out, err = run(capsys, "backup", str(tmp_path))
    assert code == 0
    assert out.startswith("! snapshot")
    assert "note: bob has not got it: no answer; run it again" in err


def test_too_few_copies_because_the_set_names_too_few_hosts_is_told_as_that(capsys, agent, tmp_path):
    agent({"backup": telling([], msgspec.structs.replace(BACKED_UP, copies=2, set="default", to=["alice", "carol"]))})
    code, _, err = run(capsys, "backup", str(tmp_path))
    said = " ".join(err.split())
    assert code == 3
    assert "has 1 of 2 copies (set default names only: alice, carol)" in said
    assert "browse" not in said
    agent({"backup": telling([], msgspec.structs.replace(BACKED_UP, copies=2, to=["carol"]))})
    said = " ".join(run(capsys, "backup", str(tmp_path))[2].split())
    assert "(--to names only: carol)" in said
    assert "name more hosts with --to" in said


def test_more_copies_than_hosts_is_told_with_a_way_out(capsys, agent, tmp_path):
    agent({"backup": telling([], msgspec.structs.replace(BACKED_UP, copies=2))})
    code, _, err = run(capsys, "backup", str(tmp_path))
    assert code == 3
    assert "has 1 of 2 copies (no more hosts have agreed)" in err
    assert "backup-peer browse" in err


def test_a_hook_that_failed_after_the_backup_is_told_and_is_exit_3(capsys, agent, tmp_path):
    problem = "the hook `after` of set default failed (exit code 7)"
    agent({"backup": telling([], msgspec.structs.replace(BACKED_UP, hook_problem=problem))})
    code, _, err = run(capsys, "backup", str(tmp_path))
    assert (code, f"error: snapshot 3fa9c1d2 stands, but {problem}" in err) == (3, True)


def test_restore_sends_snapshot_path_and_absolute_target(capsys, agent, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dummy = agent({"restore": telling([PROGRESS], RESTORED)})
    code, lines = ask(capsys, "restore", "latest:/a b", "--target", "out/../new")
    assert code == 0
    assert lines[-1] == {"event": "done", **msgspec.to_builtins(RESTORED)}
    request = dummy.requests[0][1]
    assert (request.snapshot, request.path, request.target) == ("latest", "/a b", str(tmp_path / "new"))
    assert request.overwrite == "refuse"


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
    assert dummy.requests[0][1].overwrite == ("if-changed" if words else "refuse")


def test_the_question_lists_what_a_yes_replaces_and_is_about_the_snapshot_that_was_shown(capsys, agent, full, terminal):
    dummy = agent({"restore": telling([], RESTORED), "restore/plan": telling([], PLAN)})
    shown = terminal("y\n")
    assert run(capsys, "restore", "latest", "--target", full)[0] == 0
    said = shown.getvalue()
    assert "  link /t/a -> /b\\u001b\n  folder /t/f (stays as it is)\n  … and 1,232 more\n" in said
    assert f"replace 1,234 entries that differ in {full} by what snapshot 3fa9c1d2 has? [y/N]" in " ".join(said.split())
    request = dummy.requests[1][1]
    assert (request.snapshot, request.overwrite) == (PLAN.snapshot, "if-changed")


def test_restore_beside_what_is_there_asks_nothing_and_looks_for_the_snapshot_first(capsys, agent, full):
    free = msgspec.structs.replace(PLAN, conflicts=[], conflicts_total=0)
    dummy = agent({"restore": telling([], RESTORED), "restore/plan": telling([], free)})
    assert run(capsys, "restore", "latest", "--target", full)[0] == 0
    assert [request.overwrite for _, request in dummy.requests] == ["refuse", "refuse"]


def test_restore_with_a_mode_asks_nothing_and_sends_what_is_chosen(capsys, agent, full):
    dummy = agent({"restore": telling([], msgspec.structs.replace(RESTORED, kept=7))})
    words = ("--overwrite", "if-newer", "-i", "*.txt", "-i", "docs/", "-e", "*.o")
    code, out, _ = run(capsys, "restore", "latest", "--target", full, *words)
    assert code == 0
    assert "7 files there already" in out
    request = dummy.requests[0][1]
    assert (request.overwrite, request.include, request.exclude) == ("if-newer", ("*.txt", "docs/"), ("*.o",))


def test_a_dry_run_of_a_restore_shows_the_plan_and_restores_nothing(capsys, agent, full):
    plan = msgspec.structs.replace(PLAN, files=3, bytes=10, kept=1)
    dummy = agent({"restore/plan": telling([], plan)})
    code, out, _ = run(capsys, "restore", "latest", "--target", full, "--dry-run", "--overwrite", "always")
    assert code == 0
    assert "would restore 3 files, 10 B; 1 file there already\nwould replace 1,234 entries:\n  link" in out
    assert [route for route, _ in dummy.requests] == ["restore/plan"]


def test_what_differs_and_is_left_alone_is_not_said_to_be_there_already(capsys, agent, full):
    left = {"files": 0, "kept": 350, "differing": 12, "differing_first": ["/t/new.txt", "/t/b\x1b"]}
    agent({"restore": telling([], msgspec.structs.replace(RESTORED, **left))})
    _, out, _ = run(capsys, "restore", "latest", "--target", full, "--overwrite", "never")
    assert "; 338 files there already; 12 entries that differ left alone\n" in out
    assert "  left alone, though it differs: /t/new.txt\n" in out
    assert "/t/b\\u001b\n  … and 10 more\n" in out


@pytest.mark.parametrize(("errors", "said"), [(0, "all are the same"), (1, "those named above differ")])
def test_a_restore_that_verified_says_so(capsys, agent, tmp_path, errors, said):
    agent({"restore": telling([], msgspec.structs.replace(RESTORED, verified=2, errors=errors))})
    _, out, _ = run(capsys, "restore", "latest", "--target", str(tmp_path / "x"), "--verify")
    assert f"verified: 2 files read again and compared with the snapshot, {said}" in out


def test_a_dry_run_names_the_first_files_that_it_would_write_and_what_it_would_leave(capsys, agent, full):
    plan = msgspec.structs.replace(
        PLAN, conflicts=[], conflicts_total=0, files=3, first=["/t/a", "/t/b"], kept=1, differing=1
    )
    plan.differing_first = ["/t/newer"]
    agent({"restore/plan": telling([], plan)})
    _, out, _ = run(capsys, "restore", "latest", "--target", full, "--dry-run", "--overwrite", "if-newer")
    assert "1 entry that differs left alone\n  /t/a\n  /t/b\n  … and 1 more\n" in out
    assert "  left alone, though it differs: /t/newer\n" in out


def test_files_of_a_host_that_is_away_are_named_a_few_times_then_counted(capsys, agent, tmp_path):
    away = [event("error-file", ErrorFile(path=f"/f{n}", message="alice is not on offer", away=True)) for n in range(9)]
    wrong = event("error-file", ErrorFile(path="/wrong", message="it came back wrong"))
    agent({"restore": telling([*away, wrong], PeerUnreachable("with hosts that can't be reached now: 9 files"))})
    _, _, err = run(capsys, "restore", "latest", "--target", str(tmp_path / "x"))
    assert [n for n in range(9) if f"/f{n}: " in err] == [0, 1, 2, 3, 4]
    assert "/wrong: it came back wrong" in err
    assert "… and 4 more whose hosts can't be reached (--json names all)\nerror: " in err
    _, out, _ = run(capsys, "restore", "latest", "--target", str(tmp_path / "y"), "--json")
    assert out.count("not on offer") == 9


@pytest.mark.parametrize("mode", ["sometimes", "refuse"])
def test_a_mode_that_is_none_is_refused_and_only_those_of_the_help_are_named(capsys, agent, full, mode):
    agent({})
    code, _, err = run(capsys, "restore", "latest", "--target", full, "--overwrite", mode)
    assert code == 2
    assert "none of if-changed, if-newer, never, always" in err
    assert "refuse," not in err


def test_restore_of_an_unknown_snapshot_ends_before_any_question(capsys, agent, full, terminal):
    agent({"restore/plan": telling([], NotFoundError("there is no snapshot zzzz"))})
    shown = terminal("y\n")
    assert run(capsys, "restore", "zzzz", "--target", full)[0] == 10
    assert "replace" not in shown.getvalue()


def test_restore_into_a_file_exits_2(capsys, agent, tmp_path):
    (tmp_path / "t").touch()
    agent({})
    assert run(capsys, "restore", "latest", "--target", str(tmp_path / "t"))[0] == 2


# --- what is left out of a backup
def test_backup_sends_what_is_left_out_and_the_paths_of_lists(capsys, agent, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "c"):
        (tmp_path / name).touch()
    (tmp_path / "patterns").write_text("*.o\n!keep.o\n")
    (tmp_path / "list").write_text("b\n\nc\n")
    dummy = agent({"backup": telling([], BACKED_UP)})
    words = [
        "--exclude-file",
        "patterns",
        "-e",
        "*.tmp",
        "--iexclude",
        "*.JPG",
        "--include",
        "x.tmp",
        "--exclude-caches",
    ]
    words += ["--exclude-if-present", ".nobackup", "--exclude-larger-than", "1MB", "-x", "--files-from", "list"]
    assert run(capsys, "backup", "a", *words)[0] == 0
    request = dummy.requests[0][1]
    assert request.leave_out == LeaveOut(
        exclude=("*.o", "!keep.o", "*.tmp"),
        iexclude=("*.JPG",),
        include=("x.tmp",),
        caches=True,
        if_present=(".nobackup",),
        larger_than=1_000_000,
    )
    assert request.paths == [str(tmp_path / name) for name in ("a", "b", "c")]
    assert request.one_file_system


def test_a_list_may_end_its_paths_with_zero_bytes(capsys, agent, tmp_path):
    (tmp_path / "new\nline").touch()
    (tmp_path / "list").write_bytes(bytes(tmp_path / "new\nline") + b"\0")
    dummy = agent({"backup": telling([], BACKED_UP)})
    assert run(capsys, "backup", "-0", "--files-from", str(tmp_path / "list"))[0] == 0
    assert dummy.requests[0][1].paths == [str(tmp_path / "new\nline")]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 2),
        (["--files-from", "/nowhere/list"], 10),
        (["/", "--exclude-file", "/nowhere"], 10),
        (["/", "--exclude-larger-than", "big"], 2),
    ],
)
def test_a_backup_of_nothing_or_by_lists_that_are_not_there_is_refused(capsys, agent, words, code):
    agent({})
    assert run(capsys, "backup", *words)[0] == code


def test_files_that_are_too_long_to_be_lists_are_refused(capsys, agent, tmp_path, monkeypatch):
    monkeypatch.setattr(excluding, "PATH_LIST_BYTES", 10)
    (tmp_path / "list").write_bytes(bytes(11))
    agent({})
    assert run(capsys, "backup", "--files-from", str(tmp_path / "list"))[0] == 2


# --- config
def test_config_is_set_read_and_listed(capsys, home):
    code, lines = ask(capsys, "config set", "servers", "wss://one.example, wss://two.example")
    assert (code, lines[-1]["value"]) == (0, ["wss://one.example", "wss://two.example"])
    assert ask(capsys, "config get", "servers")[1] == [{"key": "servers", "value": lines[-1]["value"]}]
    assert ask(capsys, "config list")[1][0]["servers"] == lines[-1]["value"]
    assert run(capsys, "config", "get", "servers")[1] == "wss://one.example,wss://two.example\n"


def test_of_what_is_not_set_it_is_said_what_holds(capsys, home, monkeypatch):
    monkeypatch.delenv("BACKUPPEER_SERVERS", raising=False)
    for key, value in (
        ("network.lan", "no"),
        ("trust.share_receipts", "yes"),
        ("audits", "on"),
        ("region", "none"),
        ("servers", DEFAULT_SERVER),
    ):
        code, out, err = run(capsys, "config", "get", key)
        assert (code, out, err) == (0, "", f"{key} is not set: {value}\n"), "scripts read nothing, as before"
        assert f"{key} is not set: {value}\n" in run(capsys, "config", "list")[1]
    monkeypatch.setenv("BACKUPPEER_PROXY", "socks5://me:secret@127.0.0.1:9050")
    assert "proxy is not set: as BACKUPPEER_PROXY says\n" in run(capsys, "config", "list")[1]
    monkeypatch.setenv("BACKUPPEER_SERVERS", "")
    assert "servers is not set: none\n" in run(capsys, "config", "list")[1]


def test_a_wrong_setting_changes_nothing(capsys, home):
    assert run(capsys, "config", "set", "servers", "wss://one.example")[0] == 0
    assert run(capsys, "config", "set", "servers", "http://two.example")[0] == 2
    assert run(capsys, "config", "get", "servers")[1] == "wss://one.example\n"
