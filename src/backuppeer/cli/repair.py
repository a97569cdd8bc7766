"""`repair`: what `check --repair` does, by the name that people look for."""

from typing import Annotated, Final

import typer

from backuppeer.cli.check import check

_HELP: Final = (
    "Mend what a check finds: shows what it would do, and asks.\n\nWhat a host lost is sent to it again, from another "
    "host or from files that are still here; no data is deleted. Damage inside of packs shows only when they are read: "
    "say how much."
)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="repair", help=_HELP)(repair)


def repair(
    ctx: typer.Context,
    *,
    read_data: Annotated[bool, typer.Option("--read-data", help="Read and verify all that hosts hold first.")] = False,
    subset: Annotated[
        str, typer.Option("--read-data-subset", metavar="5%|n/t|SIZE", help="Read and verify a part of it first.")
    ] = "",
) -> int:
    """Check, ask and mend; as `check` with --repair."""
    return check(ctx, read_data=read_data, subset=subset, repair=True)
