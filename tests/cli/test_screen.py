import os
import select
import threading
from contextlib import ExitStack

import pytest

from backuppeer.cli.screen import Screen


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
