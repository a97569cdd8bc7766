"""Patterns for what is left out, in the manner of gitignore.

Knows: pattern lines, the places they count from. Must not know: which files hold them, what is done with a decision.

Paths are bytes; patterns see them as text with surrogate escapes, so any byte in a name can be matched by a wildcard.
"""

import os
import re
from collections.abc import Sequence
from functools import cached_property

from backuppeer.errors import UserError
from backuppeer.files.wildcard import Rule, read_rule
from backuppeer.limits import IGNORE_LINE_CHARS, IGNORE_RULES_AT_ONCE


class Patterns:
    """Lines of one place, in order; the last that fits decides."""

    def __init__(self, lines: Sequence[str], base: bytes, *, ignore_case: bool = False) -> None:
        """`base`: the absolute path of the directory that the lines count from.

        Raises:
            UserError: a line is no pattern.

        """
        self._start = len(base.rstrip(b"/")) + 1
        self._ignore_case = ignore_case
        self._rules = [rule for line in lines if (rule := _read(line.lower() if ignore_case else line))]

    def decide(self, path: bytes, *, is_directory: bool) -> bool | None:
        """Say whether `path`, below the base, is left out; False: it is kept by a `!`; None: no line fits it itself.

        What is in a folder that is left out is not asked about, as in git: whoever walks does not enter it.
        """
        text = os.fsdecode(path[self._start :])
        if self._ignore_case:
            text = text.lower()
        names, paths = self._for_folders if is_directory else self._for_files
        number = max(names.find(text[text.rfind("/") + 1 :]), paths.find(text))
        return None if number < 0 else self._rules[number].leaves_out

    def leaves_out_within(self, path: bytes) -> bool:
        """Say whether the last line that fits a file or one of the folders above it, the nearest first, means it."""
        is_directory = False
        while len(path) >= self._start:
            decision = self.decide(path, is_directory=is_directory)
            if decision is not None:
                return decision
            path, is_directory = path[: path.rfind(b"/")], True
        return False

    @cached_property
    def _for_folders(self) -> "tuple[_Table, _Table]":
        return _tabulate(list(enumerate(self._rules)))

    @cached_property
    def _for_files(self) -> "tuple[_Table, _Table]":
        rules = [(number, rule) for number, rule in enumerate(self._rules) if not rule.of_folders_only]
        return self._for_folders if len(rules) == len(self._rules) else _tabulate(rules)


class _Table:
    """Rules as few expressions, so that many are tried at once; the last of them stands first."""

    def __init__(self, rules: Sequence[tuple[int, Rule]]) -> None:
        self._parts: list[tuple[re.Pattern[str], list[int]]] = []
        backwards = rules[::-1]
        for start in range(0, len(rules), IGNORE_RULES_AT_ONCE):
            part = backwards[start : start + IGNORE_RULES_AT_ONCE]
            regex = re.compile("|".join(f"({rule.regex})" for _, rule in part), re.DOTALL)
            self._parts.append((regex, [number for number, _ in part]))

    def find(self, text: str) -> int:
        """Return the number of the last rule that fits, -1 if none does."""
        for regex, numbers in self._parts:
            if (found := regex.match(text)) and found.lastindex:
                return numbers[found.lastindex - 1]
        return -1


def _tabulate(rules: Sequence[tuple[int, Rule]]) -> tuple[_Table, _Table]:
    """Return the rules for names, and those for paths."""
    of_names, of_paths = ([one for one in rules if one[1].is_of_name is wanted] for wanted in (True, False))
    return _Table(of_names), _Table(of_paths)


def _read(line: str) -> Rule | None:
    if len(line) > IGNORE_LINE_CHARS:
        raise UserError(f"a pattern of {len(line)} characters: {line[:40]!r}…")
    return read_rule(line)


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
    # Not splitlines(): to git a line ends where \n says so, and nowhere else.
    *lines, last = os.fsdecode(data.removeprefix(b"\xef\xbb\xbf")).split("\n")
    return [line.removesuffix("\r") for line in (*lines, *([last] if last else ()))]
