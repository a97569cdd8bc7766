"""Verbs with arguments of their own and, beside them, further verbs: `backup PATH` and `backup add`.

Knows: how typer finds a verb. Must not know: which verbs there are.
"""

from typing import Any, Final

from typer.core import TyperCommand, TyperGroup

ITSELF: Final = "\0"
"""Name of the verb itself among those that may follow it: no word of a command line can be this."""


class VerbGroup(TyperGroup):
    """A verb with arguments of its own and, beside them, further verbs."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take what is no further verb as the verb's own arguments."""
        return super().parse_args(ctx, args if args and args[0] in self.commands else [ITSELF, *args])


class VerbItself(TyperCommand):
    """The verb itself, which people know by the name of the group."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Return a context in the place of the group's, so that usage and hints name what was typed."""
        del info_name
        return super().make_context(parent.info_name, args, parent=parent.parent, **extra)
