"""What can stand at one place of a command line: verbs, options, own peers, snapshots, or names of files.

Knows: the tree of commands as typer has it, what the running agent lists. Must not know: shells. Nothing is started for
it, and nobody is asked over the network: who presses Tab waits.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from backuppeer.agent.home.config import KEYS
from backuppeer.cli.further import ITSELF
from backuppeer.cli.options import FLAGS, VALUED

_EVERYWHERE: Final = tuple(sorted(name for name in FLAGS | VALUED if name.startswith("--")))
"""Options that any verb takes; of those with two names the long one."""


class Files(StrEnum):
    """What the shell itself adds."""

    NONE = "words"
    ANY = "files"
    FOLDERS = "folders"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A word, and a few more about it."""

    word: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Suggestions:
    """All that fits what was typed so far, and whether names of files do, too."""

    words: tuple[Suggestion, ...] = ()
    files: Files = Files.NONE


Look = Callable[[], Sequence[Suggestion]]


@dataclass(frozen=True, slots=True)
class Known:
    """What this home knows by name; each is asked for at most once, and only where it fits."""

    peers: Look
    snapshots: Look


_OF_SETTINGS: Final = "KEY"
_OF_PEERS: Final = re.compile(r"ALIAS|PEER|ALICE|BOB")
_OF_SNAPSHOTS: Final = re.compile(r"^\[?SNAPSHOT")
_OF_FOLDERS: Final = re.compile(r"\bDIR\b")
_OF_FILES: Final = re.compile(r"\b(PATH|FILE)\b")
_PEER_OPTIONS: Final = frozenset({"--peer"})
_SNAPSHOT_OPTIONS: Final = frozenset({"--snapshot"})
"""Options whose value is called ID alone in the help."""
_CHOICE: Final = re.compile(r"[a-z][a-z._-]*")


def suggest(command: Any, words: Sequence[str], current: str, known: Known) -> Suggestions:
    """Return what can stand in place of `current`, behind `words`; `command`: typer's application."""
    before = words[-1] if words else ""
    if before in VALUED:
        return Suggestions(files=Files.FOLDERS if before == "--home" else Files.NONE)
    group, rest = _descend(command, words)
    below: dict[str, Any] = dict(getattr(group, "commands", {}))
    command = below.pop(ITSELF, group)
    options = {name: option for option in _options_of(command) for name in option.opts}
    if (option := options.get(before)) is not None and not option.is_flag:
        return _fit(_suggest_option(before, option.metavar or "", known), current)
    if current.startswith("-"):
        listed = [Suggestion(option.opts[0], option.help or "") for option in _options_of(command)]
        return _fit(
            Suggestions((*listed, *map(Suggestion, _EVERYWHERE))),
            current,
        )
    named = [Suggestion(name, _head(each.help)) for name, each in below.items() if not rest and not each.hidden]
    own = _suggest_argument(command, sum(1 for _ in _positional(rest, options)), known)
    return _fit(Suggestions((*named, *own.words), own.files), current)


def _suggest_argument(command: Any, place: int, known: Known) -> Suggestions:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    if not arguments or (place >= len(arguments) and arguments[-1].nargs == 1):
        return Suggestions()
    return _suggest_value(arguments[min(place, len(arguments) - 1)].metavar or "", known)


def _descend(command: Any, words: Sequence[str]) -> tuple[Any, list[str]]:
    """Return the command that the words lead to, and those behind its name."""
    left = list(words)
    while left:
        if left[0] in VALUED:
            del left[:2]
        elif left[0] in FLAGS:
            del left[0]
        elif left[0] in getattr(command, "commands", {}):
            command = command.commands[left.pop(0)]
        else:
            break
    return command, left


def _options_of(command: Any) -> list[Any]:
    return [each for each in command.params if each.param_type_name == "option" and not each.hidden]


def _positional(words: Sequence[str], options: dict[str, Any]) -> Iterator[str]:
    """Yield the words that are neither options nor their values."""
    is_value = False
    for word in words:
        if is_value:
            is_value = False
        elif word.startswith("-"):
            option = options.get(word)
            is_value = word in VALUED or (option is not None and not option.is_flag)
        else:
            yield word


def _suggest_option(name: str, metavar: str, known: Known) -> Suggestions:
    if name in _PEER_OPTIONS:
        return Suggestions(tuple(known.peers()))
    return _suggest_value("SNAPSHOT" if name in _SNAPSHOT_OPTIONS else metavar, known)


def _suggest_value(metavar: str, known: Known) -> Suggestions:
    """Return what fits a place by what the help calls it."""
    if _OF_PEERS.search(metavar):
        return Suggestions(tuple(known.peers()))
    if metavar == _OF_SETTINGS:
        return Suggestions(tuple(Suggestion(key) for key in KEYS))
    if _OF_SNAPSHOTS.match(metavar):
        return Suggestions((Suggestion("latest", "the newest"), *known.snapshots()))
    if _OF_FOLDERS.search(metavar):
        return Suggestions(files=Files.FOLDERS)
    if _OF_FILES.search(metavar):
        return Suggestions(files=Files.ANY)
    return Suggestions(
        tuple(Suggestion(part) for part in metavar.split("|") if "|" in metavar and _CHOICE.fullmatch(part))
    )


def _fit(found: Suggestions, current: str) -> Suggestions:
    return Suggestions(tuple(each for each in found.words if each.word.startswith(current)), found.files)


def _head(text: str | None) -> str:
    """Return the first line of a help text, without its full stop."""
    return (text or "").strip().partition("\n")[0].rstrip(".")
