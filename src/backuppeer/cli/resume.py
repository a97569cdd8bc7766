"""`resume`: see `jobs`."""

import typer

from backuppeer.cli.steering import resume


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="resume", help="Let a paused job go on.")(resume)
