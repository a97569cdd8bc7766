"""A locked home with real processes: what asks, what opens it, and where the passphrase does not go."""

from pathlib import Path

import pytest

from e2e.harness import Home, World, agree, below, describe_tree
from e2e.terminal import converse
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PASSPHRASE = "correct horse battery"


def agent_pid(home: Home) -> int:
    return int(str(home.do("agent", "status").last["pid"]))


def what_shows(pid: int) -> bytes:
    """What every program of this user can read of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()


def type_at(home: Home, typed: list[str], *words: str) -> tuple[int, str]:
    return converse(home, typed, *words, at=("(not shown):", "once more:"))


def test_a_home_under_a_passphrase_asks_once_backs_up_and_shows_it_nowhere(world: World):
    pair = agree(world)
    owner = pair.owner
    tree = world.path / "files"
    make_random_files(tree, count=3, size_bytes=200_000, seed=47)
    code, said = type_at(owner, [PASSPHRASE, PASSPHRASE], "passphrase", "set")
    assert code == 0, said
    owner.do("backup", str(tree))  # the agent that runs has its keys
    owner.do("agent", "stop")

    refused = owner.run("snapshots")
    assert (refused.code, "no terminal to ask on" in refused.stderr) == (2, True)
    code, said = type_at(owner, ["wrong one", PASSPHRASE], "agent", "start")
    assert code == 0, said
    assert "that is not the passphrase" in said
    assert len(owner.do("snapshots").rows) == 1
    assert PASSPHRASE.encode() not in what_shows(agent_pid(owner))
    for path in owner.path.rglob("*"):
        assert not path.is_file() or PASSPHRASE.encode() not in path.read_bytes(), path

    owner.do("agent", "stop")
    code, said = type_at(owner, ["wrong"] * 3, "status")
    assert code == 12, said
    assert "the passphrase is wrong" in said

    target = world.path / "restored"
    owner.do("config", "set", "passphrase_command", f"printf '{PASSPHRASE}\\n'")
    owner.do("restore", "latest", "--target", str(target))
    assert describe_tree(below(target, tree)) == describe_tree(tree)


def test_a_passphrase_is_changed_forgotten_and_replaced_by_the_words(world: World):
    pair = agree(world)
    owner = pair.owner
    owner.do("passphrase", "set", "--yes", stdin="the first one\n")
    owner.do("passphrase", "set", "--yes", stdin="the first one\nthe second one\n")
    owner.do("agent", "stop")
    wrong = owner.run("passphrase", "remove", "--yes", stdin="the first one\n")
    assert wrong.code == 12
    assert owner.do("passphrase", "show").last["custody"] == "passphrase"
    others = owner.run("passphrase", "set", "--words", "--yes", stdin="abandon " * 23 + "art\nthe third one\n")
    assert others.code == 12
    owner.do("passphrase", "set", "--words", "--yes", stdin=pair.words + "\nthe third one\n")
    owner.do("passphrase", "remove", "--yes", stdin="the third one\n")
    assert owner.do("passphrase", "show").last["custody"] == "nothing"
    owner.do("status")


KEYRING = """
from keyring.backend import KeyringBackend
from pathlib import Path
import json

KEPT = Path(__file__).with_name("kept.json")

class Kept(KeyringBackend):
    priority = 1

    def _all(self):
        return json.loads(KEPT.read_text()) if KEPT.exists() else {}

    def get_password(self, service, username):
        return self._all().get(service + username)

    def set_password(self, service, username, password):
        KEPT.write_text(json.dumps(self._all() | {service + username: password}))

    def delete_password(self, service, username):
        left = self._all()
        left.pop(service + username)
        KEPT.write_text(json.dumps(left))
"""


def test_a_key_in_the_keyring_opens_a_home_without_a_question(world: World, monkeypatch: pytest.MonkeyPatch):
    place = world.path / "keyring"
    (place / "python_keyring").mkdir(parents=True)
    (place / "kept_for_tests.py").write_text(KEYRING)
    config = f"[backend]\ndefault-keyring=kept_for_tests.Kept\nkeyring-path={place}\n"
    (place / "python_keyring" / "keyringrc.cfg").write_text(config)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(place))
    home = world.home("alone")
    home.do("init", "--yes")
    home.do("passphrase", "keyring")
    assert home.do("passphrase", "show").last["custody"] == "keyring"
    home.do("status")
    home.do("agent", "stop")
    kept = (place / "kept.json").read_text()
    assert kept != "{}"
    (place / "kept.json").unlink()
    lost = home.run("status")
    assert lost.code != 0
    assert "no key for this home" in lost.stderr
    assert "--words" in lost.stderr
    (place / "kept.json").write_text(kept)
    home.do("passphrase", "remove")
    assert (place / "kept.json").read_text() == "{}"


def test_without_any_keyring_nothing_is_changed(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(world.path / "none"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    home = world.home("alone")
    home.do("init", "--yes")
    before = (home.path / "keys" / "working").read_bytes()
    refused = home.run("passphrase", "keyring")
    assert (refused.code, "keyring" in refused.stderr) == (1, True), refused.stderr
    assert (home.path / "keys" / "working").read_bytes() == before
    home.do("status")
