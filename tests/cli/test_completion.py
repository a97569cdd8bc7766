"""Tab: what is suggested, and by the scripts of real shells (U4)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from backuppeer.cli.main import VERBS, main
from backuppeer.control.api import PeerRow, SnapshotRow
from cli.rows import run
from cli.terminal import check_output
from control.dummy import PEER, given

ALICE = PeerRow(
    peer_id=PEER,
    alias="old alice",
    role="host",
    verified=True,
    quota_bytes=10**9,
    used_bytes=0,
    safety_words="",
    last_seen="",
    trust=0.65,
    trust_level="fair",
)
SNAPSHOT = SnapshotRow(
    snapshot="3fa9c1d2" * 8, time="2026-11-22T23:30:00Z", paths=["/home/b\x1bob"], files=1, bytes=1, peers=[]
)


def suggest(capsys, *words):
    """Return (kind of files, words) for Tab at the last word."""
    code = main(["completion", "--at", str(len(words)), "--", *words])
    kind, *lines = capsys.readouterr().out.splitlines()
    assert code == 0
    return kind, [line.partition("\t")[0] for line in lines]


def test_at_the_start_all_verbs_are_suggested(capsys):
    kind, words = suggest(capsys, "")
    assert kind == "words"
    assert sorted(words) == sorted(VERBS)
    assert suggest(capsys, "ba") == ("words", ["backup"])


def test_of_a_group_its_commands_are_suggested(capsys):
    kind, words = suggest(capsys, "peers", "re")
    assert kind == "words"
    assert {"renew", "replace", "resize"} <= set(words)


def test_options_are_suggested_with_those_that_every_verb_takes(capsys):
    assert {"--target", "--overwrite", "--home", "--json"} <= set(suggest(capsys, "restore", "latest", "--")[1])
    assert suggest(capsys, "restore", "--ov")[1] == ["--overwrite"]


def test_hidden_options_are_not_suggested(capsys):
    assert "--at" not in suggest(capsys, "completion", "--")[1]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("host", "--accept", ""), ["ask", "trusted", "all"]),
        (("completion", "z"), ["zsh"]),
        (("--home", "/somewhere", "host", "--accept", "a"), ["ask", "all"]),
    ],
)
def test_where_there_is_a_choice_it_is_suggested(capsys, words, wanted):
    assert suggest(capsys, *words) == ("words", wanted)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("backup", ""), "files"),
        (("restore", "latest", "--target", ""), "folders"),
        (("--home", ""), "folders"),
        (("connect", "--storage", ""), "words"),
        (("kit", "--to", ""), "files"),
    ],
)
def test_where_a_place_on_disk_is_wanted_the_shell_adds_it(capsys, words, kind):
    assert suggest(capsys, *words)[0] == kind


@pytest.mark.parametrize(
    "words",
    [
        *(
            ("peers", verb, "")
            for verb in ("show", "set", "verify", "resize", "renew", "lock", "purge", "end", "forgive")
        ),
        *(("peers", "replace", ""), ("peers", "replace", "bob", ""), ("peers", "undelete", "")),
        *(("requests", verb, "") for verb in ("accept", "reject", "offer")),
        *((verb, "") for verb in ("connect", "block", "unblock", "vouch", "disconnect")),
        *(("reputation", "o"), ("audit", "o"), ("audit", "bob", "o")),
        *(("backup", "x", "--to", "o"), ("backup", "add", "x", "--to", ""), ("recover", "--peer", "")),
        ("reputation", "explain", ""),
    ],
)
def test_own_peers_are_suggested_by_their_names(capsys, agent, words):
    agent({"peers": given([ALICE])})
    assert suggest(capsys, *words) == ("words", ["old alice"])


def test_what_is_listed_is_of_the_home_that_is_typed(capsys, agent):
    agent({"peers": given([ALICE])})
    assert suggest(capsys, "--home", "/nowhere", "peers", "show", "") == ("words", [])


def test_keys_of_the_settings_are_suggested_all(capsys):
    assert {"servers", "network.lan", "passphrase_command", "trust.share_receipts"} <= set(
        suggest(capsys, "config", "set", "")[1]
    )


def test_snapshots_are_suggested_newest_first_and_paint_nothing(capsys, agent):
    agent({"snapshots": given([SNAPSHOT])})
    assert main(["completion", "--at", "2", "--", "restore", ""]) == 0
    shown = capsys.readouterr().out
    assert [line.partition("\t")[0] for line in shown.splitlines()[1:]] == ["latest", "3fa9c1d2"]
    assert "\x1b" not in shown


def test_nothing_is_started_and_nothing_said_where_no_agent_runs(capsys, home):
    assert suggest(capsys, "peers", "show", "") == ("words", [])
    assert capsys.readouterr().err == ""
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("words", [("no-such-verb", ""), ("backup-peer", "--no-such", ""), ("init", "too", "many", "")])
def test_what_leads_nowhere_suggests_nothing(capsys, words):
    assert suggest(capsys, *words) == ("words", [])


def test_an_unknown_shell_is_told_which_there_are(capsys):
    code, _, err = run(capsys, "completion", "tcsh")
    assert code == 2
    assert "bash, zsh, fish" in err


def test_as_json_the_script_is_a_field(capsys):
    code, out, _ = run(capsys, "completion", "fish", "--json")
    assert code == 0
    assert "complete -c backup-peer" in check_output("completion", out)[-1]["script"]


def ask(capsys, tmp_path, shell, script):
    """Run a shell that has read our script for it."""
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    code, out, _ = run(capsys, "completion", shell)
    assert code == 0
    (tmp_path / "script").write_text(out)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    bare = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run(
        [found, *bare, "-c", script],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_bash_completes_verbs_and_names_of_files(capsys, tmp_path):
    (tmp_path / "my photos").mkdir()
    script = """
    compopt() { :; }
    . ./script
    COMP_WORDS=(backup-peer ba); COMP_CWORD=1; _backup_peer backup-peer; printf '%s\\n' "${COMPREPLY[@]}"
    COMP_WORDS=(backup-peer backup my); COMP_CWORD=2; _backup_peer backup-peer; printf '%s\\n' "${COMPREPLY[@]}"
    """
    assert ask(capsys, tmp_path, "bash", script) == ["backup", "my photos"]


def test_zsh_completes_verbs_with_what_they_do(capsys, tmp_path):
    script = """
    compdef() { :; }
    _describe() { print -l -- "${(@P)@[-1]}"; }
    . ./script
    words=(backup-peer unbl); CURRENT=2; _backup_peer
    """
    (line,) = ask(capsys, tmp_path, "zsh", script)
    assert line.startswith("unblock:")


def test_zsh_shows_names_with_signs_of_its_own_as_they_are(capsys, tmp_path):
    script = """
    compdef() { :; }
    _describe() { print -rl -- "${(@P)@[-1]}"; }
    . ./script
    command() { printf 'words\\nx:y\\\\z\\thost\\n'; }
    words=(backup-peer peers show x); CURRENT=4; _backup_peer
    """
    assert ask(capsys, tmp_path, "zsh", script) == ["x\\:y\\\\z:host"]


def test_bash_goes_on_in_a_name_with_a_blank(capsys, tmp_path):
    script = """
    command() { [ "${!#}" = 'Bob S' ] && printf 'words\\nBob Smith\\thost\\n'; }
    . ./script
    COMP_WORDS=(backup-peer peers show 'Bob\\ S'); COMP_CWORD=3; _backup_peer backup-peer
    printf '%s\\n' "${COMPREPLY[@]}"
    """
    assert ask(capsys, tmp_path, "bash", script) == ["Bob\\ Smith"]


def test_fish_completes_verbs_and_options(capsys, tmp_path):
    script = ". ./script; complete -C 'backup-peer unbl'; complete -C 'backup-peer restore latest --overw'"
    lines = ask(capsys, tmp_path, "fish", script)
    assert [line.partition("\t")[0] for line in lines] == ["unblock", "--overwrite"]
