"""`check`: look for damage, here and with every host; with `--repair` mend it."""

import re
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
import typer

from backuppeer.cli.context import Context, context_of
from backuppeer.cli.render import escape_line, format_count, format_moment, name_peer
from backuppeer.cli.screen import GREEN, RED, YELLOW, Screen
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_duration, format_size, parse_size
from backuppeer.cli.work import View, run_work
from backuppeer.control.checking import CheckedHost, CheckRequest, CheckResult, RepairRequest, RepairResult
from backuppeer.errors import (
    DeclinedError,
    ExitCode,
    IncompleteError,
    IntegrityFault,
    InterruptedByUserError,
    PeerUnreachable,
    UserError,
)

_HELP: Final = (
    "Check that all snapshots can be restored.\n\nLooked at are: what this machine knows, what each host says it "
    "holds, that all folders open and everything in them is somewhere. What hosts hold is read only if you say how "
    "much: they keep each pack for a time, and only reading it proves that it is whole. What was read when is "
    "remembered, and what was not read for longest comes first, so that a part each week covers all of it in time."
)
_PERCENT: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?) ?%")
_PART: Final = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")
_RATHER: Final = "write it like 5%, 2/10 (the second of ten parts), or 500MB"


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="check", help=_HELP)(check)


def check(
    ctx: typer.Context,
    *,
    read_data: Annotated[bool, typer.Option("--read-data", help="Read and verify all that hosts hold.")] = False,
    subset: Annotated[
        str, typer.Option("--read-data-subset", metavar="5%|n/t|SIZE", help="Read and verify a part of it.")
    ] = "",
    snapshot: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Only what this one needs, or `latest`; may be repeated.")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what can be: shows what it would do, and asks.")
    ] = False,
) -> int:
    """Check, tell, and with --repair ask and mend.

    Raises:
        IntegrityFault: something is damaged or missing; `done` was told before.
        PeerUnreachable: no host could be asked.
        IncompleteError: some could not.

    """
    context = context_of(ctx)
    request = read_subset(subset, read_data=read_data)
    request.servers, request.snapshots = context.servers(), snapshot or []
    result = _run(context, request)
    if repair and result.repairs:
        result = _repair(context, result)
    show(context.screen, result)
    if repair and not result.repairs and result.problems:
        context.screen.note("there is nothing that a repair could do about this")
    return report(context, result, is_repaired=repair)


def report(context: Context, result: CheckResult, *, is_repaired: bool) -> int:
    """Tell what came of it, and return the exit code.

    Raises:
        BackupPeerError: as `check`.

    """
    context.screen.done(result)
    return _end(result, is_repaired=is_repaired)


def read_subset(text: str, *, read_data: bool) -> CheckRequest:
    """Return a request for the share that `--read-data-subset` names.

    Raises:
        UserError: it names none, or --read-data stands beside it.

    """
    if not text:
        return CheckRequest(read_data=read_data)
    if read_data:
        raise UserError("--read-data reads all: leave out --read-data-subset", hint=_RATHER)
    if match := _PERCENT.fullmatch(text):
        percent = float(match[1])
        if 0 < percent <= 100:
            return CheckRequest(percent=percent)
    elif match := _PART.fullmatch(text):
        part, parts = int(match[1]), int(match[2])
        if 1 <= part <= parts:
            return CheckRequest(part=part, parts=parts)
    else:
        size_bytes = parse_size(text)
        if size_bytes:
            return CheckRequest(most_bytes=size_bytes)
    raise UserError(f"not a part of the data: {text[:40]!r}", hint=_RATHER)


def _run(context: Context, request: CheckRequest) -> CheckResult:
    try:
        with Spinner(context.screen) as spinner:
            return run_work(context.client(), "check", request, CheckResult, view=View(context.screen, spinner=spinner))
    except KeyboardInterrupt:
        raise InterruptedByUserError(
            "stopped; what was verified until now is remembered", hint="the same command goes on with what is left"
        ) from None


def _repair(context: Context, found: CheckResult) -> CheckResult:
    """Show what would be done, ask, do it, and check again without reading.

    Raises:
        DeclinedError: a no.

    """
    screen = context.screen
    screen.event("plan", msgspec.to_builtins(found))
    _show_problems(screen, found)
    screen.line("a repair would")
    for action in found.repairs:
        screen.line(f"  - {escape_line(action.text)}", hang=4)
    if found.snapshots_hit:
        names = ", ".join(name[:8] for name in found.snapshots_hit)
        screen.line(f"  snapshots that are not whole stay in the list: {names}", hang=4)
    if not screen.confirm("repair this? No data is deleted", unanswered="a repair changes things"):
        raise DeclinedError("nothing was changed: you said no")
    request = RepairRequest(servers=context.servers(), actions=[action.action for action in found.repairs])
    try:
        with Spinner(screen) as spinner:
            done = run_work(context.client(), "repair", request, RepairResult, view=View(screen, spinner=spinner))
    except KeyboardInterrupt:
        raise InterruptedByUserError(
            "stopped; what was mended stays so", hint="`backup-peer check --repair` goes on with the rest"
        ) from None
    screen.event("repaired", msgspec.to_builtins(done))
    for text in done.done:
        screen.line(f"{screen.paint('✓', GREEN)} {escape_line(text)}", hang=2)
    return _run(context, CheckRequest(servers=context.servers()))


def show(screen: Screen, result: CheckResult) -> None:
    """Tell a person what was found."""
    if screen.json:
        return
    _show_problems(screen, result)
    tick = screen.paint("!", YELLOW) if result.problems or result.left_out else screen.paint("✓", GREEN)
    counted = f"{format_count(result.snapshots, 'snapshot')}, {format_count(result.packs, 'pack')}"
    screen.line(f"{tick} checked {counted} in {format_duration(result.seconds)}", hang=2)
    if result.read_copies:
        screen.line(f"  read {format_size(result.read_bytes)} in {_copies(result.read_copies)}", hang=2)
    for host in result.hosts:
        screen.line(f"  {_describe_host(host)}", hang=4)
    # Whoever lost what it kept gets nothing by a backup: that is a problem of its own, and has a repair.
    failed = {problem.peer_id for problem in result.problems}
    if any(host.reached and host.lacking and host.peer_id not in failed for host in result.hosts):
        screen.hint("`backup-peer backup` sends what a host lacks")


def _show_problems(screen: Screen, result: CheckResult) -> None:
    for problem in result.problems:
        screen.line(f"{screen.paint('✗', RED)} {escape_line(problem.text)}", hang=2)


def _describe_host(host: CheckedHost) -> str:
    name = name_peer(host.peer_id, host.alias)
    if not host.reached:
        return f"{name}: not asked, as it can't be reached"
    parts = [f"{name}: {_copies(host.copies)}"]
    parts += [f"{host.missing} lost"] if host.missing else []
    parts += [f"{host.damaged} wrong"] if host.damaged else []
    if host.lacking:
        parts.append(f"lacks {format_count(host.lacking, 'pack')} ({format_size(host.lacking_bytes)}) that others have")
    if not host.copies:
        return ", ".join(parts)
    if host.unread == host.copies:
        parts.append("none was ever read back: see --read-data-subset")
    else:
        parts.append(f"{host.unread} never read back" if host.unread else "all read back")
        parts.append(f"the oldest reading is of {format_moment(host.oldest_verified)}")
    return ", ".join(parts)


def _copies(count: int) -> str:
    return format_count(count, "copy", "copies")


def _end(result: CheckResult, *, is_repaired: bool) -> int:
    if result.problems:
        raise IntegrityFault(
            _summarise([problem.text for problem in result.problems]), hint=_advise(result, is_repaired)
        )
    names = "; ".join(f"{host.name}: {host.reason}" for host in result.left_out)
    hint = "run the same check again when they are back"
    if result.left_out and not any(host.reached for host in result.hosts):
        raise PeerUnreachable(f"no host could be asked ({names}); this machine's part is in order", hint=hint)
    if result.left_out:
        raise IncompleteError(f"what could be checked is whole, but not all could ({names})", hint=hint)
    return ExitCode.DONE


def _summarise(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{len(texts)} problems were found, the first: {texts[0]}"


def _advise(result: CheckResult, is_repaired: bool) -> str:  # noqa: FBT001 - one caller
    if result.repairs and not is_repaired:
        return "`backup-peer check --repair` shows what it can mend, and asks"
    if result.snapshots_hit or any(problem.about == "packs" for problem in result.problems):
        return (
            "`backup-peer backup` of the same folders sends again what is unchanged in them; a snapshot that stays "
            "incomplete is taken out with `backup-peer forget`"
        )
    return "`backup-peer backup` brings hosts level; see `backup-peer peers` for what is known of them"
