"""`host --move-store DIR`: have what is kept for others lie in another folder, or on another disk."""

from pathlib import Path

from backuppeer.cli.context import Context
from backuppeer.cli.render import escape_line, format_count
from backuppeer.cli.screen import GREEN
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_size
from backuppeer.cli.work import View, run_work
from backuppeer.control.ending import MoveRequest, MoveResult
from backuppeer.errors import InterruptedByUserError


def move_store(context: Context, directory: str) -> int:
    """Move the store, showing how far it is; an unfinished copy is taken up again by the same command."""
    screen, target = context.screen, str(Path(directory).expanduser().absolute())
    request = MoveRequest(servers=context.servers(), directory=target)
    try:
        with Spinner(screen) as spinner:
            view = View(screen, spinner=spinner, turning=True)
            result = run_work(context.client(), "host/move", request, MoveResult, view=view)
    except KeyboardInterrupt:
        raise InterruptedByUserError(
            "stopped: until the last moment the store stays where it was, and is served from there",
            hint="the same command again goes on with what was copied, or says that it was done",
        ) from None
    tick, place = screen.paint("✓", GREEN), escape_line(result.target)
    if result.renamed:
        screen.line(f"{tick} the store lies in {place} now, and is served from there", hang=2)
    else:
        copied = f"{format_size(result.bytes)} in {format_count(result.files, 'file')}"
        screen.line(f"{tick} the store lies in {place} now: {copied} copied and verified", hang=2)
    if not result.cleared:
        screen.note(f"what is left in {result.source} could not be removed: it is no store any more, remove it by hand")
    screen.done(result)
    return 0
