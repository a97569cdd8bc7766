"""`dump`: a file of a snapshot to standard output, or a folder as a tar archive."""

from functools import partial
from typing import Annotated, Final

import typer

from backuppeer.cli.context import Context, context_of
from backuppeer.cli.ls import split_place
from backuppeer.cli.outlet import Outlet, StandardOutput, TargetFile
from backuppeer.cli.patience import Wait, waiting_time
from backuppeer.cli.render import escape_line, escape_name, format_count, format_moment
from backuppeer.cli.screen import GREEN, YELLOW, OutputClosed
from backuppeer.cli.selection import LatestOf
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_duration, format_size
from backuppeer.cli.work import View, read_event, run_bulk
from backuppeer.control.events import Event, EventName
from backuppeer.control.inspection import DumpRequest, DumpResult, DumpStart
from backuppeer.errors import BackupPeerError, ExitCode, InterruptedByUserError, LocalError, UserError

_HELP: Final = (
    "Write a file to standard output, a folder as a tar. Without PATH all of the snapshot; in the archive paths "
    "are whole but for the first slash. Every byte is verified before it is written; if the rest can't be had, the "
    "exit code says so and an archive is unreadable at its end."
)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="dump", help=_HELP)(dump)


def dump(
    ctx: typer.Context,
    place: Annotated[str, typer.Argument(metavar="SNAPSHOT[:PATH]", help="Id, prefix of 4 or more, or `latest`.")],
    *,
    target: Annotated[str, typer.Option(metavar="FILE", help="Write to this file, whole or not at all.")] = "",
    archive: Annotated[str, typer.Option(metavar="tar", help="A file as an archive, too, or a symlink.")] = "",
    wait: Wait = "",
    of_set: LatestOf = "",
) -> int:
    """Write the bytes, and say whether they are all."""
    context = context_of(ctx)
    screen = context.screen
    name, path = split_place(place)
    if screen.json and not target:
        raise UserError(
            "--json and the dump would both go to standard output", hint="write the dump to a file: --target FILE"
        )
    request = DumpRequest(servers=context.servers(), snapshot=name, path=path, archive=archive, set=of_set)
    request.wait_s = waiting_time(screen, wait)
    with TargetFile(target, replace=screen.yes) if target else StandardOutput(screen) as outlet:
        start, result = _Dump(context, outlet).run(request)
    if target:
        tick = screen.paint("!", YELLOW) if result.errors else screen.paint("✓", GREEN)
        what = f"{format_count(result.files, 'file')}, {format_size(result.bytes)}"
        screen.line(
            f"{tick} wrote {escape_name(result.path)} ({what}) of snapshot {escape_line(result.snapshot[:8])} of "
            f"{format_moment(start.time)} to {escape_name(target)} in {format_duration(result.seconds)}",
            hang=2,
        )
        screen.done(result)
    if result.errors:
        screen.note(f"{format_count(result.errors, 'entry', 'entries')} left out of the archive")
    return ExitCode.INCOMPLETE if result.errors else ExitCode.DONE


class _Dump:
    """One dump on its way into an outlet."""

    def __init__(self, context: Context, outlet: Outlet) -> None:
        self._context, self._outlet = context, outlet
        self._start: DumpStart | None = None

    def run(self, request: DumpRequest) -> tuple[DumpStart, DumpResult]:
        """Take all bytes.

        Raises:
            BackupPeerError: they are not all; if some were, the message says what became of them.

        """
        screen = self._context.screen
        try:
            with Spinner(screen) as spinner:
                view = View(screen, self._begin, spinner=spinner)
                client = self._context.client()
                write = partial(self._write, view)
                result = run_bulk(client, "dump", request, DumpResult, view=view, write=write)
        except KeyboardInterrupt:
            stopped = InterruptedByUserError("stopped", hint="run the same command again; it starts from the beginning")
            raise self._outlet.explain(stopped) from None
        except OutputClosed:
            raise
        except BackupPeerError as exc:
            if self._start is None:
                raise
            raise self._outlet.explain(exc) from exc
        if self._start is None:
            raise LocalError("the agent did not say what it dumps")
        return self._start, result

    def _write(self, view: View, data: memoryview) -> None:
        if isinstance(self._outlet, StandardOutput) and self._context.screen.out_is_terminal:
            view.hush()
        self._outlet.write(data)

    def _begin(self, event: Event) -> None:
        if event.event == EventName.START:
            start = read_event(event, DumpStart)
            if start.format == "tar":
                self._outlet.refuse_archive()
            self._start = start
