"""One line of gitignore as a regular expression that can't be made to cost time.

Knows: the grammar of such lines, as git's wildmatch.c and dir.c read it. Must not know: which lines go together.

Whoever wrote the folder that is backed up may have written the line, too. One that goes back and shares a name out
among the stars in another way takes for ever with a dozen of them; none has to. What lies between two stars has a fixed
number of characters, so that taking its first place leaves the most for what follows: if the rest does not fit then, it
fits nowhere. So each part between stars is an atomic group, which is not entered again, and so is each part between
two `**` among the folders of a path. Time grows with the length of the name times that of the line (ADR 32).
"""

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from backuppeer.errors import UserError

_ANY: Final = "[^/]"
_FOLDERS: Final = "(?:[^/]++/)*?"
"""As few whole folders as will do."""
_CLASSES: Final = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": re.escape(string.punctuation),
    "space": r" \t\n\r\f\v",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
_CLASS: Final = re.compile(r"\[:([^]]*):\]")
_STAR: Final = None
_Segment = list[str | None]
"""Expressions for one character each, and stars."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a line says. `regex`: for the whole of a name, or of a path below the place that the line counts from."""

    regex: str
    is_of_name: bool
    leaves_out: bool
    of_folders_only: bool


def read_rule(line: str) -> Rule | None:
    """Return what a line says, None for one that says nothing.

    Raises:
        UserError: it is no pattern.

    """
    text = _trim(line)
    if not text or text.startswith("#"):
        return None
    is_negated = text.startswith("!")
    text = text[is_negated:]
    if not text:
        raise UserError(f"not a pattern: {line[:40]!r}", hint="they are written as in .gitignore")
    ended = text.removesuffix("/")
    if not ended:
        return None
    is_of_name = "/" not in ended
    segments = _split(ended.removeprefix("/"))
    regex = _translate(segments[0]) + r"\Z" if is_of_name else _join(segments)
    return Rule(regex, is_of_name, not is_negated, of_folders_only=ended != text)


def _trim(line: str) -> str:
    """Return a line without the spaces at its end, but for one behind a backslash."""
    bare = line.rstrip(" ")
    backslashes = len(bare) - len(bare.rstrip("\\"))
    return bare + " " * (backslashes % 2 and len(bare) < len(line))


def _split(text: str) -> list[_Segment]:
    segments: list[_Segment] = [[]]
    at = 0
    while at < len(text):
        char = text[at]
        if char == "/":
            segments.append([])
        elif char == "[":
            expression, at = _read_bracket(text, at)
            segments[-1].append(expression)
        elif char == "\\":
            at += 1
            segments[-1].append(re.escape(_take(text, at)))
        else:
            segments[-1].append(_STAR if char == "*" else _ANY if char == "?" else re.escape(char))
        at += 1
    return segments


def _take(text: str, at: int) -> str:
    if at >= len(text):
        raise UserError(
            f"not a pattern: {text[:40]!r} ends too early", hint="a backslash makes [ and \\ mean themselves"
        )
    return text[at]


def _read_bracket(text: str, start: int) -> tuple[str, int]:
    """Return the expression for a set of characters and where its bracket closes."""
    at = start + 1
    is_negated = text[at : at + 1] in {"!", "^"}
    at += is_negated
    parts: list[str] = []
    before = ""
    while (char := _take(text, at)) != "]" or not parts:
        if char == "[" and (found := _CLASS.match(text, at)):
            parts.append(_name_class(found[1]))
            before, at = "", found.end() - 1
        elif char == "-" and before and _take(text, at + 1) != "]":
            at += 1
            last, at = _read_char(text, at)
            parts.append(_name_range(before, last))
            before = ""
        else:
            before, at = _read_char(text, at)
            parts.append(re.escape(before))
        at += 1
    return (f"[^/{''.join(parts)}]" if is_negated else f"(?!/)[{''.join(parts)}]"), at


def _read_char(text: str, at: int) -> tuple[str, int]:
    char = _take(text, at)
    return (_take(text, at + 1), at + 1) if char == "\\" else (char, at)


def _name_range(first: str, last: str) -> str:
    if first > last:
        raise UserError(f"not a pattern: from {first!r} to {last!r} there is nothing", hint="write it like [a-z]")
    return f"{re.escape(first)}-{re.escape(last)}"


def _name_class(name: str) -> str:
    if name not in _CLASSES:
        raise UserError(f"not a pattern: there is no [:{name[:40]}:]", hint=f"there is: {', '.join(_CLASSES)}")
    return _CLASSES[name]


def _translate(segment: _Segment) -> str:
    """Return the expression for a name; with stars it ends at the end of the name, whatever follows."""
    runs = [[]] if not segment else _cut_at_stars(segment)
    first, *middle = ["".join(run) for run in runs]
    if not middle:
        return first
    *middle, last = middle
    between = "".join(f"(?>{_ANY}*?{part})" for part in middle if part)
    rest = f"{_ANY}*{last}(?!{_ANY})" if last else f"{_ANY}*+"
    return f"(?>{first}{between}{rest})"


def _cut_at_stars(segment: _Segment) -> list[list[str]]:
    runs: list[list[str]] = [[]]
    for part in segment:
        if part is _STAR:
            runs.append([])
        else:
            runs[-1].append(part)
    return runs


def _join(segments: Sequence[_Segment]) -> str:
    """Return the expression for a path: names, and `**` for any number of folders between them."""
    blocks: list[list[str]] = [[]]
    for segment in segments:
        if len(segment) > 1 and not any(segment):
            if blocks[-1] or len(blocks) == 1:  # several of them in a row are one
                blocks.append([])
        else:
            blocks[-1].append(_translate(segment))
    first, *middle = ["/".join(block) for block in blocks]
    if not middle:
        return first + r"\Z"
    *middle, last = middle
    start = first + "/" if blocks[0] else ""
    between = "".join(f"(?>{_FOLDERS}{part}/)" for part in middle)
    # Behind "a/**" there has to be something, which the path of an entry always has after its slash.
    return start + between + (rf"{_FOLDERS}{last}\Z" if blocks[-1] else _ANY)
