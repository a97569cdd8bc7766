"""`recover`: an identity and its backups from the 24 words.

The words come from the terminal without echo, or from standard input with --yes; never from argv, which all can read.
"""

import shlex
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from backuppeer.cli import homes, succeeding
from backuppeer.cli.contacts import parse_contact, parse_host_id
from backuppeer.cli.context import Context, context_of
from backuppeer.cli.render import escape_line, escape_name, format_count, shorten_id
from backuppeer.cli.screen import GREEN, Screen
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.taking_over import plan_take_over, show_result
from backuppeer.cli.taking_over import take_over as carry_out
from backuppeer.cli.wording import decode_master, read_words
from backuppeer.cli.work import View, read_event, run_work
from backuppeer.control.client import Client
from backuppeer.control.events import Event, EventName, State
from backuppeer.control.recovering import RecoverRequest, RecoverResult
from backuppeer.control.succeeding import SuccessionPlan
from backuppeer.errors import ExitCode, UserError
from backuppeer.limits import SUCCESSION_STEPS

_HELP: Final = (
    "Bring identity and snapshots back from the 24 words.\n\nHosts leave word at signaling servers of where they are, "
    "which only the words find and open. One that did not (it is of an older version, or uses other servers: --server "
    "URL) is found while it is on offer, or where its person says it is: --peer.\n\nWith --check nothing is changed: "
    "it tries whether the words bring everything back.\n\nThis machine may then restore, and makes no backups: of "
    "two that did, one would undo the other's. With --take-over, also later, it becomes the one that makes them, and "
    "the one before stops.\n\nWas a machine of yours stolen? --new-identity takes over, too, and shuts out whoever has "
    "the old identity: hosts give it nothing any more. The words stay as they are."
)
_NEXT: Final = "next: `backup-peer snapshots`, then `backup-peer restore latest --target DIR`"
_ALONE: Final = (
    "if somebody does all the same: `backup-peer recover` again, once their host is on. Was the machine of before "
    "stolen or copied: `backup-peer recover --new-identity`"
)
_NEXT_SETS: Final = "next: `latest` alone is of the set that ran last; a set is restored by its name:"
_SETS: Final = 8
"""That are listed with a command each."""
_WENT_ON: Final = "this identity went on as another, which the words give: a host shows it, and this home follows"
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
        typer.Option(
            metavar="ID[@WHERE]",
            help="A host that keeps your backups; may be repeated. With WHERE, as `id --where` says it there, no "
            "server is needed.",
        ),
    ] = None,
    take_over: Annotated[  # noqa: FBT002 - a flag of the command line
        bool, typer.Option("--take-over", help="Make the backups here from now on; the machine before stops.")
    ] = False,
    new_identity: Annotated[  # noqa: FBT002 - a flag of the command line
        bool,
        typer.Option("--new-identity", help="For a stolen machine: take over, as an identity that its thief has not."),
    ] = False,
    everybody: Annotated[  # noqa: FBT002 - a flag of the command line
        bool, typer.Option("--all", help="Ask everybody on offer, also when hosts of yours left word.")
    ] = False,
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Try whether the words bring everything back; changes nothing.")
    ] = False,
) -> int:
    """Read the words, write the keys, let the agent find the hosts and rebuild the index; take over if wished."""
    context = context_of(ctx)
    request = _make_request(context, peer or [])
    request.all, request.check = everybody, check
    aims = [name for name, is_meant in (("--take-over", take_over), ("--new-identity", new_identity)) if is_meant]
    named = [*(f"--peer {text}" for text in peer or []), *aims]
    way = " ".join(["backup-peer recover", *(["--check"] if check else []), *named, "--yes"])
    if check and aims:
        raise UserError(f"--check changes nothing, and {aims[0]} does", hint="check first, without it")
    if check:
        return _check(context, request, way)
    return _recover(context, request, way, aims[-1] if aims else "")


def _recover(context: Context, request: RecoverRequest, way: str, aim: str) -> int:
    """Bring back what is not there yet, then take over, or take a new identity. aim: the option that says so, or ''."""
    plan_of = succeeding.plan_succession if aim == "--new-identity" else plan_take_over
    master: bytes | None = None
    plan = plan_of(context) if aim and context.home.exists_identity else None
    if plan is None or not plan.is_recovered:
        result, master = _bring_back(context, request, way)
        _advise(context.screen, result, aim)
        if not aim:
            context.screen.done(result)
            return 0
        plan = plan_of(context)

    def read_master() -> bytes:
        return master or decode_master(context.screen, read_words(context.screen, way))

    if isinstance(plan, SuccessionPlan):
        taken = succeeding.succeed(context, plan, read_master)
        succeeding.show_result(context, taken)
    else:
        taken = carry_out(context, plan, read_master)
        show_result(context, taken)
    context.screen.done(taken)
    return ExitCode.INCOMPLETE if taken.left_out else ExitCode.DONE


def _advise(screen: Screen, result: RecoverResult, aim: str) -> None:
    """Say what comes next. aim: the option that says what is done at once, or ''."""
    if not result.alone:
        _show_next(screen, result.sets)
    if not aim:
        screen.line(f"  {_ALONE if result.alone else _READ_ONLY}", hang=4)


def _show_next(screen: Screen, sets: Sequence[str]) -> None:
    """Say what brings everything back. sets: names, foreign: they come with the snapshots; "" for what is of none."""
    if len(sets) <= 1:
        screen.line(f"  {_NEXT}", hang=4)
        return
    screen.line(f"  {_NEXT_SETS}", hang=4)
    named = [name for name in sets if name]
    for name in named[:_SETS]:
        typed = escape_line(shlex.quote(name))
        screen.line(f"    `backup-peer restore latest --set {typed} --target DIR`", hang=6)
    left = [f"{len(named) - _SETS} more"] if len(named) > _SETS else []
    left += ["what is of no set"] if "" in sets else []
    if left:
        screen.line(f"    {' and '.join(left)}: `backup-peer snapshots` shows all", hang=6)


def _bring_back(context: Context, request: RecoverRequest, way: str) -> tuple[RecoverResult, bytes | None]:
    """Find identity and backups; return what the words stand for, too, where they were needed.

    An identity that went on as another is followed: a host shows where to, the words give it.
    """
    peer_id, master = _find_identity(context, way)
    for _ in range(SUCCESSION_STEPS + 1):
        context.screen.line(f"identity: {peer_id}")
        result = _find_backups(context, context.client(), request)
        if not result.succession:
            return result, master
        master = master or decode_master(context.screen, read_words(context.screen, way))
        peer_id = succeeding.follow(context.home, master, result.succession)
    raise _too_many_steps()


def _too_many_steps() -> UserError:
    return UserError(
        f"this identity went on as another more than {SUCCESSION_STEPS} times", hint="no further step is followed"
    )


def _make_request(context: Context, peers: list[str]) -> RecoverRequest:
    places = [parse_contact(text) for text in peers if "@" in text]
    ids = [place.peer_id for place in places] + [parse_host_id(text) for text in peers if "@" not in text]
    return RecoverRequest(servers=context.servers(), peers=ids, places=places)


def _check(context: Context, request: RecoverRequest, way: str) -> int:
    """Try the words in a home that is gone afterwards.

    Raises:
        UserError: no words, wrong ones, or those of another identity than the home's, where it has one.

    """
    from backuppeer.cli.rehearsal import judge, passing_home  # noqa: PLC0415 - only for this

    master = decode_master(context.screen, read_words(context.screen, way))
    if context.home.exists_identity:
        homes.check_words(context.home, master)
    with passing_home(master) as tried:
        peer_id = tried.peer_id
        for _ in range(SUCCESSION_STEPS + 1):
            context.screen.line(f"identity: {peer_id}")
            result = _find_backups(context, tried.client(), request)
            if not result.succession:
                code = judge(context.screen, result)
                context.screen.done(result)
                return code
            peer_id = tried.follow(result.succession)
    raise _too_many_steps()


def _find_backups(context: Context, client: Client, request: RecoverRequest) -> RecoverResult:
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
        result = run_work(client, "recover", request, RecoverResult, view=view)
    if result.succession:
        screen.aside(_WENT_ON, hang=2)
        for note in result.notes:
            screen.aside(f"  {escape_line(note)}", hang=4)
        return result
    if result.alone:
        screen.line(f"{tick} this machine keeps backups of others; nobody was found who keeps any of yours", hang=2)
    else:
        _show_found(screen, result, tick)
    for note in result.notes:
        screen.line(f"  {escape_line(note)}", hang=4)
    return result


def _show_found(screen: Screen, result: RecoverResult, tick: str) -> None:
    screen.line(
        f"{tick} found {format_count(result.snapshots, 'snapshot')} in {format_count(result.packs, 'pack')} "
        f"with {format_count(len(result.peers), 'peer')}",
        hang=2,
    )
    for row in result.witnesses:
        if row.heard:
            name = escape_name(row.alias) or shorten_id(row.peer_id)
            screen.line(f"  {name} holds {f'head {row.head}' if row.head else 'no backup yet'}", hang=4)


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
    text = read_words(screen, way)
    if known and not text.strip():
        return known, None
    master = decode_master(screen, text)
    return homes.recover_peer(home, master), master
