"""`audit`: how your hosts have proven that they keep what they said, and with --now an audit at once."""

from collections.abc import Iterator
from typing import Annotated, Final

import typer

from backuppeer.agent.home.home import PROOFS
from backuppeer.cli.context import Context, context_of
from backuppeer.cli.render import Column, escape_line, escape_name, format_count, format_moment, name_peer, shorten_id
from backuppeer.cli.screen import GREEN, RED, YELLOW, Screen
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_duration, format_share, format_size
from backuppeer.cli.work import View, run_work
from backuppeer.control.auditing import AuditedHost, AuditRequest, AuditResult, DrilledHost, DrillResult
from backuppeer.control.proven import AuditRow
from backuppeer.errors import ExitCode, IncompleteError, InterruptedByUserError, PeerUnreachable, UserError

HELP: Final = (
    "Show how your hosts proved that they keep your data.\n\nThe agent audits each host about once a day: it asks for "
    "random pieces of what lies there, and the host signs what it shows; within a month each pack gets its turn. With "
    "--now it asks at once for all that is due and one piece more, and where a stranger's cap holds for one of "
    "each pack, so that more may lie there. A host that lost or changed something is named, what it lost is sent again "
    "by the next backup, and where its own signatures convict it a proof is written. "
    "`config set audits off` ends the daily audits."
)
MORE: Final = (
    "Proofs: `audit verify-proof FILE` judges one, `audit rebut FILE` answers one. A host whose name is one of these "
    "words is named by its id."
)
_COLUMNS: Final = (
    Column("host", keep=True),
    Column("last audit", keep=True),
    Column("all shown", keep=True),
    Column("proven in 30 d", "right", keep=True),
    Column("of", "right", keep=True, spare=True),
    Column("owing", "right", keep=True),
    Column("next audit", keep=True, spare=True),
)
_STATES: Final = {"deaf": "can't be audited: its program is an older version"}


def audit(
    ctx: typer.Context,
    peers: Annotated[
        list[str] | None, typer.Argument(metavar="[PEER]...", help="Only these hosts: id, prefix or alias.")
    ] = None,
    *,
    now: Annotated[bool, typer.Option("--now", help="Audit at once, and say what came of it.")] = False,
    bulk: Annotated[
        bool, typer.Option("--bulk", help="Have this month's large sample read: 1 % of all, at most 1 GiB of a host.")
    ] = False,
    drill: Annotated[
        bool, typer.Option("--drill", help="Restore random files, 256 MiB at most, from each host alone; compare.")
    ] = False,
) -> int:
    """Show how hosts stand, or audit them.

    Raises:
        IncompleteError: some host could not be heard; `done` was told before.
        PeerUnreachable: none could.

    """
    context = context_of(ctx)
    if now + bulk + drill > 1:
        raise UserError("--now, --bulk and --drill ask for different things", hint="run them one after the other")
    request = AuditRequest(servers=context.servers(), peers=peers or [], bulk=bulk)
    if drill:
        return _drill(context, request)
    if not now and not bulk:
        return _show_hosts(context, context.client().call("audit/hosts", request, list[AuditRow]))
    result = _run(context, request)
    return report(context, result)


def report(context: Context, result: AuditResult | DrillResult) -> int:
    """Tell what came of it, and return the exit code.

    Raises:
        BackupPeerError: as `audit`.

    """
    screen = context.screen
    for line in _describe(screen, result) if isinstance(result, AuditResult) else _describe_drills(screen, result):
        screen.line(line, hang=4)
    screen.done(result)
    return _end(result)


def _show_hosts(context: Context, rows: list[AuditRow]) -> int:
    screen = context.screen
    if screen.json:
        screen.value(rows)
        return 0
    screen.table(_COLUMNS, [_cells(row) for row in rows])
    for row in rows:
        name = name_peer(row.peer_id, row.alias)
        if row.state == "caught":
            alarm = screen.paint("✗", RED)
            screen.line(f"{alarm} {name}, {format_moment(row.fault_time)}: {escape_line(row.fault)}", hang=2)
        elif row.state in _STATES:
            screen.line(f"{screen.paint('!', YELLOW)} {name} {_STATES[row.state]}", hang=2)
    proofs = context.home.path / PROOFS
    if any(row.state == "caught" for row in rows) and any(proofs.glob("*.proof")):
        screen.line(f"  proofs, for anybody to judge, lie in {escape_name(str(proofs))}", hang=2)
    if any(row.state == "never" for row in rows):
        screen.hint("`backup-peer audit --now` asks at once")
    return 0


def _cells(row: AuditRow) -> list[str]:
    return [
        escape_line(row.alias) or shorten_id(row.peer_id),
        format_moment(row.audited) or "never",
        format_moment(row.proven) or "never",
        format_share(row.proven_bytes / row.stored_bytes) if row.stored_bytes else "-",
        format_size(row.stored_bytes) if row.stored_bytes else "-",
        str(row.owed),
        format_moment(row.next) or "-",
    ]


def _run(context: Context, request: AuditRequest) -> AuditResult:
    try:
        with Spinner(context.screen) as spinner:
            return run_work(context.client(), "audit", request, AuditResult, view=View(context.screen, spinner=spinner))
    except KeyboardInterrupt:
        raise InterruptedByUserError(
            "stopped; what was shown until now counts as proven", hint="the same command goes on with what is due"
        ) from None


def _describe(screen: Screen, result: AuditResult) -> Iterator[str]:
    left_out = {left.peer_id: left.reason for left in result.left_out}
    for host in result.hosts:
        yield _describe_host(screen, host, left_out.get(host.peer_id, ""))
        for proof in host.proofs:
            yield f"    a proof of it, for anybody to judge: {escape_name(proof)}"
    if result.shown:
        yield f"  {format_size(result.shown_bytes)} verified in {format_duration(result.seconds)}"


def _describe_host(screen: Screen, host: AuditedHost, reason: str) -> str:
    name = name_peer(host.peer_id, host.alias)
    if host.faults:
        return f"{screen.paint('✗', RED)} {name}: {'; '.join(map(escape_line, host.faults))}"
    if host.deaf:
        return f"{screen.paint('!', YELLOW)} {name} {_STATES['deaf']}"
    if host.skipped:
        return f"{screen.paint('!', YELLOW)} {name}: {escape_line(host.skipped)}"
    if reason and not host.asked:
        return f"{screen.paint('!', YELLOW)} {name} could not be heard: {escape_line(reason)}"
    shown = f"showed {host.shown} of {format_count(host.asked, 'sample')}"
    if reason:
        return f"{screen.paint('!', YELLOW)} {name}: {shown}, then: {escape_line(reason)}"
    more = f", owes {host.owed}, and is asked again" if host.owed else ""
    more += ", and answers no more today" if host.over_budget else ""
    is_all = host.shown == host.asked and not host.owed and not host.over_budget
    return f"{screen.paint('✓', GREEN) if is_all else screen.paint('!', YELLOW)} {name}: {shown}{more}"


def _drill(context: Context, request: AuditRequest) -> int:
    try:
        with Spinner(context.screen) as spinner:
            view = View(context.screen, spinner=spinner)
            result = run_work(context.client(), "audit/drill", request, DrillResult, view=view)
    except KeyboardInterrupt:
        raise InterruptedByUserError("stopped; what was restored for the drill is deleted") from None
    return report(context, result)


def _describe_drills(screen: Screen, result: DrillResult) -> Iterator[str]:
    yield from (_describe_drill(screen, host) for host in result.hosts)


def _describe_drill(screen: Screen, host: DrilledHost) -> str:
    name, count = name_peer(host.peer_id, host.alias), format_count(host.files, "file")
    if host.failed:
        return f"{screen.paint('✗', RED)} {name}: {count} came back as saved, {host.failed} did not"
    rest = f"; it does not keep {host.absent} more that were drawn" if host.absent else ""
    mark = screen.paint("!", YELLOW) if host.absent else screen.paint("✓", GREEN)
    return f"{mark} {name}: {count} ({format_size(host.bytes)}) came back as saved{rest}"


def _end(result: AuditResult | DrillResult) -> int:
    if not result.left_out:
        return ExitCode.DONE
    names = "; ".join(f"{left.name}: {left.reason}" for left in result.left_out)
    hint = "run it again when they are back; the agent asks by itself, too"
    heard = {host.peer_id for host in result.hosts} - {left.peer_id for left in result.left_out}
    if not heard:
        raise PeerUnreachable(f"no host could be heard ({names})", hint=hint)
    raise IncompleteError(f"not all hosts could be heard ({names})", hint=hint)
