"""`host --move-store DIR`: have what is kept for others lie in another folder, or on another disk."""

from pathlib import Path

from backuppeer.cli.context import Context
from backuppeer.cli.render import escape_line, format_count
from backuppeer.cli.screen import GREEN
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_size
from backuppeer.cli.work import View, run_work
from backuppeer.control.api import Nothing
from backuppeer.control.ending import MovePlace, MoveRequest, MoveResult
from backuppeer.errors import BackupPeerError, InterruptedByUserError


def move_store(context: Context, directory: str) -> int:
    """Move the store, showing how far it is; an unfinished copy is taken up again by the same command."""
    screen, target = context.screen, str(Path(directory).expanduser().absolute())
    request = MoveRequest(servers=context.servers(), directory=target)
    try:
        with Spinner(screen) as spinner:
            view = View(screen, spinner=spinner, turning=True)
            result = run_work(context.client(), "host/move", request, MoveResult, view=view)
    except KeyboardInterrupt:
        raise _find_out(context, target) from None
    tick, place = screen.paint("✓", GREEN), escape_line(result.target)
    if result.source == result.target:
        screen.line(f"{tick} the store lies in {place} already: nothing to move", hang=2)
    elif result.renamed:
        screen.line(f"{tick} the store lies in {place} now, and is served from there", hang=2)
    else:
        copied = f"{format_size(result.bytes)} in {format_count(result.files, 'file')}"
        screen.line(f"{tick} the store lies in {place} now: {copied} copied and verified", hang=2)
    if not result.cleared:
        screen.note(f"what is left in {result.source} could not be removed: it is no store any more, remove it by hand")
    screen.done(result)
    return 0


def _find_out(context: Context, target: str) -> InterruptedByUserError:
    """Return what to tell whoever stopped: the switch can't be broken off, so only the agent knows where it lies."""
    try:
        with Spinner(context.screen) as spinner:
            spinner.show("looking where the store lies …")
            found = context.client().call("host/move/place", Nothing(), MovePlace)
    except (KeyboardInterrupt, BackupPeerError):
        return InterruptedByUserError(
            "stopped, and it is not known whether the store had been switched over",
            hint="the same command again goes on with what was copied, or says that it lies there already",
        )
    place = escape_line(found.directory)
    if Path(found.directory).resolve() == Path(target).resolve():
        left = "" if found.cleared else "; what is left of the old place is removed when the agent starts next"
        return InterruptedByUserError(
            f"stopped too late: the store had been switched over, all of it. It lies in {place} now, and is served "
            f"from there{left}",
            hint="nothing is left to do; `backup-peer host --move-store DIR` moves it back, if that was meant",
        )
    return InterruptedByUserError(
        f"stopped: the store lies in {place} as before, and is served from there",
        hint="the same command again goes on with what was copied; if it is not to move, remove what was copied",
    )
