"""`pause`: see `jobs`."""

import typer

from backuppeer.cli.steering import pause


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="pause", help="Let a job read and send nothing until `resume`.")(pause)
