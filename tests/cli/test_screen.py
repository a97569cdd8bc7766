import json
import os
import select
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from backuppeer.cli.render import add_home, wrap_line
from backuppeer.cli.screen import Screen
from cli.rows import run


class Desk:
    """A real terminal and the person at it: types into one end, reads what is shown there."""

    def __init__(self, stack):
        self._keys, line = os.openpty()
        stack.callback(os.close, self._keys)
        self._in = stack.enter_context(os.fdopen(line))
        out = stack.enter_context(os.fdopen(os.dup(line), "w"))
        self.screen = Screen((self._in, out, out), json=False, yes=False)
        self.shown = b""

    def type(self, text):
        os.write(self._keys, text)

    def await_line(self):
        """Wait until a line that was typed can be read by the program."""
        assert select.select([self._in], [], [], 10)[0]

    def await_words(self, words):
        while words not in self.shown:
            assert select.select([self._keys], [], [], 10)[0], self.shown
            self.shown += os.read(self._keys, 4096)


@pytest.fixture
def desk():
    with ExitStack() as stack:
        yield Desk(stack)


@pytest.mark.parametrize(("typed", "is_agreed"), [(b"y\n", True), (b"n\n", False)])
def test_what_was_typed_before_a_question_was_shown_does_not_answer_it(desk, typed, is_agreed):
    desk.type(b"n\n" if is_agreed else b"y\n")
    desk.await_line()
    answers = []
    asking = threading.Thread(target=lambda: answers.append(desk.screen.confirm("really?", unanswered="this")))
    asking.start()
    desk.await_words(b"really? [y/N] ")
    assert answers == []
    desk.type(typed)
    asking.join(10)
    assert answers == [is_agreed]


def test_lines_pasted_at_once_are_one_answer(desk):
    answers = []

    def ask():
        answers.append(desk.screen.read_answer("text: "))
        answers.append(desk.screen.read_answer("go on: ", goes_on=True))

    asking = threading.Thread(target=ask)
    asking.start()
    desk.await_words(b"text: ")
    desk.type(b"first\nsecond\n")
    asking.join(10)
    assert answers == ["first", "second"]


# --- commands that can be pasted
def test_a_hint_names_the_home_that_was_named_on_the_command_line_or_in_the_environment(capsys, home, monkeypatch):
    assert f"run `backup-peer init --home {home}` first" in run(capsys, "status")[2]
    code, out, err = run(capsys, "status", "--home", "my home", "--json")
    named = f"run `backup-peer init --home '{Path.cwd()}/my home'` first"
    assert code == 10
    assert named in err
    assert named in json.loads(out.splitlines()[-1])["hint"]
    monkeypatch.setattr("backuppeer.agent.home.home.platformdirs.user_data_dir", lambda _: str(home))
    assert "run `backup-peer init` first" in run(capsys, "status")[2]


def test_other_texts_name_the_home_too_but_not_twice(capsys, tmp_path):
    _, out, _ = run(capsys, "init", "--yes", "--home", str(tmp_path / "h"))
    assert f"`backup-peer browse --home {tmp_path}/h`" in out
    assert add_home("`backup-peer init --home DIR`, `ls`, `backup-peer ls --help`", "--home x") == (
        "`backup-peer init --home DIR`, `ls`, `backup-peer ls --help`"
    )


def test_a_command_for_the_other_persons_machine_does_not_name_the_home_of_this_one():
    there = "with `backup-peer requests accept bp1qqqqqqqq` there, or `backup-peer id` on the other machine"
    assert add_home(f"{there}; `backup-peer browse`", "--home x") == f"{there}; `backup-peer browse --home x`"


def test_a_command_is_never_broken():
    text = "note: see (`backup-peer requests accept 12345678 --home /a`), then go on with it"
    lines = wrap_line(text, 40, indent="      ").split("\n")
    assert lines == [
        "note: see",
        "      (`backup-peer requests accept 12345678 --home /a`),",
        "      then go on with it",
    ]
