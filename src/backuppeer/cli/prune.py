"""`prune`: have hosts delete what no snapshot needs any more. Plan, question, work."""

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
import typer

from backuppeer.cli.context import Context, context_of
from backuppeer.cli.render import Column, escape_line, format_count, format_moment
from backuppeer.cli.screen import GREEN, Screen
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_duration, format_size, parse_share, parse_size
from backuppeer.cli.work import View, run_work
from backuppeer.control.pruning import PruneHost, PrunePlan, PruneRequest, PruneResult
from backuppeer.errors import DeclinedError, ExitCode, IncompleteError, InterruptedByUserError, UserError
from backuppeer.limits import PRUNE_UNUSED_PERMILLE

_HELP: Final = (
    "Have hosts delete what no snapshot needs any more.\n\nPacks that nothing needs go as they are; of those that are "
    "needed in part the most wasteful are packed anew, which sends what is still needed to each host. A host erases "
    "when the lock of its agreement is over; until then what was deleted counts as used, and could be taken back. What "
    "backups that broke off have sent, and no snapshot needs, is erased at once where no list named it. Backups can be "
    "made meanwhile."
)
_COLUMNS: Final = (Column("host", keep=True), Column("frees", "right", keep=True), Column("erased"), Column("when"))
_UNLIMITED: Final = "unlimited"
_EXAMPLES: Final = "for example 5%, 2GB, or unlimited"


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="prune", help=_HELP)(prune)


def prune(
    ctx: typer.Context,
    *,
    max_unused: Annotated[
        str, typer.Option(metavar="5%|SIZE|unlimited", help="Waste that may stay beside what is needed.")
    ] = "5%",
    max_repack_size: Annotated[
        str, typer.Option(metavar="SIZE", help="Send no more than this to each host.", show_default=False)
    ] = "",
    repack_small: Annotated[bool, typer.Option("--repack-small", help="Join small packs, too.")] = False,
    keep_unfinished: Annotated[
        bool, typer.Option("--keep-unfinished", help="Leave what a backup that broke off has sent, to go on from.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would go; change nothing.")] = False,
) -> int:
    """Show the plan, ask, and have the agent do it."""
    context = context_of(ctx)
    request = PruneRequest(servers=context.servers(), repack_small=repack_small, keep_unfinished=keep_unfinished)
    request.max_unused_permille, request.max_unused_bytes = read_unused(max_unused)
    request.max_repack_bytes = parse_size(max_repack_size) if max_repack_size else None
    result = carry_out(context, request, dry_run=dry_run)
    context.screen.done(result)
    if not dry_run:
        check_told(result)
    return ExitCode.DONE


def carry_out(
    context: Context, request: PruneRequest, *, dry_run: bool = False, is_agreed: bool = False, event: str = "plan"
) -> PruneResult:
    """Plan, show, ask unless that was done, prune, and tell; `event`: what a line of JSON with the plan is called.

    Raises:
        DeclinedError: the person said no.
        BackupPeerError: nothing was pruned.

    """
    screen, client = context.screen, context.client()
    try:
        with Spinner(screen) as spinner:
            plan = run_work(client, "prune/plan", request, PrunePlan, view=View(screen, spinner=spinner))
        screen.event(event, msgspec.to_builtins(plan))
        show_plan(screen, plan)
        if dry_run or not has_work(plan):
            screen.line(f"would {_describe(plan)}" if has_work(plan) else "nothing to prune")
            return _as_result(plan)
        if not is_agreed and not screen.confirm(f"{_describe(plan)}?", unanswered=f"it would {_describe(plan)}"):
            raise DeclinedError("nothing was pruned: you said no")
        request.agreed = True
        with Spinner(screen) as spinner:
            result = run_work(client, "prune", request, PruneResult, view=View(screen, spinner=spinner))
    except KeyboardInterrupt:
        raise InterruptedByUserError("stopped; nothing was lost, and `backup-peer prune` begins anew") from None
    _tell(screen, result)
    return result


def check_told(result: PruneResult) -> None:
    """Say by name which hosts delete nothing yet, when there was something to tell.

    Raises:
        IncompleteError: there are some.

    """
    if not result.left_out or not result.peers:
        return
    names = ", ".join(escape_line(host.name) for host in result.left_out)
    raise IncompleteError(
        f"not told yet: {names}",
        hint="nothing else has to be done: the next backup or prune that reaches them tells them",
    )


def read_unused(text: str) -> tuple[int, int | None]:
    """Return (permille, bytes or None) of `--max-unused`.

    Raises:
        UserError: neither a share below all, a size, nor `unlimited`.

    """
    if text.strip().lower() == _UNLIMITED:
        return 1000, None
    if text.strip("0 ").isdigit():
        raise UserError(f"--max-unused {text}: per cent, or bytes?", hint=_EXAMPLES)
    try:
        if not text.strip().endswith("%"):
            return PRUNE_UNUSED_PERMILLE, parse_size(text)
        permille = round(parse_share(text) * 1000)
    except UserError as exc:
        raise UserError(f"--max-unused: neither a share nor a size: {text[:40]!r}", hint=_EXAMPLES) from exc
    if permille >= 1000:
        raise UserError(f"--max-unused {text}: all of it can't be waste", hint=_EXAMPLES)
    return permille, None


def has_work(plan: PrunePlan) -> bool:
    """Say whether a prune would change anything."""
    return bool(plan.delete_packs or plan.repack_packs or any(host.packs for host in plan.hosts))


def show_plan(screen: Screen, plan: PrunePlan) -> None:
    """Show what goes, what is sent, and what each host will have free, when."""
    if screen.json:
        return
    screen.line(f"of {format_count(plan.packs, 'pack')} with {format_size(plan.bytes)}:")
    screen.line(f"  delete      {plan.delete_packs:>7,}  {format_size(plan.delete_bytes)} that no snapshot needs")
    if plan.unfinished_packs:
        sent = f"{format_size(plan.unfinished_bytes)} that backups which broke off have sent: deleted, too"
        screen.line(f"  unfinished  {plan.unfinished_packs:>7,}  {sent}", hang=23)
    if plan.unlisted_packs:
        kept = f"{format_size(plan.unlisted_bytes)} that hosts keep and no list names: at once, or with their lock"
        screen.line(f"  unlisted    {plan.unlisted_packs:>7,}  {kept}", hang=23)
    if plan.repack_packs:
        moved = f"{format_size(plan.move_bytes)} of it needed, and sent to each host; about {_gain(plan)} are won"
        screen.line(f"  pack anew   {plan.repack_packs:>7,}  {format_size(plan.repack_bytes)}, {moved}", hang=23)
    waste = f"with {format_size(plan.unused_bytes)} of waste, beside padding" if plan.unused_bytes else "all needed"
    screen.line(f"  keep        {plan.kept_packs:>7,}  {waste}")
    if plan.held_back:
        stay = "stay" if plan.held_back > 1 else "stays"
        why = "the hosts have no room for what would be sent" if plan.is_room_short else "of --max-repack-size"
        screen.note(f"{format_count(plan.held_back, 'more wasteful pack')} {stay} because {why}")
    if any(host.packs for host in plan.hosts):
        screen.line()
        screen.table(_COLUMNS, [row for host in plan.hosts if host.packs for row in _rows(host)])
    _explain_doubled(screen, plan.hosts)
    for host in plan.left_out:
        screen.note(f"{host.name}: {host.reason}; it is told later")


def _explain_doubled(screen: Screen, hosts: Sequence[PruneHost]) -> None:
    """Say why some keep it longer than was agreed."""
    names = [escape_line(host.name) for host in hosts if host.doubled]
    if names:
        screen.note(
            f"{' and '.join(names)}: kept for twice the lock, as more than a tenth of what lies there is deleted in a "
            "week: with your keys a thief could ask for that, too"
        )


def _gain(plan: PrunePlan) -> str:
    """Return what packing anew wins: waste and padding, but for the padding of the new packs."""
    return format_size(max(0, plan.repack_bytes - plan.move_bytes))


def _rows(host: PruneHost) -> list[list[str]]:
    """Return a row for what a host erases at once, one for what may be, and one for what has to wait for its lock."""
    name, later_bytes = escape_line(host.name), host.bytes - host.at_once_bytes - host.unclear_bytes
    after = "at once" if not host.lock_s else f"after {format_duration(host.lock_s)}"
    rows = []
    if host.at_once_bytes:
        rows.append([name, format_size(host.at_once_bytes), "at once", "" if host.told else "when it is told"])
    if host.unclear_bytes:
        either = "at once" if not host.lock_s else f"at once, or {after}"
        rows.append([name, format_size(host.unclear_bytes), either, "it says so when it is told"])
    if later_bytes or not rows:
        when = f"{format_moment(host.until)} at the soonest" if host.told else "counted from when it is told"
        rows.append([name, format_size(later_bytes), after, when])
    return rows


def _describe(plan: PrunePlan) -> str:
    parts = [f"delete {format_count(plan.delete_packs, 'pack')}"] if plan.delete_packs else []
    if plan.unfinished_packs:
        parts.append(f"erase {format_size(plan.unfinished_bytes)} of backups that broke off")
    if plan.unlisted_packs:
        parts.append(f"have hosts delete {format_size(plan.unlisted_bytes)} that no list names")
    if plan.repack_packs:
        parts.append(f"pack {format_count(plan.repack_packs, 'pack')} anew")
    if not parts:
        parts = ["have hosts delete packs that are in no list any more"]
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]


def _as_result(plan: PrunePlan) -> PruneResult:
    """Return what would be done, or that nothing is to be done."""
    return PruneResult(
        deleted_packs=plan.delete_packs,
        repacked_packs=plan.repack_packs,
        kept_packs=plan.kept_packs,
        unfinished_packs=plan.unfinished_packs,
        freed_bytes=plan.delete_bytes + plan.repack_bytes + plan.unfinished_bytes + plan.unlisted_bytes,
        sent_bytes=0,
        seconds=0.0,
        hosts=plan.hosts,
        left_out=plan.left_out,
        unfinished_bytes=plan.unfinished_bytes,
        unlisted_packs=plan.unlisted_packs,
        unlisted_bytes=plan.unlisted_bytes,
    )


def _tell(screen: Screen, result: PruneResult) -> None:
    tick = screen.paint("✓", GREEN)
    deleted = result.deleted_packs + result.unfinished_packs + result.unlisted_packs
    done = f"{format_count(deleted, 'pack')} deleted"
    whose = "that no list named" if result.unlisted_packs else "of backups that broke off"
    if result.repacked_packs:
        done += f", {format_count(result.repacked_packs, 'pack')} packed anew ({format_size(result.sent_bytes)} sent)"
    screen.line(f"{tick} {done}, {result.kept_packs:,} kept, in {format_duration(result.seconds)}", hang=2)
    for host in result.hosts:
        name, later_bytes = escape_line(host.name), host.bytes - host.at_once_bytes
        if host.at_once_bytes:
            screen.line(f"  {name} has erased {format_size(host.at_once_bytes)} {whose}", hang=2)
        if host.told and later_bytes:
            screen.line(f"  {name} erases {format_size(later_bytes)}{_say_when(host)}", hang=2)
    _explain_doubled(screen, result.hosts)
    for untold in result.left_out:
        screen.note(f"{untold.name} was not told: {untold.reason}")


def _say_when(host: PruneHost) -> str:
    if not host.lock_s:
        return " now"
    return f" when {format_duration(host.lock_s)} have passed there: {format_moment(host.until)} at the soonest"
