"""`peers lock`: agree with a host on another lock; lowering it takes the 24 words (ADR 52).

Knows: what a person must see before typing them. Must not know: how a revision is made. The words, and what they stand
for, stay in this process.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final

import typer

from backuppeer.cli.connect import StateView
from backuppeer.cli.context import Context, context_of
from backuppeer.cli.render import escape_line, name_peer
from backuppeer.cli.screen import GREEN
from backuppeer.cli.terms import read_patience
from backuppeer.cli.units import format_duration, format_size
from backuppeer.cli.waiving import Question, sign_once_agreed
from backuppeer.cli.work import View, run_work
from backuppeer.clock import SystemClock, parse_duration
from backuppeer.control.terms import TermsResult
from backuppeer.control.waiving import LockPlan, LockRequest
from backuppeer.errors import InterruptedByUserError
from backuppeer.ids import AgreementId, PeerId

if TYPE_CHECKING:
    from backuppeer.proof.waivers import LockWaiver

HELP: Final = (
    "Agree with a host on how long it keeps what you delete.\n\nA longer lock is asked for, as more space is. A "
    "shorter one takes effect at once, and takes your 24 words: typed here, or on standard input with --yes. So "
    "whoever has this machine, and not the words, can't have your backups erased sooner."
)


def lock(
    ctx: typer.Context,
    peer: Annotated[str, typer.Argument(metavar="ID|PREFIX|ALIAS", help="The host, as `peers` shows it.")],
    span: Annotated[str, typer.Argument(metavar="7d", help="Time from a deletion to the erasure; 0s = at once.")],
    wait: Annotated[
        str, typer.Option("--wait", metavar="60s", help="How long to wait for a person's answer without a terminal.")
    ] = "",
) -> int:
    """Show what it means, ask, take the words where it is lowered."""
    context = context_of(ctx)
    patience_s = read_patience(context, wait)
    request = LockRequest(servers=context.servers(), peer=peer, lock_s=parse_duration(span), wait_s=patience_s)
    plan = context.client().call("peers/lock/plan", request, LockPlan)
    request.peer = plan.peer_id
    if plan.lock_s < plan.now_s:
        request.waiver = _sign(context, plan, f"backup-peer peers lock {peer} {span} --yes")
    result = _have(context, request, escape_line(plan.name))
    screen, before, now = context.screen, format_duration(plan.now_s), format_duration(result.lock_s)
    called, tick = name_peer(result.peer_id, result.alias), screen.paint("✓", GREEN)
    if plan.lock_s == plan.now_s:
        screen.line(f"{tick} {called} keeps what you delete for {now}, as before", hang=2)
    else:
        screen.line(f"{tick} {called} keeps what you delete for {now} from now on, not {before}", hang=2)
    screen.done(result)
    return 0


def _have(context: Context, request: LockRequest, name: str) -> TermsResult:
    with StateView(context.screen, name) as states:
        try:
            view = View(context.screen, states.on_event)
            return run_work(context.client(), "peers/lock", request, TermsResult, view=view)
        except KeyboardInterrupt:
            raise InterruptedByUserError(
                f"stopped before {name} answered", hint="the same command again shows which lock is in force"
            ) from None


def _sign(context: Context, plan: LockPlan, way: str) -> bytes:
    """Return the signed word that lowers a lock, once the person has agreed."""
    name = escape_line(plan.name)
    question = Question(
        lines=_describe(plan, name),
        question=f"lower the lock at {name}?",
        unanswered="lowering a lock takes protection away",
        unchanged="the lock is as it was",
    )
    return sign_once_agreed(context, question, way, lambda: [_make(plan)])[0]


def _make(plan: LockPlan) -> "LockWaiver":
    from backuppeer.proof.waivers import LockWaiver  # noqa: PLC0415 - crypto libraries

    return LockWaiver(
        agreement=AgreementId(bytes.fromhex(plan.agreement)),
        host=PeerId(bytes.fromhex(plan.host)),
        terms=bytes.fromhex(plan.terms),
        time_ms=SystemClock().now_ms(),
        lock_s=plan.lock_s,
    )


def _describe(plan: LockPlan, name: str) -> Iterator[str]:
    now, lower = format_duration(plan.now_s), format_duration(plan.lock_s)
    yield f"{name} keeps what you delete for {now}. With a lock of {lower}:"
    yield f"  · what you delete is erased {lower} later, or twice that where it is much at once"
    if plan.deleted_bytes:
        yield f"  · so is the {format_size(plan.deleted_bytes)} deleted already, counted from when you deleted it"
    yield "  · a thief of this machine can have your backups erased that much sooner"
