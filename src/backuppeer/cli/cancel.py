"""`cancel`: see `jobs`."""

import typer

from backuppeer.cli.steering import cancel


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="cancel", help="End a job, as Ctrl-C at its terminal would.")(cancel)
