"""`peers purge`: have a host erase at once what is deleted there, or all after `peers end`; with the 24 words (ADR 52).

Knows: what a person must see before typing them. Must not know: how a host erases. The words, and what they stand for,
stay in this process.
"""

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final

import typer

from backuppeer.cli.context import Context, context_of
from backuppeer.cli.ending import tell_sets
from backuppeer.cli.render import escape_line, format_count, format_moment, name_peer
from backuppeer.cli.screen import GREEN, Screen
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_size
from backuppeer.cli.waiving import Question, sign_once_agreed
from backuppeer.clock import SystemClock
from backuppeer.control.waiving import PurgePart, PurgePlan, PurgeRequest, PurgeResult
from backuppeer.errors import InterruptedByUserError
from backuppeer.ids import AgreementId, PeerId

if TYPE_CHECKING:
    from backuppeer.proof.waivers import Waiver

HELP: Final = (
    "Have a host erase at once what it keeps for its lock or your notice.\n\nWith --deleted: what you deleted. "
    "Without: everything, of an agreement that you ended with `peers end`. It can't be taken back, so it takes your 24 "
    "words: typed here, or on standard input with --yes."
)


def purge(
    ctx: typer.Context,
    peer: Annotated[str, typer.Argument(metavar="ID|PREFIX|ALIAS", help="The host, as `peers` shows it.")],
    *,
    deleted: Annotated[bool, typer.Option("--deleted", help="Only what is deleted there.")] = False,
) -> int:
    """Show what would go, ask, take the words."""
    context = context_of(ctx)
    screen = context.screen
    request = PurgeRequest(servers=context.servers(), peer=peer, deleted=deleted)
    plan = context.client().call("peers/purge/plan", request, PurgePlan)
    if plan.is_over:
        return _tell_over(screen, plan)
    way = " ".join(["backup-peer peers purge", peer, *(["--deleted"] if deleted else []), "--yes"])
    request.peer, request.waivers = plan.peer_id, _sign(context, plan, way)
    result = _carry_out(context, request, escape_line(plan.name))
    called, tick, size = name_peer(result.peer_id, result.alias), screen.paint("✓", GREEN), format_size(result.bytes)
    if result.ended:
        screen.line(f"{tick} the agreement with {called} is over: it erases all {size} now", hang=2)
        tell_sets(screen, plan.sets, plan.name)
    else:
        screen.line(f"{tick} {called} erases {size} in {format_count(result.packs, 'pack')} now", hang=2)
    screen.done(result)
    return 0


def _tell_over(screen: Screen, plan: PurgePlan) -> int:
    """Tell that the same command before this was heard, though nobody heard the answer."""
    tick, name = screen.paint("✓", GREEN), escape_line(plan.name)
    screen.line(f"{tick} {name} had heard you before: the agreement is over, and it has let go of all of it", hang=2)
    tell_sets(screen, plan.sets, plan.name)
    screen.done(PurgeResult(peer_id=plan.peer_id, alias="", packs=0, bytes=0, ended=True))
    return 0


def _carry_out(context: Context, request: PurgeRequest, name: str) -> PurgeResult:
    try:
        with Spinner(context.screen) as spinner:
            spinner.show(f"telling {name} …")
            return context.client().call("peers/purge", request, PurgeResult)
    except KeyboardInterrupt:
        raise InterruptedByUserError(
            f"stopped before {name} answered: it may be erasing already",
            hint="the same command again shows what is left",
        ) from None


def _sign(context: Context, plan: PurgePlan, way: str) -> list[bytes]:
    name, what = escape_line(plan.name), "what is deleted" if plan.deleted else "everything"
    question = Question(
        lines=_describe(plan, name),
        question=f"erase {what} at {name} now?",
        unanswered="erasing at once can't be taken back",
        unchanged="nothing was erased",
    )
    return sign_once_agreed(context, question, way, lambda: [_make(part, plan) for part in plan.parts])


def _make(part: PurgePart, plan: PurgePlan) -> "Waiver":
    from backuppeer.proof.waivers import EndWaiver, PurgeWaiver  # noqa: PLC0415 - crypto libraries

    agreement, host = AgreementId(bytes.fromhex(part.agreement)), PeerId(bytes.fromhex(part.host))
    terms, time_ms = bytes.fromhex(part.terms), SystemClock().now_ms()
    if not plan.deleted:
        return EndWaiver(agreement=agreement, host=host, terms=terms, time_ms=time_ms, notice=part.notice)
    root = bytes.fromhex(part.packs_root)
    return PurgeWaiver(agreement=agreement, host=host, terms=terms, time_ms=time_ms, packs=part.packs, packs_root=root)


def _describe(plan: PurgePlan, name: str) -> Iterator[str]:
    size, until = format_size(plan.bytes), format_moment(plan.until)[:10]
    if plan.deleted:
        packs = format_count(plan.packs, "pack")
        yield f"{name} holds {size} that you deleted, in {packs}, the last until {until}. Erased now:"
        yield "  · none of it can be had back any more"
        if plan.is_mass:
            yield (
                "  · much was deleted within a week, so it is held twice as long. Was that not you, say no, and see "
                f"`backup-peer peers undelete {shlex.quote(name)}`"
            )
    else:
        yield f"you ended the agreement with {name}, which keeps {size} until {until} at least. Erased now:"
        yield "  · all of it, for good: what no other host has is lost"
