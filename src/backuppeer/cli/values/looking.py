"""Looks at every value of a command line before the verb begins, and says which option or argument is wrong.

Knows: typer's commands and their parameters, `table`. Must not know: what a verb does. A value stays the text that was
typed: the verb reads it again with the parser of its kind, and what comes of options together is the verb's matter.
"""

import re
from typing import Any, Final

from typer.exceptions import TyperException

from backuppeer.cli.further import ITSELF
from backuppeer.cli.values.kinds import Kind
from backuppeer.cli.values.table import find_kind
from backuppeer.errors import UserError

_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?[A-Za-z%]*")
_TYPED: Final = "COMMANDLINE"


class Look:
    """Stands before the type of a parameter; what it lets through goes on as before."""

    def __init__(self, then: Any, kind: Kind, call: str) -> None:
        self._then, self._kind, self._call = then, kind, call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._then, name)

    def __call__(self, value: Any, param: Any = None, ctx: Any = None) -> Any:
        """Return the value as the verb gets it.

        Raises:
            UserError: it is none of its kind; the message names the parameter, the hint shows a good one.

        """
        if not isinstance(value, str) or not _is_typed(param, ctx):
            return self._then(value, param, ctx)
        try:
            self._kind.look_at(value)
            return self._then(value, param, ctx)
        except UserError as exc:
            raise self._name(param, exc.message, exc.hint) from exc
        except TyperException as exc:
            raise self._name(param, self._explain(value, str(exc)), "") from exc

    def _explain(self, value: str, said: str) -> str:
        """Return what typer says of a value, whose bounds it writes as a formula."""
        least, most = getattr(self._then, "min", None), getattr(self._then, "max", None)
        if least is None and most is None:
            return said.rstrip(".")
        return f"{value} is not {least} or more" if most is None else f"{value} is not from {least} to {most}"

    def _name(self, param: Any, message: str, hint: str) -> UserError:
        name = name_parameter(param)
        shown = f"`{self.show(param)}`" if param.param_type_name == "option" else f"`{self._call}`"
        if name not in message:
            message = f"{name} {message}" if message.startswith("is ") else f"{name}: {message}"
        if hint.startswith("did you mean"):  # it says what to type already
            return UserError(message, hint=hint)
        return UserError(message, hint=f"for example: {shown}{f'; {hint}' if hint else ''}")

    def show(self, param: Any) -> str:
        """Return an option with a good value, as it is typed."""
        example = param.metavar if _NUMBER.fullmatch(param.metavar or "") else self._kind.example
        return f"{name_parameter(param)} {example}"


def show_option(command: Any, name: str) -> str:
    """Return the option of a command, or of the first one below it, that is called so, with a good value; or ""."""
    for param in command.params:
        if name in param.opts and isinstance(param.type, Look):
            return param.type.show(param)
    return next(filter(None, (show_option(below, name) for below in getattr(command, "commands", {}).values())), "")


def name_parameter(param: Any) -> str:
    """Return what people know an option or an argument by: `--storage`, `SNAPSHOT[:PATH]`."""
    if param.param_type_name == "option":
        return str(max(param.opts, key=len))
    return name_argument(param)


def name_argument(param: Any) -> str:
    """Return what the help calls an argument, without what says how often it may stand."""
    metavar = param.metavar or param.name.upper()
    if metavar[:1].isdigit() or metavar[1:2].isdigit():  # an example, which is no name
        return str(param.name).upper()
    inner = metavar[1:].partition("]")[0] if metavar.startswith("[") else metavar
    return str(inner.rstrip(".…"))


def look_at_values(command: Any, verb: str = "") -> None:
    """Have every parameter of a command, and of those below it, looked at.

    verb: the words that lead to the command, without the program.
    """
    for param in command.params:
        names = tuple(param.opts) if param.param_type_name == "option" else (name_argument(param),)
        kind = find_kind(verb, names)
        if kind is not None and not getattr(param, "is_flag", False):
            param.type = Look(param.type, kind, _write_call(command, verb))
    for name, below in getattr(command, "commands", {}).items():
        look_at_values(below, verb if name == ITSELF else f"{verb} {name}".strip())


def _write_call(command: Any, verb: str) -> str:
    """Return a whole call of a command with an example of each argument."""
    words = ["backup-peer", verb]
    for param in command.params:
        if param.param_type_name == "argument":
            kind = find_kind(verb, (name_argument(param),))
            words.append(kind.example if kind is not None else name_argument(param))
    return " ".join(words)


def _is_typed(param: Any, ctx: Any) -> bool:
    """Say whether a value was typed: what a verb takes without is its own matter."""
    return ctx is not None and getattr(ctx.get_parameter_source(param.name), "name", "") == _TYPED
