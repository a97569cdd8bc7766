"""`diff`: what changed from one snapshot to another."""

from typing import Annotated, Final

import msgspec
import typer

from backuppeer.cli.context import context_of
from backuppeer.cli.ls import split_place
from backuppeer.cli.render import escape_line, escape_name, format_count
from backuppeer.cli.screen import GREEN, RED, YELLOW, Screen
from backuppeer.cli.selection import LatestOf
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_size
from backuppeer.cli.work import View, read_rows, run_work
from backuppeer.control.events import Event, EventName
from backuppeer.control.inspection import DiffRequest, DiffResult, DiffRow

_HELP: Final = (
    "Compare two snapshots, or a place in each. + added, - removed, M content changed, T now of another type, and with "
    "--metadata U only metadata changed. Of two different places, paths are told from these on."
)
_COLORS: Final = {"+": GREEN, "-": RED}
_Place = Annotated[str, typer.Argument(metavar="SNAPSHOT[:PATH]", help="Id, prefix of 4 or more, or `latest`.")]


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="diff", help=_HELP)(diff)


def diff(
    ctx: typer.Context,
    old: _Place,
    new: _Place,
    *,
    metadata: Annotated[bool, typer.Option("--metadata", help="Tell of changed modes, owners and times, too.")] = False,
    of_set: LatestOf = "",
) -> int:
    """Show what differs, then how much."""
    context = context_of(ctx)
    screen = context.screen
    (old_name, old_path), (new_name, new_path) = split_place(old), split_place(new)
    request = DiffRequest(
        servers=context.servers(),
        old=old_name,
        old_path=old_path,
        new=new_name,
        new_path=new_path,
        metadata=metadata,
        set=of_set,
    )

    def take(event: Event) -> None:
        if event.event == EventName.ROWS:
            for row in read_rows(event, DiffRow):
                _show(screen, row)

    with Spinner(screen) as spinner:
        view = View(screen, take, spinner=spinner)
        result = run_work(context.client(), "diff", request, DiffResult, view=view)
    _sum_up(screen, result, is_named=metadata)
    screen.done(result)
    return 0


def _show(screen: Screen, row: DiffRow) -> None:
    if screen.json:
        screen.event("change", msgspec.to_builtins(row))
        return
    mark = escape_line(row.change)
    style = _COLORS.get(row.change, YELLOW)
    shown = screen.paint(mark, style) if screen.out_is_terminal else mark
    end = "/" if row.kind == "dir" else ""
    was = f"  (was: {escape_line(row.old_kind)}, is: {escape_line(row.kind)})" if row.change == "T" else ""
    screen.line(f"{shown}    {escape_name(row.path)}{end}{was}")


def _sum_up(screen: Screen, result: DiffResult, *, is_named: bool) -> None:
    counts = {
        "files": {"new": result.files_added, "removed": result.files_removed, "changed": result.files_changed},
        "folders": {"new": result.dirs_added, "removed": result.dirs_removed},
        "others": {"new": result.others_added, "removed": result.others_removed, "changed": result.others_changed},
        "metadata": {"changed": result.metadata_changed},
    }
    told = {name: group for name, group in counts.items() if any(group.values())}
    if not told:
        screen.line("no differences")
        return
    if told.keys() == {"metadata"} and not is_named:
        entries = format_count(result.metadata_changed, "entry", "entries")
        screen.line(f"no differences but in the metadata of {entries}: --metadata names them")
        return
    screen.line()
    for name, group in told.items():
        more = " (--metadata names them)" if name == "metadata" and not is_named else ""
        screen.line(f"{name + ':':<10}{', '.join(f'{count:,} {what}' for what, count in group.items())}{more}")
    screen.line(f"{'bytes:':<10}{format_size(result.added_bytes)} added, {format_size(result.removed_bytes)} removed")
