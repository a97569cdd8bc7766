"""`doctor`: every link of the chain looked at, and which one is broken.

Knows: the order of looks, how a finding is shown. Must not know: how a link is looked at (`checkup` does).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import typer

from backuppeer import __version__
from backuppeer.agent.home.config import list_set_names
from backuppeer.agent.home.home import Home, write_private
from backuppeer.cli import homes
from backuppeer.cli.checkup import asking, far, here
from backuppeer.cli.checkup.findings import Finding, State, broken_by, choose_code, order
from backuppeer.cli.checkup.report import Cleaner, build_report, hide_named, read_log
from backuppeer.cli.context import Context, context_of
from backuppeer.cli.lan import say_unserved
from backuppeer.cli.render import escape_line, escape_name, format_count, shorten_id
from backuppeer.cli.screen import DIM, GREEN, RED, YELLOW, Screen
from backuppeer.cli.spinner import Spinner
from backuppeer.control.api import Nothing, PeerRow
from backuppeer.control.client import Client
from backuppeer.control.sessions import SessionRow
from backuppeer.errors import BackupPeerError, ExitCode, LocalError, UserError
from backuppeer.limits import DOCTOR_S

_LABEL: Final = 10
"""Width of the link's name before what was found."""
_HANG: Final = _LABEL + 2
_SIGNS: Final = {
    State.OK: ("✓", GREEN),
    State.WARNING: ("!", YELLOW),
    State.BROKEN: ("✗", RED),
    State.UNSEEN: ("?", YELLOW),
    State.NONE: ("·", DIM),
}
_ASKED: Final = {
    "server": "servers",
    "peer": "peers",
    "network": "the network",
    "backups": "backups",
    "alarms": "the agent",
}
_START: Final = "`backup-peer agent start`, then `backup-peer doctor` again"


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="doctor", help="Look at every link of the chain; say which one is broken.")(doctor)


def doctor(
    ctx: typer.Context,
    *,
    bundle: Annotated[
        str, typer.Option("--bundle", metavar="FILE", help="Write a report without secrets, for whoever helps.")
    ] = "",
    addresses: Annotated[
        bool, typer.Option("--addresses", help="With --bundle: leave names and addresses of peers in it.")
    ] = False,
) -> int:
    """Look at all; 0 if all is well, else the code of the first broken link, or 3 if something was not looked at."""
    context = context_of(ctx)
    screen, target = context.screen, _check_target(bundle, addresses=addresses)
    home = homes.find_home(context.options)
    findings, client = _look(context, home)
    if target is not None:
        _write_report(context, client, findings, target, is_open=addresses)
    if screen.json:
        screen.value(findings)
    else:
        _conclude(screen, findings)
    if target is not None:
        screen.aside(f"{escape_name(str(target))} is written: look at it before you send it to anybody")
    return choose_code(findings)


def _look(context: Context, home: Home) -> tuple[list[Finding], Client | None]:
    """Look at all, showing what is found as it comes; return that along the chain, and a client for an agent."""
    screen, questions = context.screen, asking.Questions()
    findings: list[Finding] = []

    def note(found: Finding) -> None:
        findings.append(found)
        _show(screen, found)

    with Spinner(screen) as spinner:
        way = _ask_servers(context, home, questions)  # first: all others may take as long, beside it
        for found in _examine_near(home):
            note(found)
        agent, client = _find_agent(home)
        for found in [*agent, *way.told]:
            note(found)
        if client is not None:
            client.proxy = way.proxy
            _ask_agent(client, home, way.servers, questions)
        for found in _hear(questions, spinner, screen):
            spinner.rest()
            note(found)
    return order(findings), client


def _examine_near(home: Home) -> Iterator[Finding]:
    """Look at what needs nobody else."""
    found = here.examine_home(home)
    yield found
    if not home.path.is_dir():
        return
    if found.code != ExitCode.NOT_FOUND:
        yield here.examine_identity(home)
    yield here.examine_settings(home)
    yield from here.examine_disks(home, None)


def _find_agent(home: Home) -> tuple[list[Finding], Client | None]:
    """Say whether an agent runs, and return a client for it: a look starts none, nor does it end one."""
    from backuppeer.cli.agents import client_of, ping_agent  # noqa: PLC0415 - subprocess

    if not home.path.is_dir() or not home.exists_identity:
        return [], None
    try:
        running = ping_agent(home)
    except BackupPeerError as exc:
        return [broken_by("agent", exc)], None
    if running is None:
        if (newer := here.examine_formats(home)) is not None:
            return [newer], None
        text = "not running: alarms, network, peers and backups were not looked at"
        return [Finding(link="agent", state=State.UNSEEN, text=text, fix=_START)], None
    if running.version != __version__:
        text = f"process {running.pid} is version {running.version}, this command is {__version__}"
        fix = f"`backup-peer agent stop`, then {_START}"
        return [Finding(link="agent", state=State.WARNING, text=text, fix=fix)], None
    text = f"runs, process {running.pid}, version {running.version}"
    return [Finding(link="agent", state=State.OK, text=text)], client_of(home)


class _Way(NamedTuple):
    """Servers and proxy of this command, and what is to be told where they are not known, or none."""

    servers: list[str]
    proxy: str | None
    told: list[Finding]


def _ask_servers(context: Context, home: Home, questions: asking.Questions) -> _Way:
    try:
        configured = homes.read_configured_servers(context.options, home)
        servers = homes.resolve_servers(context.options, configured)
        named = homes.named_proxy(context.options)
    except BackupPeerError as exc:
        text = f"which to use is not known: {exc.message}"
        return _Way([], None, [Finding(link="server", state=State.UNSEEN, text=text, fix=exc.hint)])
    proxy = homes.configured_proxy(home) if named is None else named
    if not servers:
        text = f"none is used: {say_unserved(home)}"
        return _Way([], proxy, [Finding(link="server", state=State.NONE, text=text)])
    questions.ask("server", asking.ask_servers(servers, proxy))
    return _Way(servers, proxy, [])


def _ask_agent(client: Client, home: Home, servers: Sequence[str], questions: asking.Questions) -> None:
    questions.ask("alarms", asking.ask_status(client, home))
    questions.ask("peer", asking.ask_peers(client))
    questions.ask("network", asking.ask_network(client, servers))
    questions.ask("backups", asking.ask_backups(client, home))


def _hear(questions: asking.Questions, spinner: Spinner, screen: Screen) -> Iterator[Finding]:
    """Yield findings as they come; the clock is last, as all others tell of it."""
    skews: list[float] = []
    spinner.show(_describe_waiting(questions.waiting))
    for answer in questions.answers():
        if isinstance(answer, Finding):
            yield answer
            if screen.is_live:  # elsewhere each word stays
                spinner.show(_describe_waiting(questions.waiting))
        else:
            skews.append(answer)
    yield far.judge_clock(skews)


def _describe_waiting(links: Sequence[str]) -> str:
    words = {
        "server": "servers",
        "peer": "peers",
        "network": "the network",
        "backups": "backups",
        "alarms": "the agent",
    }
    return f"asking {', '.join(words[link] for link in links)}: {DOCTOR_S:.0f} s at most …" if links else ""


def _show(screen: Screen, found: Finding) -> None:
    sign, style = _SIGNS[State(found.state)]
    name = f"{escape_line(found.name)}: " if found.name and found.link != "disk" else ""
    screen.line(f"{screen.paint(sign, style)} {found.link:<{_LABEL}}{name}{escape_line(found.text)}", hang=_HANG)
    if found.fix:
        screen.line(f"{'':<{_HANG}}→ {escape_line(found.fix)}", hang=_HANG + 2)


def _conclude(screen: Screen, findings: Sequence[Finding]) -> None:
    """Say in one line how all is."""
    broken = [found for found in findings if found.state == State.BROKEN]
    told = [found for found in findings if found.state == State.WARNING]
    unseen = [found for found in findings if found.state == State.UNSEEN]
    screen.line()
    if broken:
        first = f"{broken[0].link} {escape_line(broken[0].name)}".rstrip()
        ones = format_count(len(broken), "link is", "links are")
        screen.line(f"{ones} broken; begin with the first of the chain: {first}", hang=2)
    elif unseen:
        screen.line(f"nothing is broken of what was looked at; not looked at: {_list_links(unseen)}", hang=2)
    elif told:
        screen.line(f"nothing is broken; {format_count(len(told), 'thing')} to know (!)", hang=2)
    else:
        screen.line("all is well", hang=2)


def _list_links(findings: Sequence[Finding]) -> str:
    return ", ".join(dict.fromkeys(found.link for found in findings))


def _check_target(bundle: str, *, addresses: bool) -> Path | None:
    """Return where a report goes; it replaces nothing.

    Raises:
        UserError: something stands there, or addresses without a report.

    """
    if addresses and not bundle:
        raise UserError("--addresses is about a report", hint="`backup-peer doctor --bundle FILE --addresses`")
    if not bundle:
        return None
    target = Path(bundle).absolute()
    if target.exists():
        raise UserError(f"{escape_name(str(target))} exists", hint="name a file that does not: --bundle report.json")
    if not target.parent.is_dir():
        raise UserError(f"there is no folder {escape_name(str(target.parent))}", hint="make it first")
    return target


def _write_report(
    context: Context, client: Client | None, findings: Sequence[Finding], target: Path, *, is_open: bool
) -> None:
    """Write a report, for this user alone; also where the agent fell silent meanwhile.

    Raises:
        LocalError: it can't be written.

    """
    home = homes.find_home(context.options)
    names, sessions, told = _ask_peers(client) if client is not None else ({}, [], True)
    if not told:
        context.screen.note("the agent does not answer any more: what may name peers is left out of the report")
    for found in findings:
        if found.link == "peer" and found.name:
            names.setdefault(found.name, str(len(set(names.values())) + 1))
    sets = [*list_set_names(home), *(found.name for found in findings if found.link == "schedule")]
    cleaner = Cleaner(names, home=home.path, is_open=is_open, sets=sets)
    shown = findings if told or is_open else hide_named(findings)
    try:
        write_private(target, build_report(shown, sessions, read_log(home.logs / "agent.log"), cleaner))
    except OSError as exc:
        raise LocalError(f"{escape_name(str(target))} can't be written: {exc.strerror}", hint="name another") from exc


def _ask_peers(client: Client) -> tuple[dict[str, str], list[SessionRow], bool]:
    """Return how peers are called, each by its number, and the sessions; False: the agent says nothing any more."""
    names: dict[str, str] = {}
    try:
        rows = client.call("peers", Nothing(), list[PeerRow], timeout_s=DOCTOR_S)
        sessions = asking.list_sessions(client)
    except BackupPeerError:
        return {}, [], False
    for number, row in enumerate(rows, 1):
        names |= dict.fromkeys((row.alias, row.peer_id, shorten_id(row.peer_id)), str(number))
    return names, sessions, True
