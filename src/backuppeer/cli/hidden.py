"""Lines that the terminal does not show: passphrases, words.

Knows: how a terminal is told to show nothing. Must not know: what is typed. `getpass` would do for one line; but where
several belong together (words in four lines, a passphrase twice, another try), what comes between two of its questions
is shown, and then thrown away. Here the terminal shows nothing from the first question to the last answer, what was
typed before the first is thrown away, and what is pasted in one go is read line by line.
"""

import contextlib
import getpass
import io
import os
import sys
import termios
from collections.abc import Iterator
from typing import Final

_LINE_BYTES: Final = 4096
"""A terminal hands on no longer line."""


@contextlib.contextmanager
def hidden() -> Iterator[None]:
    """Have the terminal show nothing that is typed until the block is left; blocks may lie in each other."""
    with contextlib.ExitStack() as stack:
        # No terminal: nobody types, and nothing is shown.
        with contextlib.suppress(OSError, termios.error, io.UnsupportedOperation):
            stack.enter_context(_quiet(_open_terminal(stack)))
        yield


def read_hidden(prompt: str) -> str:
    """Read one line that is not shown; the end of input is an empty one.

    Raises:
        KeyboardInterrupt: Ctrl-C; what comes next starts on a line of its own.

    """
    with contextlib.ExitStack() as stack:
        try:
            terminal = _open_terminal(stack)
        except (OSError, io.UnsupportedOperation):
            return _read_otherwise(prompt)
        stack.enter_context(hidden())
        os.write(terminal, prompt.encode())
        try:
            line = os.read(terminal, _LINE_BYTES)
        finally:
            # The line end that was typed is not shown either, nor is what follows ^C.
            os.write(terminal, b"\n")
    return line.decode(sys.getfilesystemencoding(), "surrogateescape").rstrip("\r\n")


def _open_terminal(stack: contextlib.ExitStack) -> int:
    terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    stack.callback(os.close, terminal)
    return terminal


@contextlib.contextmanager
def _quiet(terminal: int) -> Iterator[None]:
    before = termios.tcgetattr(terminal)
    if not before[3] & termios.ECHO:
        yield  # a block around this one restores it
        return
    after = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    # FLUSH: what was typed before the question answers something else.
    termios.tcsetattr(terminal, termios.TCSAFLUSH, after)
    try:
        yield
    finally:
        # And what is left over must neither be shown nor be run by a shell: it may be a secret.
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)


def _read_otherwise(prompt: str) -> str:
    try:
        return getpass.getpass(prompt)
    except KeyboardInterrupt:
        print(file=sys.stderr)  # noqa: T201 - the terminal; no screen is known here
        raise
    except EOFError:
        return ""
