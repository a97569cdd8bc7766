"""`completion`: the script by which a shell completes command lines, and what that script asks at each Tab."""

from dataclasses import replace
from importlib.resources import files
from typing import Annotated, Final

import typer
from typer.main import get_command

from backuppeer.cli.agents import client_of
from backuppeer.cli.context import Context, context_of
from backuppeer.cli.main import VERBS, build_app
from backuppeer.cli.options import hoist_options
from backuppeer.cli.suggesting import Known, Suggestion, Suggestions, suggest
from backuppeer.control.api import Nothing, PeerRow, SnapshotRow, SnapshotsRequest
from backuppeer.errors import BackupPeerError, UserError
from backuppeer.limits import COMPLETION_S

SHELLS: Final = ("bash", "zsh", "fish")
_HELP: Final = (
    "Print the script by which your shell completes commands.\n\n"
    "For bash: `backup-peer completion bash >> ~/.bash_completion`\n\n"
    "For zsh: `backup-peer completion zsh > ~/.zfunc/_backup-peer`, after `mkdir -p ~/.zfunc`, with `fpath+=~/.zfunc` "
    "before `compinit` in ~/.zshrc\n\n"
    "For fish: `backup-peer completion fish > ~/.config/fish/completions/backup-peer.fish`"
)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="completion", help=_HELP)(completion)


def completion(
    ctx: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="bash|zsh|fish", help="Your shell.")] = None,
    at: Annotated[int, typer.Option(min=0, hidden=True, metavar="N", help="Which word is completed.")] = 0,
) -> int:
    """Print a script, or what fits at one place."""
    if at:
        # What can't be known now is not there to be chosen; a terminal in the middle of a line takes no message.
        context = context_of(ctx)
        context.screen.text(_write(_suggest(context, words or [], at)))
        return 0
    if words is None or len(words) != 1 or words[0] not in SHELLS:
        raise UserError(f"say for which shell: {', '.join(SHELLS)}", hint="for example: `backup-peer completion bash`")
    script = (files("backuppeer.cli") / "shells" / f"completion.{words[0]}").read_text()
    screen = context_of(ctx).screen
    if screen.json:
        screen.event("done", {"shell": words[0], "script": script})
    else:
        screen.text(script)
    return 0


def _suggest(context: Context, words: list[str], at: int) -> Suggestions:
    before, current = words[: at - 1], "".join(words[at - 1 : at])
    front, rest = hoist_options(before)
    if "--home" in front[:-1]:  # what is listed is that home's
        context = Context(replace(context.options, home=front[front.index("--home") + 1]), context.screen)
    verb = next((word for word in rest if word in VERBS), "")
    app = get_command(build_app(context.screen, verb))
    return suggest(app, before, current, Known(lambda: _list_peers(context), lambda: _list_snapshots(context)))


def _list_peers(context: Context) -> list[Suggestion]:
    try:
        rows = client_of(context.home).call("peers", Nothing(), list[PeerRow], timeout_s=COMPLETION_S)
    except BackupPeerError:
        return []
    return [Suggestion(row.alias or row.peer_id, f"{row.role}, {row.trust_level}") for row in rows]


def _list_snapshots(context: Context) -> list[Suggestion]:
    try:
        rows = client_of(context.home).call("snapshots", SnapshotsRequest(), list[SnapshotRow], timeout_s=COMPLETION_S)
    except BackupPeerError:
        return []
    return [Suggestion(row.snapshot[:8], f"{row.time} {' '.join(row.paths)}") for row in reversed(rows)]


def _write(found: Suggestions) -> str:
    lines = [found.files.value, *(f"{_plain(each.word)}\t{_plain(each.about)}" for each in found.words)]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Return one line without anything that a terminal would obey: names of peers and folders come from anywhere."""
    return "".join(char if char.isprintable() else " " for char in text)
