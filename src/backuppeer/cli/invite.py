"""`invite`: lead somebody to your slot and let them in; list what became of it, take it back."""

from collections.abc import Iterator
from typing import Annotated, Final

import typer

from backuppeer.cli.context import Context, context_of
from backuppeer.cli.render import Column, escape_line, format_count, format_moment, name_peer, shorten_request
from backuppeer.cli.screen import BOLD, GREEN, YELLOW, Screen
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_size, parse_size, read_span
from backuppeer.cli.work import View, read_event, run_work
from backuppeer.control.api import Nothing
from backuppeer.control.events import Event, EventName
from backuppeer.control.inviting import CodeToSay, InviteMade, InviteNamed, InviteRequest, InviteRow, InviteSpoken
from backuppeer.errors import InterruptedByUserError, UserError

_HELP: Final = (
    "Invite people to your slot.\n\nAn invite is a text that leads to it, and gives space there without a question. "
    "Whoever has the text can use it: it says nothing of who they are."
)
_CREATE: Final = (
    "Make an invite, as text and as a QR code.\n\nThe other person runs `backup-peer connect -` and pastes it. You are "
    "asked nothing more; what they want is given up to --storage."
)
_COLUMNS: Final = (
    Column("invite", keep=True),
    Column("name"),
    Column("state", keep=True),
    Column("used", "right", keep=True),
    Column("space", "right", keep=True),
    Column("until", keep=True),
)
_QUIET: Final = 2
"""Light modules around the code: half of what the standard wants, and enough for a camera in front of a screen."""
_BLOCKS: Final = " ▀▄█"
"""By the two modules that one character shows: none, the upper, the lower, both."""
_PAPER: Final = "30;107"
"""Black on white: cameras want dark modules on light ground, whatever the terminal's colours are."""

_Which = Annotated[str, typer.Argument(metavar="INVITE", help="Its id, the beginning of it, or its name.")]


def add_to(app: typer.Typer) -> None:
    """Add the verb and what may follow it."""
    group = typer.Typer(rich_markup_mode=None, invoke_without_command=True)
    group.callback(help=_HELP)(_default)
    group.command(name="create", help=_CREATE)(create)
    group.command(name="list", help="Show your invites, and who came by them.")(list_invites)
    group.command(name="revoke", help="Take an invite back; agreements that came of it stand.")(revoke)
    app.add_typer(group, name="invite")


def _default(ctx: typer.Context) -> int:
    return list_invites(ctx) if ctx.invoked_subcommand is None else 0


def create(
    ctx: typer.Context,
    *,
    storage: Annotated[str, typer.Option(metavar="20GB", help="Space for each who comes.")] = "",
    uses: Annotated[int, typer.Option(metavar="1", help="How many people may use it.")] = 1,
    expires: Annotated[str, typer.Option(metavar="24h", help="How long it can be used.")] = "",
    name: Annotated[str, typer.Option(metavar="alice", help="Whom it is for: your own name for who comes.")] = "",
    spoken: Annotated[bool, typer.Option("--spoken", help="Show a code to be said by telephone, once.")] = False,
) -> int:
    """Make an invite."""
    context = context_of(ctx)
    screen = context.screen
    if uses < 1:
        raise UserError("--uses is at least 1", hint="for example: `backup-peer invite create --uses 3`")
    request = InviteRequest(
        servers=context.servers(),
        storage=parse_size(storage) if storage else 0,
        uses=uses,
        expires_s=read_span(expires, "--expires") or 0,
        name=name,
    )
    if spoken:
        if expires:
            raise UserError("--expires is of an invite; a spoken code waits ten minutes", hint="leave it out")
        return _speak(context, request)
    made = context.client().call("invite/create", request, InviteMade)
    if not screen.json:
        _show(screen, made)
    screen.done(made)
    return 0


def _speak(context: Context, request: InviteRequest) -> int:
    """Show a code, and wait until it is said."""
    screen, shown = context.screen, list[CodeToSay]()
    with Spinner(screen) as spinner:

        def show(event: Event) -> None:
            if event.event == EventName.CODE:
                shown.append(read_event(event, CodeToSay))
                _show_code(screen, shown[-1])
                spinner.show("waiting until it is said … (Ctrl-C ends it)")

        view = View(screen, show)
        try:
            said = run_work(context.client(), "invite/speak", request, InviteSpoken, view=view)
        except KeyboardInterrupt:
            raise InterruptedByUserError("the code is over, and nothing was given") from None
    called, tick = name_peer(said.peer_id, said.alias), screen.paint("✓", GREEN)
    has = f"may have {format_size(said.storage_bytes)} here"
    if said.agreed_bytes:
        has = f"has {format_size(said.agreed_bytes)} here already: the code gives no more"
    screen.line(f"{tick} {called} said it: a friend now, who {has}", hang=2)
    screen.done(said)
    return 0


def _show_code(screen: Screen, told: CodeToSay) -> None:
    if screen.json:
        return
    code = escape_line(told.code)
    screen.aside("say this to the other person, by telephone or face to face, and to nobody else:")
    screen.aside("")
    screen.aside(f"    {screen.paint(code, BOLD)}")
    screen.aside("")
    screen.aside("  it is typed in place of CODE into `backup-peer connect CODE` on the other machine", hang=2)
    screen.aside(f"  it works once, until {format_moment(told.expires)[11:]}; a wrong word burns it", hang=2)


def _show(screen: Screen, made: InviteMade) -> None:
    for_whom = f" for {escape_line(made.name)}" if made.name else ""
    often = "once" if made.uses == 1 else f"{made.uses} times"
    slot = "your unlisted slot" if made.unlisted else "your slot"
    size = screen.paint(format_size(made.storage_bytes), BOLD)
    tick = screen.paint("✓", GREEN)
    screen.aside(f"{tick} an invite{for_whom} to {slot}: {size}, {often}, until {format_moment(made.expires)}")
    screen.aside("")
    if made.note:
        screen.aside(f"  {screen.paint('note', YELLOW)}  {escape_line(made.note)}", hang=8)
    screen.aside("  whoever has it can use it: give it to nobody else, by a way that nobody else reads", hang=2)
    screen.aside("  it is used by pasting it into `backup-peer connect -` on the other machine", hang=2)
    screen.aside(f"  to take it back: `backup-peer invite revoke {shorten_request(made.invite_id)}`", hang=2)
    if screen.out_is_terminal:
        _show_drawn(screen, made.invite)
    screen.line(made.invite)  # never wrapped: it is copied as it stands


def _show_drawn(screen: Screen, invite: str) -> None:
    """Draw the code. Only the text follows: with it, it fills a window of usual height, and no more can be seen."""
    rows = list(draw_code(invite, columns=screen.columns, is_inverted=not screen.has_color))
    needed = len(rows) + -(-len(invite) // screen.columns) + 1  # the prompt takes one
    if not rows:
        screen.aside("  a wider window shows a QR code, too", hang=2)
        return
    for row in rows:
        screen.line(screen.paint(row, _PAPER))
    if needed > screen.rows:
        screen.aside(f"  to scan the code, make the window taller: {needed} lines show all of it", hang=2)


def draw_code(text: str, *, columns: int, is_inverted: bool = False) -> Iterator[str]:
    """Return the rows of the QR code of an invite, two modules to a character; none where it would be too wide.

    is_inverted: light modules are drawn, for terminals without colours, which are dark most of the time.
    """
    import segno  # noqa: PLC0415 - 20 ms that only a terminal costs

    # In capitals: the code has a shorter way to write these, and they mean the same.
    code = segno.make_qr(text.upper(), error="l")
    rows = [[bool(module) is not is_inverted for module in row] for row in code.matrix_iter(border=_QUIET)]
    if len(rows[0]) > columns:
        return
    rows += [[is_inverted] * len(rows[0])] * (len(rows) % 2)
    for upper, lower in zip(rows[::2], rows[1::2], strict=True):
        yield "".join(_BLOCKS[top + 2 * bottom] for top, bottom in zip(upper, lower, strict=True))


def list_invites(ctx: typer.Context) -> int:
    """Show all invites and who came."""
    context = context_of(ctx)
    screen = context.screen
    rows = context.client().call("invite", Nothing(), list[InviteRow])
    if screen.json:
        screen.value(rows)
        return 0
    if not rows:
        screen.line("no invites; `backup-peer invite create` makes one", hang=0)
        return 0
    screen.table(_COLUMNS, [_cells(row) for row in rows])
    for row in rows:
        for use in row.used:
            what = "has space here" if use.agreed else "came, and has agreed to nothing yet"
            came = format_moment(use.time)
            screen.line(
                f"{shorten_request(row.invite_id)}: {name_peer(use.peer_id, use.alias)} {what} (since {came})", hang=2
            )
    return 0


def revoke(ctx: typer.Context, invite: _Which) -> int:
    """Take one invite back."""
    context = context_of(ctx)
    screen = context.screen
    row = context.client().call("invite/revoke", InviteNamed(servers=context.servers(), invite=invite), InviteRow)
    called = f" for {escape_line(row.name)}" if row.name else ""
    screen.line(f"{screen.paint('✓', GREEN)} invite {shorten_request(row.invite_id)}{called} is taken back")
    if stand := sum(use.agreed for use in row.used):
        screen.line(
            f"  {format_count(stand, 'agreement')} that came of it {'stands' if stand == 1 else 'stand'}: "
            "`backup-peer peers` shows with whom",
            hang=2,
        )
    screen.done(row)
    return 0


def _cells(row: InviteRow) -> list[str]:
    return [
        shorten_request(row.invite_id),
        escape_line(row.name) or "-",
        escape_line(row.state),
        f"{len(row.used)}/{row.uses}",
        format_size(row.storage_bytes),
        format_moment(row.expires),
    ]
