"""`unblock`: see `block`."""

import typer

from backuppeer.cli.block import add_unblock_to


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    add_unblock_to(app)
