"""`recover`: an identity and its backups from the 24 words.

The words come from the terminal without echo, or from standard input with --yes; never from argv, which all can read.
"""

import getpass
import sys
from typing import Annotated, Final

import typer

from backuppeer.cli import homes
from backuppeer.cli.context import Context, context_of
from backuppeer.cli.render import escape_line, format_count
from backuppeer.cli.screen import GREEN, Screen
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.taking_over import plan_take_over, show_result
from backuppeer.cli.taking_over import take_over as carry_out
from backuppeer.cli.work import View, read_event, run_work
from backuppeer.control.api import RecoverRequest, RecoverResult
from backuppeer.control.events import Event, EventName, State
from backuppeer.errors import UserError
from backuppeer.ids import PEER_ID_CHARS, format_peer_id, parse_peer_id

_HELP: Final = (
    "Bring identity and snapshots back from the 24 words.\n\nHosts are found while they are on offer: ask one that is "
    "not listed to run `host` again, then recover again.\n\nThis machine may then restore, and makes no backups: of "
    "two that did, one would undo the other's. With --take-over, also later, it becomes the one that makes them, and "
    "the one before stops."
)
_MAX_WORDS_CHARS: Final = 1024
"""24 words of eight letters, with generous space between them."""
_TRIES: Final = 3
_READ_ONLY: Final = (
    "this home may only read; to make the backups here from now on: `backup-peer recover --take-over` (the other "
    "machine then stops)"
)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="recover", help=_HELP)(recover)


def recover(
    ctx: typer.Context,
    peer: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="A host that keeps your backups; may be repeated. Else all are asked."),
    ] = None,
    take_over: Annotated[  # noqa: FBT002 - a flag of the command line
        bool, typer.Option("--take-over", help="Make the backups here from now on; the machine before stops.")
    ] = False,
) -> int:
    """Read the words, write the keys, let the agent find the hosts and rebuild the index; take over if wished."""
    context = context_of(ctx)
    request = RecoverRequest(servers=context.servers(), peers=[_read_id(text) for text in peer or []])
    named = [f"--peer {text}" for text in request.peers] + (["--take-over"] if take_over else [])
    way = " ".join(["backup-peer recover", *named, "--yes"])
    plan = plan_take_over(context) if take_over and context.home.exists_identity else None
    if plan is None or not plan.is_recovered:
        peer_id, master = _find_identity(context, way)
        context.screen.line(f"identity: {peer_id}")
        result = _find_backups(context, request)
        if not take_over:
            context.screen.line(f"  {_READ_ONLY}", hang=4)
            context.screen.done(result)
            return 0
        plan = plan_take_over(context)
    else:
        master = None
    taken = carry_out(context, plan, lambda: master or _decode_words(context.screen, _read_words(context.screen, way)))
    show_result(context, taken)
    context.screen.done(taken)
    return 0


def _find_backups(context: Context, request: RecoverRequest) -> RecoverResult:
    """Let the agent find the hosts and rebuild the index, and say what was found."""
    screen = context.screen
    tick = screen.paint("✓", GREEN)

    def on_event(event: Event) -> None:
        if event.event == EventName.STATE and not screen.json:
            said = read_event(event, State)
            if said.state == "connected":
                screen.aside(f"{tick} {escape_line(said.text)}")

    with Spinner(screen) as spinner:
        view = View(screen, on_event, spinner=spinner, turning=True)
        result = run_work(context.client(), "recover", request, RecoverResult, view=view)
    screen.line(
        f"{tick} found {format_count(result.snapshots, 'snapshot')} in {format_count(result.packs, 'pack')} "
        f"with {format_count(len(result.peers), 'peer')}",
        hang=2,
    )
    for note in result.notes:
        screen.line(f"  {escape_line(note)}", hang=4)
    screen.line("  next: `backup-peer snapshots`, then `backup-peer restore latest --target DIR`", hang=4)
    return result


def _read_id(text: str) -> str:
    """Return a host's id as it was given, checked before anything is made.

    Raises:
        UserError: it is none.

    """
    if "@" in text:
        raise UserError(
            "a host is named by its id alone: where it is, the signaling servers say",
            hint="give --peer ID, and --server URL for a server that the host uses",
        )
    if text.lower().startswith("bp1") and len(text) < PEER_ID_CHARS:
        raise UserError(
            f"{text!r} is only the start of an id, and a new home knows none that it could stand for",
            hint=f"give all {PEER_ID_CHARS} characters: its person sees them with `id`; or leave --peer out",
        )
    return format_peer_id(parse_peer_id(text))


def _find_identity(context: Context, way: str) -> tuple[str, bytes | None]:
    """Return the peer id that the words give back, and what they stand for; a recovery that goes on needs none.

    way: the command that takes them without a terminal.

    Raises:
        UserError: no words, wrong ones, or those of another identity than the home's.

    """
    screen, home = context.screen, context.home
    known = homes.read_peer(home) if home.is_read_only else ""
    if known and (screen.can_ask or not screen.yes):
        screen.aside("this home has its identity already: the recovery goes on without the words")
        return known, None
    homes.check_writable(home)
    text = _read_words(screen, way)
    if known and not text.strip():
        return known, None
    master = _decode_words(screen, text)
    return homes.recover_peer(home, master), master


def _decode_words(screen: Screen, text: str) -> bytes:
    """Return what the words stand for; who mistypes one at a terminal may type them again.

    Raises:
        UserError: wrong each time.

    """
    from backuppeer.crypto.words import decode_words  # noqa: PLC0415 - crypto libraries

    for _ in range(_TRIES - 1 if screen.can_ask else 0):
        try:
            return decode_words(text)
        except UserError as exc:
            screen.aside(f"  {escape_line(exc.message)}: {escape_line(exc.hint)}; once more", hang=4)
        text = _ask_words(screen)
    return decode_words(text)


def _read_words(screen: Screen, way: str) -> str:
    if screen.can_ask:
        return _ask_words(screen)
    if screen.yes:
        return sys.stdin.read(_MAX_WORDS_CHARS)
    raise UserError(
        "there is no terminal to read the words from",
        hint=f"pipe them in with --yes: `{way} < words.txt`; never as arguments",
    )


def _ask_words(screen: Screen) -> str:
    try:
        return getpass.getpass("your 24 words (not shown): ")
    except KeyboardInterrupt:
        # The terminal shows ^C behind the question: what comes next starts on a line of its own.
        screen.aside("")
        raise
