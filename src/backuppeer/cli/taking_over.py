"""`recover --take-over`: this machine becomes the one that makes the backups; the other stops (ADR 35).

Knows: the order: hosts heard, a person asked, the grant signed here, the agent started with it, hosts told. The words,
and what they stand for, stay in this process: they go to no agent, argument, log or file. Must not know: how hosts are
heard. Killed anywhere, the same command goes on: a grant counts once it lies in the home, and telling can be repeated.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

from backuppeer.cli import homes
from backuppeer.cli.context import Context
from backuppeer.cli.render import escape_line, escape_name, format_count, format_moment
from backuppeer.cli.screen import GREEN
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.work import View, run_work
from backuppeer.control.taking_over import TakeOverPlan, TakeOverRequest, TakeOverResult
from backuppeer.errors import DeclinedError, InterruptedByUserError

T = TypeVar("T")


def plan_take_over(context: Context) -> TakeOverPlan:
    """Have the agent hear all hosts, and return what taking over would mean.

    Raises:
        BackupPeerError: no host could be heard.

    """
    return _run(context, "recover/take-over/plan", TakeOverPlan)


def take_over(context: Context, plan: TakeOverPlan, read_master: Callable[[], bytes]) -> TakeOverResult:
    """Ask, sign the grant, and tell the hosts; only the last where this home is the writer already.

    read_master: returns what the words stand for; asked after the person has agreed.

    Raises:
        DeclinedError: the person said no; nothing was changed.
        UserError: nobody is there to ask, or the words are of another identity.
        BackupPeerError: no host could be told.

    """
    if plan.is_writer:
        context.screen.aside("this machine is already the one that makes the backups; the hosts are told again")
    else:
        _grant(context, plan, _agree(context, plan, read_master))
    return announce(context)


def announce(context: Context) -> TakeOverResult:
    """Tell the hosts of the grant that lies in this home.

    Raises:
        BackupPeerError: no host could be told.

    """
    try:
        return _run(context, "recover/take-over", TakeOverResult)
    except KeyboardInterrupt:
        raise InterruptedByUserError(
            "stopped: this machine makes the backups from now on, but not every host knows it yet",
            hint="the next backup tells them, or `backup-peer recover --take-over` again",
        ) from None


def show_result(context: Context, result: TakeOverResult) -> None:
    """Say what stands."""
    screen = context.screen
    tick = screen.paint("✓", GREEN)
    hosts = format_count(len(result.peers), "host")
    screen.line(f"{tick} this machine makes the backups from now on; told to {hosts}", hang=2)
    for host in result.left_out:
        text = f"{escape_name(host.name)} does not know it yet: {escape_line(host.reason)}; {escape_line(host.hint)}"
        screen.line(f"  {text}", hang=4)
    screen.line("  next: `backup-peer backup PATH...`, with the paths as they are on this machine", hang=4)


def _run(context: Context, route: str, kind: type[T]) -> T:
    with Spinner(context.screen) as spinner:
        return run_work(
            context.client(), route, TakeOverRequest(), kind, view=View(context.screen, spinner=spinner, turning=True)
        )


def _agree(context: Context, plan: TakeOverPlan, read_master: Callable[[], bytes]) -> bytes:
    """Return what the words stand for, once the person has agreed."""
    try:
        _ask(context, plan)
        return read_master()
    except KeyboardInterrupt:
        raise InterruptedByUserError("stopped: not taken over, nothing was changed at any host") from None


def _ask(context: Context, plan: TakeOverPlan) -> None:
    for line in _describe(plan):
        context.screen.aside(line, hang=2)
    if not context.screen.confirm("take over?", unanswered="taking over stops the other machine"):
        raise DeclinedError("not taken over: you said no")


def _describe(plan: TakeOverPlan) -> Iterator[str]:
    last = f", the last by {escape_name(plan.host)} on {format_moment(plan.time)}" if plan.time else ""
    yield f"Taking over {format_count(plan.snapshots, 'snapshot')}{last}:"
    yield "- this machine makes the backups from now on; what was backed up stays as it is"
    yield (
        '- the machine that made them until now says "taken over" at its next backup and makes none any more; '
        "it can still restore, and with the words it can take them back in the same way"
    )
    yield "- a backup that it is making just now will not be finished: let it end first"
    for host in plan.left_out:
        yield f"- {escape_name(host.name)} does not count now ({escape_line(host.reason)}): it learns of it later"


def _grant(context: Context, plan: TakeOverPlan, master: bytes) -> None:
    """Sign the grant while no agent has the home: one that runs would go on without it."""
    from backuppeer.cli.agents import stop_agent  # noqa: PLC0415 - subprocess; not for verbs without agent

    homes.check_words(context.home, master)
    stop_agent(context.home)
    homes.grant_peer(context.home, master, repository=plan.repository, epoch=plan.epoch + 1)
