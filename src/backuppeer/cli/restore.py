"""`restore`: bring files of a snapshot back into a folder."""

import os
from pathlib import Path
from typing import Annotated

import typer

from backuppeer.cli.context import Context, context_of
from backuppeer.cli.ls import split_place
from backuppeer.cli.render import escape_name, format_count
from backuppeer.cli.screen import GREEN, YELLOW, Screen
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_duration, format_size
from backuppeer.cli.work import View, run_work
from backuppeer.control.api import RestoreRequest, RestoreResult
from backuppeer.errors import DeclinedError, ExitCode, InterruptedByUserError, UserError


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="restore", help="Bring files back from your hosts.")(restore)


def restore(
    ctx: typer.Context,
    snapshot: Annotated[str, typer.Argument(metavar="SNAPSHOT[:PATH]", help="Id, prefix of 4 or more, or `latest`.")],
    *,
    target: Annotated[str, typer.Option(metavar="DIR", help="Folder to restore into; the full path is kept below it.")],
    tag: Annotated[str, typer.Option(help="With `latest`: of those with this tag.")] = "",
) -> int:
    """Restore, and name what is missing."""
    context = context_of(ctx)
    screen = context.screen
    name, path = split_place(snapshot)
    folder = Path(os.path.abspath(target))  # noqa: PTH100 - links in the target are the person's own
    request = RestoreRequest(
        servers=context.servers(),
        snapshot=name,
        path=path,
        target=os.fspath(folder),
        tag=tag,
        overwrite=_may_overwrite(screen, folder),
    )
    result = _run(context, request)
    tick = screen.paint("!", YELLOW) if result.errors else screen.paint("✓", GREEN)
    screen.line(
        f"{tick} restored {format_count(result.files, 'file')}, {format_size(result.bytes)} "
        f"to {escape_name(result.target)} in {format_duration(result.seconds)}",
        hang=2,
    )
    screen.done(result)
    if result.errors:
        screen.note(f"{format_count(result.errors, 'file')} could not be restored")
    return ExitCode.INCOMPLETE if result.errors else ExitCode.DONE


def _run(context: Context, request: RestoreRequest) -> RestoreResult:
    """Have the agent do it.

    Raises:
        InterruptedByUserError: Ctrl-C.

    """
    client = context.client()
    try:
        with Spinner(context.screen) as spinner:
            return run_work(client, "restore", request, RestoreResult, view=View(context.screen, spinner=spinner))
    except KeyboardInterrupt:
        raise InterruptedByUserError(
            f"stopped; finished files stay in {request.target}",
            hint="run the same command again; it asks before it replaces files",
        ) from None


def _may_overwrite(screen: Screen, folder: Path) -> bool:
    """Ask before files may be replaced: whenever the target is a folder with something in it.

    Raises:
        DeclinedError: the person said no.
        UserError: the target is no folder, or nobody is there to ask.

    """
    try:
        with os.scandir(folder) as entries:
            if next(entries, None) is None:
                return False
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise UserError(f"can't restore into {folder}: {exc.strerror}", hint="name a folder with --target DIR") from exc
    shown = escape_name(str(folder))
    if not screen.confirm(
        f"{shown} is not empty: replace files that stand in the way?", unanswered=f"{folder} is not empty"
    ):
        raise DeclinedError("nothing was restored: you said no", hint="name an empty folder with --target DIR")
    return True
