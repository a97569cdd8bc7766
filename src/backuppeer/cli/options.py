"""The options that every verb takes, before or after its name, as --home and --json.

Knows: how to find them among a verb's own arguments. Must not know: verbs, typer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

FLAGS: Final = frozenset({"--json", "--quiet", "-q", "--verbose", "-v", "--yes", "-y"})
VALUED: Final = frozenset({"--home", "--proxy", "--server"})


@dataclass(frozen=True, slots=True)
class Options:
    """The global options of one command. servers: None = no --server given; `--server ""` = none at all."""

    home: str | None = None
    servers: tuple[str, ...] | None = None
    proxy: str | None = None
    json: bool = False
    yes: bool = False


def find_lacking(front: Sequence[str]) -> str:
    """Return the last of the global options if it needs a value and has none; '' otherwise. front: as hoisted."""
    queue = list(front)
    while queue:
        word = queue.pop(0)
        if word in VALUED:
            if not queue:
                return word
            queue.pop(0)
    return ""


def hoist_options(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return (global options, everything else) of a command line, each in its order; `--` ends the search."""
    front: list[str] = []
    rest: list[str] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if word == "--":
            rest += [word, *queue]
            break
        if word in FLAGS or (word.partition("=")[0] in VALUED and "=" in word):
            front.append(word)
        elif word in VALUED:
            front += [word, *queue[:1]]
            del queue[:1]
        else:
            rest.append(word)
    return front, rest
