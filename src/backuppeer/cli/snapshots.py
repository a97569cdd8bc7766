"""`snapshots`: which states of the files can be restored, and who keeps them."""

from typing import Annotated, Final

import typer

from backuppeer.cli.context import context_of
from backuppeer.cli.render import Column, escape_line, escape_name, format_moment
from backuppeer.cli.units import format_size
from backuppeer.control.api import SnapshotRow, SnapshotsRequest

_COLUMNS: Final = (
    Column("snapshot", keep=True),
    Column("time", keep=True),
    Column("files", "right", keep=True),
    Column("size", "right", keep=True),
    Column("peers", "right"),
    Column("paths"),
)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="snapshots", help="List your snapshots.")(snapshots)


def snapshots(
    ctx: typer.Context,
    tag: Annotated[str, typer.Option(help="Only those with this tag.")] = "",
    path: Annotated[str, typer.Option(help="Only those of this path.")] = "",
) -> int:
    """Show all snapshots, oldest first."""
    context = context_of(ctx)
    rows = context.client().call("snapshots", SnapshotsRequest(tag=tag, path=path), list[SnapshotRow])
    if context.screen.json:
        context.screen.value(rows)
    elif not rows:
        context.screen.line("no snapshots")
    else:
        context.screen.table(_COLUMNS, [_cells(row) for row in rows])
    return 0


def _cells(row: SnapshotRow) -> list[str]:
    if row.missing:
        return [escape_line(row.snapshot[:8]), "missing", "-", "-", "0", "lost or withheld by the hosts"]
    tags = f" [{', '.join(map(escape_line, row.tags))}]" if row.tags else ""
    return [
        escape_line(row.snapshot[:8]),
        format_moment(row.time),
        f"{row.files:,}",
        format_size(row.bytes),
        str(len(row.peers)),
        " ".join(map(escape_name, row.paths)) + tags,
    ]
