"""`find`: in which snapshots something lies."""

import os
import time
from typing import Annotated, Final

import msgspec
import typer

from backuppeer.cli.context import Context, context_of
from backuppeer.cli.ls import describe_entry
from backuppeer.cli.render import encode_line, escape_line, escape_name, format_count, format_moment
from backuppeer.cli.screen import BOLD, Screen
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import parse_moment, parse_size
from backuppeer.cli.work import View, read_rows, run_work
from backuppeer.control.events import Event, EventName
from backuppeer.control.inspection import FindRequest, FindResult, FindRow
from backuppeer.errors import IntegrityFault, UserError
from backuppeer.limits import LS_ROWS

_HELP: Final = (
    "Look for names in all snapshots, newest first. A pattern is a glob (* ? [a-z]) for a whole name, or with a slash "
    "in it for a whole path, in which * also stands for slashes; quote it."
)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="find", help=_HELP)(find)


def find(  # noqa: PLR0913 - one parameter per option
    ctx: typer.Context,
    patterns: Annotated[list[str], typer.Argument(metavar="PATTERN…", help="What to look for; any of them.")],
    *,
    ignore_case: Annotated[bool, typer.Option("--ignore-case", "-i", help="Upper case is lower case.")] = False,
    snapshot: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Only in this one, or `latest`; may be repeated.")
    ] = None,
    of_path: Annotated[str, typer.Option("--path", metavar="DIR", help="Only in snapshots of this path.")] = "",
    tag: Annotated[str, typer.Option(help="Only in snapshots with this tag.")] = "",
    of_set: Annotated[str, typer.Option("--set", metavar="NAME", help="Only in those of this backup set.")] = "",
    host: Annotated[str, typer.Option(metavar="NAME", help="Only in those of this machine.")] = "",
    kind: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="TYPE", help="file, dir, symlink, fifo, chardev or blockdev; may be repeated."),
    ] = None,
    newer: Annotated[str, typer.Option(metavar="TIME", help="Modified since, as 2026-11-22 or 30d.")] = "",
    older: Annotated[str, typer.Option(metavar="TIME", help="Modified before.")] = "",
    min_size: Annotated[str, typer.Option(metavar="SIZE", help="Files of at least this size.")] = "",
    max_size: Annotated[str, typer.Option(metavar="SIZE", help="Files of at most this size.")] = "",
    long: Annotated[bool, typer.Option("--long", "-l", help="With mode, owner, size and time, as `ls`.")] = False,
) -> int:
    """Show the matches under their snapshots."""
    context, now_s = context_of(ctx), time.time()
    request = FindRequest(
        servers=context.servers(),
        patterns=patterns,
        ignore_case=ignore_case,
        snapshots=snapshot or [],
        tag=tag,
        set=of_set,
        host=host,
        path=os.path.abspath(of_path) if of_path else "",  # noqa: PTH100 - as `backup` writes it down
        kinds=kind or [],
        newer_ns=parse_moment(newer, now_s) if newer else None,
        older_ns=parse_moment(older, now_s) if older else None,
        min_bytes=parse_size(min_size) if min_size else None,
        max_bytes=parse_size(max_size) if max_size else None,
    )
    return _search(context, request, long=long)


def _search(context: Context, request: FindRequest, *, long: bool) -> int:
    screen = context.screen
    rows = _Array(screen) if screen.json else _Groups(screen, long=long)
    with Spinner(screen) as spinner:
        view = View(screen, rows.take, spinner=spinner, quiet=True)
        result = run_work(context.client(), "find", request, FindResult, view=view)
    rows.end(result)
    if result.unreadable:
        raise IntegrityFault(
            f"{format_count(result.unreadable, 'folder')} could not be searched: came back wrong or not at all",
            hint="the others were; a host that returns wrong data is named in `backup-peer peers`",
        )
    return 0


class _Groups:
    """Shows matches as they come, those of a snapshot under a line that names it."""

    def __init__(self, screen: Screen, *, long: bool) -> None:
        self._screen, self._long = screen, long
        self._shown = ""

    def take(self, event: Event) -> None:
        """Show rows."""
        if event.event == EventName.ROWS:
            for row in read_rows(event, FindRow):
                self._show(row)

    def end(self, result: FindResult) -> None:
        """Say that nothing was found."""
        if not result.matches:
            self._screen.line(f"nothing like that in {format_count(result.snapshots, 'snapshot')}")

    def _show(self, row: FindRow) -> None:
        if row.snapshot != self._shown:
            gap = "\n" if self._shown else ""
            title = f"snapshot {escape_line(row.snapshot[:8])} of {format_moment(row.time)}"
            painted = self._screen.paint(title, BOLD) if self._screen.out_is_terminal else title
            self._screen.line(f"{gap}{painted}")
            self._shown = row.snapshot
        self._screen.line(f"  {describe_entry(row) if self._long else escape_name(row.path)}")


class _Array:
    """Keeps matches for one JSON array, each as the text that it will be there."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._texts: list[str] = []

    def take(self, event: Event) -> None:
        """Keep rows.

        Raises:
            UserError: too many to be kept.

        """
        if event.event == EventName.ROWS:
            self._texts += [encode_line(msgspec.to_builtins(row)) for row in read_rows(event, FindRow)]
            if len(self._texts) > LS_ROWS:
                raise UserError(
                    f"more than {LS_ROWS} matches", hint="narrow it, for example with --snapshot latest, or omit --json"
                )

    def end(self, _: FindResult) -> None:
        """Print the array."""
        self._screen.text(f"[{','.join(self._texts)}]\n")
