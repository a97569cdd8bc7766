"""`backup` with and without sets: the offer, what stands in the settings, what is sent to the agent."""

import tomllib

import msgspec
import pytest

from backuppeer.cli.screen import Screen
from backuppeer.control.api import StatusResult
from backuppeer.control.saving import LeaveOut
from cli.rows import BACKED_UP, ask, make_peer, run
from cli.terminal import check_output
from control.dummy import PEER, given, telling

STATUS = StatusResult(peer_id=PEER, agent="running", servers=[], sessions=0, hosting={}, snapshots=0)


@pytest.fixture(autouse=True)
def docs(tmp_path, monkeypatch):
    for name in ("docs", "photos"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    return str(tmp_path / "docs")


def settings(home):
    file = home / "config.toml"
    return tomllib.loads(file.read_text()).get("sets", {}) if file.exists() else {}


def script(agent, role="host", **changes):
    status = msgspec.structs.replace(STATUS, **changes)
    return agent({"backup": telling([], BACKED_UP), "status": given(status), "peers": given([make_peer(role=role)])})


def test_nothing_is_asked_while_there_is_nobody_to_back_up_to(capsys, agent, home, terminal):
    script(agent, role="owner")
    shown = terminal("y\n")
    run(capsys, "backup", "docs")
    assert "keep" not in shown.getvalue()
    assert settings(home) == {}


def test_what_is_sent_first_is_kept_with_a_first_backup(capsys, agent, home, docs, terminal):
    script(agent)
    terminal("y\n")
    run(capsys, "backup", "docs", "--priority", "*.kdbx")
    assert settings(home) == {"default": {"paths": [docs], "priorities": ["*.kdbx"]}}
    assert "sends first: *.kdbx" in run(capsys, "backup", "sets")[1]


def test_the_command_of_a_set_names_the_home(capsys, home, docs):
    run(capsys, "backup", "add", docs)
    assert f"run it: `backup-peer backup --home {home}`" in run(capsys, "backup", "sets", "--home", str(home))[1]


def backup_of(dummy):
    return next(request for route, request in dummy.requests if route == "backup")


def test_the_first_backup_on_a_terminal_offers_to_be_kept_and_then_runs_as_the_set(capsys, agent, home, docs, terminal):
    dummy, shown = script(agent), terminal("y\n")
    assert run(capsys, "backup", "docs", "--exclude", "*.tmp", "--copies", "2")[0] == 0
    assert settings(home) == {"default": {"paths": [docs], "excludes": ["*.tmp"], "copies": 2}}
    request = backup_of(dummy)
    assert (request.set, request.paths, request.leave_out) == ("default", [], LeaveOut())
    assert "Your first backup." in shown.getvalue()
    assert "keep this as set `default`? [y/N]" in shown.getvalue()


def test_what_another_command_sets_while_the_question_stands_is_kept(  # noqa: PLR0917 - fixtures
    capsys, agent, home, docs, terminal, monkeypatch
):
    dummy = script(agent)
    terminal("y\n")
    answer = Screen.confirm

    def confirm(screen, question, **how):
        (home / "config.toml").write_text('[bandwidth]\nup = "1MB/s"\n\n[sets.default]\npaths = ["/else"]\n')
        return answer(screen, question, **how)

    monkeypatch.setattr(Screen, "confirm", confirm)
    assert run(capsys, "backup", "docs")[0] == 0
    assert tomllib.loads((home / "config.toml").read_text())["bandwidth"] == {"up": "1MB/s"}
    assert settings(home) == {"default": {"paths": ["/else"]}}
    assert backup_of(dummy).paths == [docs], "not the other's set"


def test_a_no_runs_the_backup_as_it_was_asked_for(capsys, agent, home, docs, terminal):
    dummy = script(agent)
    terminal("n\n")
    assert run(capsys, "backup", "docs")[0] == 0
    assert settings(home) == {}
    assert (backup_of(dummy).set, backup_of(dummy).paths) == ("", [docs])


@pytest.mark.parametrize(
    ("changes", "words"), [({"read_only": True}, []), ({"snapshots": 1}, ["--yes"]), ({"snapshots": 1}, ["--json"])]
)
def test_nothing_is_offered_where_nothing_can_be_kept_or_was_wished(  # noqa: PLR0917 - fixtures and cases
    capsys, agent, home, terminal, changes, words
):
    script(agent, **changes)
    shown = terminal("y\n")
    run(capsys, "backup", "docs", *words)
    assert "keep" not in shown.getvalue()
    assert settings(home) == {}


def test_the_offer_comes_after_a_script_made_the_first_backup_and_until_it_is_answered(
    capsys, agent, home, docs, terminal
):
    script(agent, snapshots=3)
    shown = terminal("")
    run(capsys, "backup", "docs")
    assert "You have no backup set yet." in shown.getvalue()
    shown = terminal("n\n")
    run(capsys, "backup", "docs")
    assert "keep this as set" in shown.getvalue(), "the end of the input was no answer"
    assert "not asked again" in shown.getvalue()
    shown = terminal("y\n")
    run(capsys, "backup", "docs")
    assert "keep" not in shown.getvalue(), "a no is an answer"
    run(capsys, "backup", "add", docs)
    assert settings(home) == {"default": {"paths": [docs]}}


@pytest.mark.parametrize("words", [["--json"], ["--dry-run"], []])
def test_nothing_is_offered_to_programs_and_without_a_terminal(capsys, agent, home, terminal, words):
    dummy = script(agent)
    if words:
        terminal("y\n")
    run(capsys, "backup", "docs", *words)
    assert settings(home) == {}
    assert [route for route, _ in dummy.requests] == ["backup"]


def test_a_path_whose_name_is_not_utf8_is_backed_up_without_an_offer(capsys, agent, home, tmp_path, terminal):
    (tmp_path / "na\udcffme").mkdir()
    dummy = script(agent)
    terminal("y\n")
    assert run(capsys, "backup", str(tmp_path / "na\udcffme"))[0] == 0
    assert [route for route, _ in dummy.requests] == ["backup"]


def test_without_a_terminal_yes_keeps_no_set_and_the_help_says_so(capsys, agent, docs):
    script(agent)
    assert run(capsys, "backup", str(docs), "--yes")[0] == 0
    assert "no sets yet" in run(capsys, "backup", "sets")[1]
    assert "Without a terminal `backup PATH` keeps no set, even with --yes." in " ".join(
        run(capsys, "backup", "--help")[1].split()
    )


def test_without_a_path_and_without_sets_a_person_is_told_what_to_do(capsys, agent):
    dummy = agent({})
    code, _, err = run(capsys, "backup")
    assert code == 2
    assert "nothing to back up yet" in err
    assert "`backup-peer backup ~/documents" in err
    assert dummy.requests == []


def test_backup_alone_runs_the_set_default_and_set_names_another(capsys, agent, docs):
    dummy = script(agent)
    for name in ("default", "photos"):
        assert run(capsys, "backup", "add", "docs", "--set", name)[0] == 0
    assert run(capsys, "backup")[0] == 0
    assert run(capsys, "backup", "--set", "photos", "--to", "bob")[0] == 0
    sent = [(request.set, request.paths, request.to) for _, request in dummy.requests]
    assert sent == [("default", [], []), ("photos", [], ["bob"])]


def test_a_set_that_is_not_there_is_exit_10_and_a_path_beside_a_set_2(capsys, agent, docs):
    dummy = agent({})
    run(capsys, "backup", "add", "docs", "--set", "photos")
    code, _, err = run(capsys, "backup")
    assert (code, "there is no set 'default': there is photos" in err) == (10, True)
    code, _, err = run(capsys, "backup", "docs", "--set", "photos")
    assert (code, "backup-peer backup add PATH" in err) == (2, True)
    assert dummy.requests == []


def test_paths_are_added_and_removed_and_shown(capsys, home, docs):
    code, lines = ask(capsys, "backup add", "docs")
    assert (code, lines[-1]["set"], lines[-1]["paths"]) == (0, "default", [docs])
    _, out, _ = run(capsys, "backup", "add", "photos/", "--exclude-caches", "--to", "alice")
    assert out.startswith("set default: ")
    code, out, _ = run(capsys, "backup", "sets", "--json")
    (row,) = check_output("backup sets", out)[0]
    assert (row["peers"], row["exclude_caches"], row["copies"]) == (["alice"], True, 1)
    _, out, _ = run(capsys, "backup", "sets")
    assert f"  {docs}\n" in out
    assert "leaves out: caches" in out
    assert "to: alice" in out
    code, out, _ = run(capsys, "backup", "remove", "docs", "--json")
    assert (code, check_output("backup remove", out)[-1]["paths"]) == (0, [docs.replace("docs", "photos")])
    assert run(capsys, "backup", "remove", "photos")[0] == 2, "the last one"
    assert run(capsys, "backup", "remove")[0] == 2
    assert run(capsys, "backup", "remove", "--set", "default")[0] == 0
    assert settings(home) == {}


def test_adding_what_is_not_there_changes_nothing(capsys, home):
    assert run(capsys, "backup", "add", "/no/such")[0] == 10
    assert run(capsys, "backup", "add", "/", "--set", "a b")[0] == 2
    assert settings(home) == {}


def test_a_schedule_is_shown_with_the_truth_about_it(capsys, home):
    (home / "config.toml").write_text(
        '[sets.default]\npaths = ["/a"]\nschedule = "daily 03:00"\n[sets.default.retention]\ndaily = 7\nyearly = -1\n'
        '[sets.default.hooks]\nbefore = "true"\n'
    )
    _, out, _ = run(capsys, "backup", "sets")
    assert "schedule: daily 03:00; forgets by itself (by the agent, as long as it runs" in out
    assert "`forget` keeps: 7 daily, all yearly" in out
    assert "hooks: before" in out


def test_a_folder_called_as_a_verb_is_named_by_a_path(capsys, agent, tmp_path, monkeypatch):
    (tmp_path / "sets").mkdir()
    monkeypatch.chdir(tmp_path)
    dummy = script(agent)
    assert run(capsys, "backup", "./sets")[0] == 0
    assert backup_of(dummy).paths == [str(tmp_path / "sets")]
