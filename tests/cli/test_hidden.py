"""What the terminal does not show, on a real one: a child with a pseudo-terminal of its own."""

import os
import pty
import select
import sys
import time

import pytest

from backuppeer.cli import passphrase_command
from backuppeer.cli.passphrase_command import ask_command
from backuppeer.errors import LocalError
from backuppeer.limits import PASSPHRASE_CHARS

TWICE = """
import sys, time
from backuppeer.cli.hidden import hidden, read_hidden
sys.stdout.write("ready\\n"); sys.stdout.flush(); sys.stdin.readline()
with hidden():
    first = read_hidden("first: ")
    print("between", flush=True)
    second = read_hidden("second: ")
print([first, second], flush=True)
"""


class Terminal:
    def __init__(self, code: str) -> None:
        self.pid, self.end = pty.fork()
        if self.pid == 0:
            os.execv(sys.executable, [sys.executable, "-c", code])  # noqa: S606 - Python itself
        self.seen = ""

    def wait_for(self, text: str) -> None:
        until = time.monotonic() + 20
        while text not in self.seen:
            assert select.select([self.end], [], [], max(0, until - time.monotonic()))[0], self.seen
            try:
                self.seen += os.read(self.end, 4096).decode()
            except OSError:  # the child has ended
                assert text in self.seen
                return

    def type(self, text: str) -> None:
        os.write(self.end, text.encode())

    def close(self) -> None:
        os.close(self.end)
        os.waitpid(self.pid, 0)


@pytest.fixture
def terminal():
    made = Terminal(TWICE)
    yield made
    made.close()


def test_what_is_typed_at_once_for_two_questions_is_taken_line_by_line_and_never_shown(terminal):
    terminal.wait_for("ready")
    terminal.type("\n")
    terminal.wait_for("first: ")
    terminal.type("secret one\nsecret two\n")
    terminal.wait_for("['secret one', 'secret two']")
    assert terminal.seen.count("secret") == 2, "only in the answer: neither typed line was shown"


def test_what_was_typed_before_the_first_question_answers_nothing(terminal):
    terminal.wait_for("ready")
    terminal.type("\ntyped too early\n")
    terminal.wait_for("first: ")
    terminal.type("one\n")
    terminal.wait_for("second: ")
    terminal.type("two\n")
    terminal.wait_for("['one', 'two']")


def test_a_command_that_takes_too_long_is_ended_with_what_it_was_told(monkeypatch):
    monkeypatch.setattr(passphrase_command, "PASSPHRASE_COMMAND_S", 0.2)
    began = time.monotonic()
    for command in ("sleep 60", "sh -c 'echo half; exec >&-; sleep 60'", "sh -c 'sleep 60; true'"):
        with pytest.raises(LocalError, match="took longer"):
            ask_command(command)
    assert ask_command("sh -c 'sleep 60 & echo all'") == "all", "what it left behind is not waited for"
    assert time.monotonic() - began < 20


def test_a_command_that_never_stops_talking_is_cut_off():
    with pytest.raises(LocalError, match="more than a passphrase"):
        ask_command("yes")
    with pytest.raises(LocalError, match="more than a passphrase"):
        ask_command(f"printf %{4 * PASSPHRASE_CHARS + 3}s x")


@pytest.mark.parametrize(
    ("command", "said"),
    [("printf 'a b\\n'", "a b"), ("printf ' ä\\r\\n'", " ä"), (f"printf %{PASSPHRASE_CHARS}s x", None)],
)
def test_what_a_command_says_is_the_passphrase_but_for_the_line_end(command, said):
    assert ask_command(command) == (said or " " * (PASSPHRASE_CHARS - 1) + "x")


@pytest.mark.parametrize("command", ["", "no-such-command", "false", "printf '\\377'", "'"])
def test_a_command_that_fails_is_named_by_what_it_did_and_not_by_its_words(command):
    with pytest.raises(LocalError, match="the command that says the passphrase") as told:
        ask_command(command)
    assert "no-such" not in told.value.message
