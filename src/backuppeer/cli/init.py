"""`init`: a new identity, and the 24 words that bring it back. The words are shown once and never stored."""

import secrets
from collections.abc import Callable
from typing import Annotated, Final

import typer

from backuppeer.cli import homes
from backuppeer.cli.context import Context, context_of
from backuppeer.cli.screen import BOLD, Screen
from backuppeer.errors import InterruptedByUserError, UserError

_COLUMNS: Final = 4
_CELL_CHARS: Final = 17
"""A number, a word of eight letters at most, and the gap to the next column."""
_GAP_CHARS: Final = 4
_ASKED: Final = 2
_TRIES: Final = 3
_VOID: Final = "nothing was created, and the 24 words above are void"
_AGAIN: Final = "cross them out; `backup-peer init` shows new ones"


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="init", help="Create this peer's identity and show its 24 words.")(init)


def init(
    ctx: typer.Context,
    kit: Annotated[
        str, typer.Option("--kit", metavar="FILE", help="Also write a page to print, with the words: FILE.html.")
    ] = "",
) -> int:
    """Make words, have them noted down, write the keys."""
    from backuppeer.crypto.words import encode_words, generate_master  # noqa: PLC0415 - crypto libraries

    context = context_of(ctx)
    screen = context.screen
    write_kit = _plan_kit(context, kit)
    if context.home.exists_identity:
        raise UserError(
            f"{context.home.path} already has an identity",
            hint="use another folder with --home DIR, or see `backup-peer id`; nothing was changed",
        )
    if not screen.yes and not screen.can_ask:
        raise UserError(
            "init must know that the words were noted, and there is no terminal to ask on",
            hint="add --yes, and keep the words that it prints",
        )
    homes.check_writable(context.home)
    master = generate_master()
    words = encode_words(master)
    _show_words(screen, words.split())
    if not screen.yes:
        screen.line()
        _check_noted(screen, words.split())
    peer_id = _create(context, master)
    screen.line()
    screen.line(f"{screen.paint('✓', '32')} this peer is {screen.paint(peer_id, BOLD)}")
    write_kit(peer_id, words.split())
    if screen.out_is_terminal:
        screen.line("  the words still stand above: clear this terminal, with what can be scrolled back to", hang=4)
    screen.line("  next: `backup-peer browse` to find a host, or `backup-peer host --storage 50GB` to be one", hang=4)
    screen.done({"peer_id": peer_id, "words": words})
    return 0


def _create(context: Context, master: bytes) -> str:
    """Write the identity; return its peer id.

    Raises:
        UserError: another command was faster.

    """
    try:
        return homes.create_peer(context.home, master)
    except UserError as exc:
        raise UserError(
            f"{exc.message}, made meanwhile by another command: the 24 words above are void",
            hint="cross them out; those that the other `init` showed are the right ones, if it said that it was done",
        ) from exc


def _plan_kit(context: Context, file: str) -> Callable[[str, list[str]], None]:
    """Return what writes the kit, having checked that it can be written: afterwards the words are gone.

    Raises:
        UserError: something is there already, or no folder for it is.

    """
    if not file:
        return lambda _, __: None
    from backuppeer.cli.kit import check_target, first_kit, say_written, write_kit  # noqa: PLC0415 - QR codes

    target = check_target(file)

    def write(peer_id: str, words: list[str]) -> None:
        made = first_kit(peer_id, words, context.servers())
        write_kit(target, made)
        say_written(context, target, made)

    return write


def _show_words(screen: Screen, words: list[str]) -> None:
    fitting = (screen.columns + _GAP_CHARS) // _CELL_CHARS if screen.out_is_terminal else _COLUMNS
    rows = -(-len(words) // min(_COLUMNS, fitting))
    screen.line("These 24 words are the only way back to your backups if this machine is lost.")
    screen.line("Write them on paper, in order. They are shown now and never again.")
    screen.line()
    for row in range(rows):
        cells = (f"{number + 1:>4} {words[number]:<12}" for number in range(row, len(words), rows))
        screen.line("".join(cells).rstrip())


def _check_noted(screen: Screen, words: list[str]) -> None:
    """Ask for two of the words: who can type them from paper has noted them.

    Raises:
        UserError: three wrong answers; nothing has been written.
        InterruptedByUserError: Ctrl-C; nothing has been written.

    """
    screen.aside(
        "Now type two of them from your paper, not from the screen: that shows whether it can be read one day.",
        hang=0,
    )
    asked = sorted(secrets.SystemRandom().sample(range(len(words)), _ASKED))
    for number in asked:
        for _ in range(_TRIES):
            if _read_word(screen, number + 1) == words[number]:
                break
            screen.aside("  that is not the word")
        else:
            raise UserError(f"the words were not noted; {_VOID}", hint=_AGAIN)


def _read_word(screen: Screen, number: int) -> str:
    """Ask for one word until something is typed; an empty line is no answer."""
    answer = ""
    while not answer and not screen.input_ended:
        try:
            answer = screen.read_answer(f"word {number}, from your paper: ").strip().lower()
        except KeyboardInterrupt:
            raise InterruptedByUserError(f"stopped; {_VOID}", hint=_AGAIN) from None
    return answer
