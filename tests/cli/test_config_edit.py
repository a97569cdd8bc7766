"""Settings in an editor: whole and valid, or as they were."""

import errno
import os
import signal
import stat
import sys

import pytest

from backuppeer.agent.home.home import Home, sweep_edits
from backuppeer.cli.config_edit import _copied, _find_editor
from backuppeer.limits import EDIT_KEPT_S
from cli.rows import ask, run

BEFORE = '# servers of my club\nservers = ["wss://one.example"]\n'


@pytest.fixture
def editor(tmp_path, monkeypatch):
    """Have the editor do what Python lines say to `text`, one after the other at each opening."""

    def make(*lines: str, code: int = 0):
        script = tmp_path / "editor.py"
        opened = tmp_path / "opened"
        body = [
            "import pathlib, sys",
            f"opened = pathlib.Path({str(opened)!r})",
            "number = len(opened.read_text()) if opened.exists() else 0",
            "opened.write_text('x' * (number + 1))",
            "path = pathlib.Path(sys.argv[1])",
            "text = path.read_text()",
            f"exec({list(lines)!r}[number])",
            "path.write_text(text)",
            f"sys.exit({code})",
        ]
        script.write_text("\n".join(body))
        monkeypatch.setenv("VISUAL", f"{sys.executable} {script}")
        return opened

    return make


@pytest.fixture
def config(home):
    (home / "config.toml").write_text(BEFORE)
    return home / "config.toml"


def left_in(home):
    return sorted(path.name for path in home.iterdir() if path.name != "settings.lock")


def test_what_is_valid_is_taken_over_word_for_word(capsys, config, editor):
    editor("text += 'audits = \"off\"  # too loud\\n'")
    code, lines = ask(capsys, "config edit")
    assert (code, lines[-1]["changed"]) == (0, True)
    assert config.read_text() == BEFORE + 'audits = "off"  # too loud\n'
    assert (stat.S_IMODE(config.stat().st_mode), left_in(config.parent)) == (0o600, ["config.toml"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("text += 'audits = 7\\n'", "line 3: audits: "),
        ("text += '[network]\\nlam = \"yes\"\\n'", "line 4: unknown key lam in network"),
        ("text = text.replace('wss', 'http')", "line 2: servers: not a signaling server address"),
        ("text += 'passphrase_command = \"say it\\'s\"\\n'", "line 3: passphrase_command: "),
        ("text += 'proxy\\n'", "line 3"),
    ],
)
def test_what_is_not_names_key_and_line_and_changes_nothing(capsys, config, editor, change, said):
    editor(change)
    code, _, err = run(capsys, "config", "edit")
    assert (code, said in err, "nothing was changed" in err) == (2, True, True), err
    assert (config.read_text(), left_in(config.parent)) == (BEFORE, ["config.toml"])


def test_at_a_terminal_one_goes_on_editing_what_one_wrote(capsys, config, editor, terminal):
    opened = editor("text += 'audits = 7\\n'", "text = text.replace('7', '\"off\"')")
    shown = terminal("\n")
    assert run(capsys, "config", "edit")[0] == 0
    assert config.read_text() == BEFORE + 'audits = "off"\n'
    assert ("line 3: audits" in shown.getvalue(), len(opened.read_text())) == (True, 2)


def test_who_does_not_go_on_has_changed_nothing(capsys, config, editor, terminal):
    editor("text += 'audits = 7\\n'")
    terminal("n\n")
    assert run(capsys, "config", "edit")[0] == 2
    (kept,) = config.parent.glob("config.mine-*.toml")
    assert kept.read_text() == BEFORE + "audits = 7\n", "what a person wrote is not thrown away"
    assert config.read_text() == BEFORE
    editor("", "text += 'audits = 7\\n'")
    terminal("")
    assert run(capsys, "config", "edit")[0] == 2, "the end of the input is no yes"


def test_an_editor_that_changes_nothing_fails_or_is_not_there_changes_nothing(capsys, config, editor, monkeypatch):
    editor("")
    assert "nothing was changed" in run(capsys, "config", "edit")[1]
    editor("text = 'audits = \"off\"'", "text = 'audits = \"off\"'", code=3)
    assert run(capsys, "config", "edit")[0] == 2
    monkeypatch.setenv("VISUAL", "/no/such/editor")
    assert run(capsys, "config", "edit")[0] == 2
    assert (config.read_text(), left_in(config.parent)) == (BEFORE, ["config.toml"])


def test_what_another_command_changed_meanwhile_is_not_overwritten(capsys, config, editor):
    editor(f"text += 'audits = \"off\"\\n'; open({str(config)!r}, 'a').write('region = \"EU\"\\n')")
    code, _, err = run(capsys, "config", "edit")
    assert (code, "yours are kept in" in err) == (1, True)
    assert config.read_text() == BEFORE + 'region = "EU"\n'
    (kept,) = config.parent.glob("config.mine-*.toml")
    assert kept.read_text() == BEFORE + 'audits = "off"\n'


def test_ctrl_c_is_the_editors_own_while_it_is_open(capsys, config, editor):
    interrupt = (
        "import os, signal; signal.signal(2, lambda *_: None); os.kill(os.getppid(), 2); os.kill(os.getpid(), 2)"
    )
    editor(f"{interrupt}; text += 'audits = \"off\"\\n'")
    assert run(capsys, "config", "edit")[0] == 0
    assert config.read_text() == BEFORE + 'audits = "off"\n'


def test_an_editor_can_be_interrupted_as_if_it_ran_alone(capsys, config, editor):
    editor("import signal; assert signal.getsignal(2) is signal.default_int_handler")
    assert run(capsys, "config", "edit")[0] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_ended_leaves_no_copy_and_no_editor(capsys, config, editor, tmp_path, number):
    said = tmp_path / "pid"
    wait = "import os, time; path.with_name(path.name + '.swp').write_text('x')"
    wait += f"; open({str(said)!r}, 'w').write(str(os.getpid())); os.kill(os.getppid(), {int(number)}); time.sleep(60)"
    editor(wait)
    before = signal.getsignal(number)
    assert run(capsys, "config", "edit")[0] == 130
    assert (config.read_text(), left_in(config.parent)) == (BEFORE, ["config.toml"])
    assert signal.getsignal(number) is before
    with pytest.raises(ProcessLookupError):
        os.kill(int(said.read_text()), 0)


def test_a_copy_that_could_not_be_written_is_not_left(config, monkeypatch):
    monkeypatch.setattr(os, "fdopen", lambda handle, *_, **__: FullFile(handle))
    with pytest.raises(OSError, match="No space"), _copied(Home(config.parent), BEFORE):
        pass
    assert left_in(config.parent) == ["config.toml"]


class FullFile:
    """A file on a full disk."""

    def __init__(self, handle):
        os.close(handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def write(self, _):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_what_was_written_is_kept_where_the_disk_is_full_when_it_is_taken_over(capsys, config, editor, monkeypatch):
    def write(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("backuppeer.cli.config_edit.write_private", write)
    editor("text += 'audits = \"off\"\\n'")
    code, _, err = run(capsys, "config", "edit")
    (kept,) = config.parent.glob("config.mine-*.toml")
    assert (code, kept.name in err, "disk" in err, config.read_text()) == (1, True, True, BEFORE), err
    assert (kept.read_text(), stat.S_IMODE(kept.stat().st_mode)) == (BEFORE + 'audits = "off"\n', 0o600)
    assert left_in(config.parent) == [kept.name, "config.toml"]


def test_settings_that_are_a_link_stay_one(capsys, config, editor, tmp_path):
    real = tmp_path / "dotfiles.toml"
    config.rename(real)
    config.symlink_to(real)
    editor("text += 'audits = \"off\"\\n'")
    assert run(capsys, "config", "edit")[0] == 0
    assert (config.is_symlink(), real.read_text()) == (True, BEFORE + 'audits = "off"\n')
    assert run(capsys, "config", "set", "region", "EU")[0] == 0
    assert (config.is_symlink(), 'region = "EU"' in real.read_text()) == (True, True)


@pytest.mark.parametrize("make", ["os.mkdir(path)", "os.mkfifo(path)"])
def test_an_editor_that_leaves_no_file_changes_nothing_and_that_is_said(capsys, config, editor, make):
    editor(f"import os; path.unlink(); {make}; sys.exit(0)")
    code, _, err = run(capsys, "config", "edit")
    assert (code, "the editor left no file" in err, "nothing was changed" in err) == (2, True, True), err
    assert (config.read_text(), left_in(config.parent)) == (BEFORE, ["config.toml"])


def test_copies_that_a_killed_command_left_go_once_none_can_be_open(config):
    old, young = (config.with_name(f".config.edit-{name}.toml") for name in ("old", "young"))
    for copy, age_s in ((old, EDIT_KEPT_S + 60), (young, EDIT_KEPT_S - 60)):
        copy.touch()
        os.utime(copy, (1e9 - age_s, 1e9 - age_s))
    sweep_edits(Home(config.parent), int(1e12))
    assert left_in(config.parent) == [young.name, "config.toml"]


def test_a_home_without_settings_is_shown_which_there_are(capsys, home, editor):
    editor("text = text.replace('# audits', 'audits')")
    assert run(capsys, "config", "edit")[0] == 0
    assert run(capsys, "config", "get", "audits")[1] == "off\n"
    assert "# servers = [" in (home / "config.toml").read_text()


def test_the_first_editor_that_is_named_is_taken(monkeypatch):
    monkeypatch.setenv("VISUAL", "")
    monkeypatch.setenv("EDITOR", "code --wait")
    assert _find_editor() == ["code", "--wait"]
    monkeypatch.setenv("VISUAL", "'my editor' -x")
    assert _find_editor() == ["my editor", "-x"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("servers", "http://one.example"),
        ("proxy", "h"),
        ("region", "Middle-Earth"),
        ("audits", "perhaps"),
        ("network.lan", "1"),
        ("passphrase_command", "say 'it"),
    ],
)
def test_a_value_that_can_not_be_meant_names_its_key_and_shows_a_valid_one(capsys, config, key, value):
    code, _, err = run(capsys, "config", "set", key, value)
    assert (code, f"error: {key}: " in err, f"`backup-peer config set {key} " in err) == (2, True, True), err
    assert config.read_text() == BEFORE


def test_settings_that_can_not_be_read_name_file_line_and_what_opens_them(capsys, config):
    config.write_text(BEFORE + "audits = 7\n")
    code, _, err = run(capsys, "config", "list")
    assert (code, f"{config}, line 3: audits: " in err, "`backup-peer config edit" in err) == (2, True, True), err
