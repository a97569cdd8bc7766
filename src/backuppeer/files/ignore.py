"""Patterns for what is left out, in the manner of gitignore.

Knows: pattern lines, the places they count from. Must not know: which files hold them, what is done with a decision.

Paths are bytes; patterns see them as text with surrogate escapes, so any byte in a name can be matched by a wildcard.
"""

import os
import re
from collections.abc import Iterable, Sequence
from typing import Final

import pathspec
from pathspec.patterns.gitignore import GitIgnorePatternError

from backuppeer.errors import UserError
from backuppeer.limits import IGNORE_LINE_CHARS

_STARS: Final = re.compile(r"(\\.)|\*+")
"""What a backslash takes the meaning of, or stars in a row."""


class Patterns:
    """Lines of one place, in order; the last that fits decides."""

    def __init__(self, lines: Sequence[str], base: bytes, *, ignore_case: bool = False) -> None:
        """`base`: the absolute path of the directory that the lines count from.

        Raises:
            UserError: a line is no pattern.

        """
        self._start = len(base.rstrip(b"/")) + 1
        self._ignore_case = ignore_case
        self._spec = _compile([line.lower() for line in lines] if ignore_case else lines)

    def decide(self, path: bytes, *, is_directory: bool) -> bool | None:
        """Say whether `path`, below the base, is left out; False: it is kept by a `!`; None: no line fits."""
        text = os.fsdecode(path[self._start :])
        if self._ignore_case:
            text = text.lower()
        return self._spec.check_file(text + "/" * is_directory, separators=()).include


def _compile(lines: Iterable[str]) -> pathspec.GitIgnoreSpec:
    # "a/**" is everything inside of a, as git says; to the library it is a itself too, so it gets "a/**/*".
    checked = [line.rstrip() + "/*" if line.rstrip().endswith("/**") else line for line in map(_join_stars, lines)]
    for line in checked:
        if len(line) > IGNORE_LINE_CHARS:
            raise UserError(f"a pattern of {len(line)} characters: {line[:40]!r}…")
    try:
        return pathspec.GitIgnoreSpec.from_lines(checked)
    # re.error: the library makes a regular expression of a line, and does not look into its brackets ([z-a]).
    except (GitIgnorePatternError, ValueError, re.error) as exc:
        raise UserError(f"not a pattern: {exc}", hint="they are written as in .gitignore") from exc


def _join_stars(line: str) -> str:
    """Return a line with each run of stars in a name as the one star that it means.

    The library tries every way of sharing a name out among them: thirty would take for ever, and whoever wrote the
    folder that is backed up wrote the line, too.
    """
    parts = line.split("/")
    return "/".join(part if part.strip() in {"**", "!**"} else _STARS.sub(_join_run, part) for part in parts)


def _join_run(found: re.Match[str]) -> str:
    return found[1] or "*"


def anywhere(pattern: str) -> str:
    """Return a pattern of the command line as a line that counts from `/`.

    One that begins with a slash is a path from the root; any other fits at every depth, `a/b` too, which in a
    .gitignore would only fit beside it: a command has no place to count from.
    """
    negation, rest = ("!", pattern[1:]) if pattern.startswith("!") else ("", pattern)
    is_placed = rest.startswith(("/", "**/", "#")) or "/" not in rest.rstrip("/ ")
    return pattern if is_placed else f"{negation}**/{rest}"


def read_lines(data: bytes) -> list[str]:
    """Return the lines of a file of patterns."""
    return os.fsdecode(data.removeprefix(b"\xef\xbb\xbf")).splitlines()
