"""What typer says of words that fit no place of a command line, as one of our errors, and what may have been meant.

Knows: typer's errors about words, and which verbs and options the place had. Must not know: how errors are shown.
"""

import re
from difflib import get_close_matches
from typing import Any, Final

from backuppeer.cli.options import FLAGS, VALUED
from backuppeer.cli.values.looking import show_option
from backuppeer.errors import UserError

_NO_COMMAND: Final = re.compile(r"No such command (?P<word>.*?)\.(?: Did you mean .*\?)?", re.DOTALL)
_SHOWN: Final = 200
"""Characters of a message, which may repeat what was typed."""
_GUESSES: Final = 2
_LIKENESS: Final = 0.7
"""Of 1: `--jsn` is meant to be `--json`, and not `--seen`."""
_BEFORE: Final = "options of a verb stand behind its name; "


def explain(exc: Any, way: str, app: Any) -> UserError:
    """Return an error of typer's as one of ours, whose hint begins with what may have been meant.

    way: where to look further. app: the application that was run.
    """
    context = getattr(exc, "ctx", None)
    command = getattr(context, "command", None)
    message, meant = str(exc.format_message()), ""
    if hasattr(exc, "possibilities"):
        message = f"no such option: {exc.option_name}"
        meant = _guess(exc.option_name, _list_options(command))
        if not meant and getattr(context, "parent", None) is None:
            meant = _BEFORE
    elif option := getattr(exc, "option_name", ""):
        return needs_value(app, option)
    elif found := _NO_COMMAND.fullmatch(message):
        message = f"no such command: {found['word']}"
        path = getattr(context, "command_path", "backup-peer")
        below = [name for name in getattr(command, "commands", {}) if name.isprintable()]
        meant = _guess(found["word"].strip("'\""), below, f"{path} ")
    message = message[:1].lower() + message[1:].rstrip(".")
    return UserError(message if len(message) <= _SHOWN else f"{message[:_SHOWN]}…", hint=f"{meant}{way}")


def needs_value(app: Any, option: str) -> UserError:
    """Return the error for an option at the end of a command line that needs a value."""
    return UserError(f"{option} needs a value behind it", hint=f"for example: `{show_option(app, option)}`")


def _guess(word: str, choices: list[str], front: str = "") -> str:
    """Return a question whether one of the choices was meant; empty if none is like the word."""
    near = get_close_matches(word[:_SHOWN], choices, n=_GUESSES, cutoff=_LIKENESS)
    return f"did you mean {' or '.join(f'`{front}{each}`' for each in near)}? " if near else ""


def _list_options(command: Any) -> list[str]:
    own = (name for param in getattr(command, "params", ()) for name in param.opts)
    return sorted(name for name in {*own, *FLAGS, *VALUED, "--help"} if name.startswith("--"))
