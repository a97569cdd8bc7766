"""Groups of options that several verbs take, or that would make one verb's function too long.

Knows: signatures of functions, which are command lines to typer. Must not know: what any option means.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, get_type_hints

T = TypeVar("T")


def takes(group: Callable[..., object], into: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Return a decorator that gives a verb the options of `group`, whose value it gets as the argument `into`."""
    extra = inspect.signature(group).parameters

    def decorate(verb: Callable[..., T]) -> Callable[..., T]:
        @wraps(verb)
        def with_group(*args: Any, **given: Any) -> T:
            mine = {name: given.pop(name) for name in extra if name in given}
            return verb(*args, **given, **{into: group(**mine)})

        own = [parameter for parameter in inspect.signature(verb).parameters.values() if parameter.name != into]
        hints = get_type_hints(verb, include_extras=True) | get_type_hints(group, include_extras=True)
        del with_group.__wrapped__  # typer would look behind it
        with_group.__signature__ = inspect.Signature([*own, *extra.values()])  # type: ignore[attr-defined] # read by inspect
        with_group.__annotations__ = {name: hint for name, hint in hints.items() if name != into}
        return with_group

    return decorate
