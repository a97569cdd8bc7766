"""`peers replace`: have everything at another host, then end the agreement with the first."""

import shlex
from typing import Annotated, Final

import msgspec
import typer

from backuppeer.cli.context import Context, context_of
from backuppeer.cli.render import escape_line, format_count, format_moment
from backuppeer.cli.screen import GREEN, Screen
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_size
from backuppeer.cli.work import View, run_work
from backuppeer.control.replacing import ReplacePlan, ReplaceRequest, ReplaceResult
from backuppeer.errors import DeclinedError, InterruptedByUserError

HELP: Final = (
    "Have all your packs at another host, then end with the first.\n\nThe new host must have agreed already. What it "
    "lacks is copied from your hosts; then it must show each pack; only then the first is given notice, as with "
    "`peers end`. Stopped anywhere, the same command goes on."
)


def replace(
    ctx: typer.Context,
    old: Annotated[str, typer.Argument(metavar="ALICE", help="The host to leave, as `peers` shows it.")],
    new: Annotated[str, typer.Argument(metavar="BOB", help="The host that is to have everything.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would be done; change nothing.")] = False,
) -> int:
    """Look, show the plan, ask, copy, verify, end."""
    context = context_of(ctx)
    request = ReplaceRequest(servers=context.servers(), old=old, new=new)
    plan = _look(context, request)
    if dry_run:
        context.screen.line(f"would {_describe(plan)}", hang=2)
        context.screen.done(_as_result(plan))
        return 0
    if not context.screen.confirm(f"{_describe(plan)}?", unanswered=f"it would {_describe(plan)}"):
        raise DeclinedError("nothing was changed: you said no")
    # Who was shown is who is meant, however the names change meanwhile.
    request.old, request.new, request.confirmed = plan.old, plan.new, True
    result = _carry_out(context, request)
    _tell(context.screen, plan, result)
    context.screen.done(result)
    return 0


def _look(context: Context, request: ReplaceRequest) -> ReplacePlan:
    screen = context.screen
    try:
        with Spinner(screen) as spinner:
            view = View(screen, spinner=spinner)
            plan = run_work(context.client(), "peers/replace/plan", request, ReplacePlan, view=view)
    except KeyboardInterrupt:
        raise InterruptedByUserError("stopped; nothing was changed") from None
    screen.event("plan", msgspec.to_builtins(plan))
    _show_plan(screen, plan)
    return plan


def _carry_out(context: Context, request: ReplaceRequest) -> ReplaceResult:
    try:
        with Spinner(context.screen) as spinner:
            view = View(context.screen, spinner=spinner)
            return run_work(context.client(), "peers/replace", request, ReplaceResult, view=view)
    except KeyboardInterrupt:
        raise InterruptedByUserError(
            "stopped; what was copied stays", hint="the same command goes on; `backup-peer peers` shows what ends"
        ) from None


def _show_plan(screen: Screen, plan: ReplacePlan) -> None:
    """Show what is copied, what is verified, and what becomes of the host that is left."""
    old, new = escape_line(plan.old_name), escape_line(plan.new_name)
    if plan.copy_packs:
        copied = f"{format_count(plan.copy_packs, 'pack')}, {format_size(plan.copy_bytes)}, to {new}"
        screen.line(f"  copy    {copied}, which has {format_size(plan.free_bytes)} free", hang=10)
    else:
        screen.line(f"  copy    nothing: {new} has all that there is", hang=10)
    every = f"{format_count(plan.packs, 'pack')}, {format_size(plan.bytes)}"
    screen.line(f"  verify  {every}: {new} signs for each, and shows its directory and random pieces", hang=10)
    until = format_moment(plan.until)[:10]
    if plan.is_ended:
        told = "" if plan.told else ", and is told when it is met"
        screen.line(f"  end     {old} was given notice before{told}: it keeps all until {until} at least", hang=10)
    else:
        kept = f"it keeps all until {until} at least, then its disk is free"
        screen.line(f"  end     the agreement with {old}, with notice: {kept}", hang=10)
    if plan.sets:
        screen.line(f"  sets    {_name_sets(plan.sets)}: {new} in the place of {old}", hang=10)


def _name_sets(sets: list[str]) -> str:
    return ", ".join(escape_line(name) for name in sets)


def _describe(plan: ReplacePlan) -> str:
    old, new = escape_line(plan.old_name), escape_line(plan.new_name)
    copied = f"copy {format_size(plan.copy_bytes)} to {new}, " if plan.copy_packs else ""
    last = "" if plan.is_ended else f", then end the agreement with {old}"
    return f"{copied}have {new} answer for all of it{last}"


def _as_result(plan: ReplacePlan) -> ReplaceResult:
    """Return what would be done."""
    return ReplaceResult(
        old=plan.old, new=plan.new, packs=plan.packs, bytes=plan.bytes, until=plan.until, told=plan.told, sets=plan.sets
    )


def _tell(screen: Screen, plan: ReplacePlan, result: ReplaceResult) -> None:
    old, new = escape_line(plan.old_name), escape_line(plan.new_name)
    packs = f"{format_count(result.packs, 'pack')} of {format_size(result.bytes)}"
    screen.line(f"{screen.paint('✓', GREEN)} {new} has everything, {packs}, and answers for it", hang=2)
    told = "" if result.told else "; it could not be reached, and is told when it is met"
    screen.line(f"  ended with {old}: it keeps all until {format_moment(result.until)[:10]} at least{told}", hang=2)
    if result.sets:
        screen.line(f"  {new} took the place of {old} in: {_name_sets(result.sets)}", hang=2)
    typed = shlex.quote(plan.old_name)
    screen.line(f"  until then `backup-peer peers renew {typed}` takes the notice back", hang=4)
