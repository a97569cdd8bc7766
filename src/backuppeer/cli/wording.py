"""The 24 words as they are typed: on the terminal without echo, or on standard input with --yes; never in argv.

Knows: how they are asked for, and again if one was mistyped. Must not know: what is done with what they stand for.
"""

import sys
from typing import Final

from backuppeer.cli.hidden import hidden, read_hidden
from backuppeer.cli.render import escape_line
from backuppeer.cli.screen import Screen
from backuppeer.errors import UserError

_MAX_WORDS_CHARS: Final = 1024
"""24 words of eight letters, with generous space between them."""
_TRIES: Final = 3
WORDS: Final = 24


def decode_master(screen: Screen, text: str) -> bytes:
    """Return what the words stand for; who mistypes one at a terminal may type them again.

    Raises:
        UserError: wrong each time.

    """
    from backuppeer.crypto.words import decode_words  # noqa: PLC0415 - crypto libraries

    for _ in range(_TRIES - 1 if screen.can_ask else 0):
        try:
            return decode_words(text)
        except UserError as exc:
            screen.aside(f"  {escape_line(exc.message)}: {escape_line(exc.hint)}; once more", hang=4)
        text = _read_lines()
    return decode_words(text)


def read_words(screen: Screen, way: str) -> str:
    """Read the words from the terminal without echo, or from standard input with --yes.

    way: the command that takes them without a terminal.

    Raises:
        UserError: neither is there.

    """
    if screen.can_ask:
        return _read_lines()
    if screen.yes:
        return _plain(sys.stdin.read(_MAX_WORDS_CHARS))
    raise UserError(
        "there is no terminal to read the words from",
        hint=f"pipe them in with --yes: `{way} < words.txt`; never as arguments",
    )


def _plain(text: str) -> str:
    """Return typed words without the numbers that a kit has beside them."""
    return " ".join(word for word in text.split() if not word.rstrip(".").isdigit())


def _read_lines() -> str:
    """Read words as they stand on paper, line by line, until there are all of them; an empty line ends it, too."""
    with hidden():
        typed = _plain(read_hidden("your 24 words (not shown): "))
        while 0 < len(typed.split()) < WORDS:
            more = _plain(read_hidden(f"  {len(typed.split())} so far, go on: "))
            if not more:
                break
            typed = f"{typed} {more}"
    return typed
