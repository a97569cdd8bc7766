"""What agreements promise beyond space and time: as options, and in words (ADR 51)."""

import re
from typing import Annotated, Final

import typer

from backuppeer.cli.units import format_share, format_size, parse_share, parse_size
from backuppeer.control.api import PendingRequest
from backuppeer.control.promises import Promised, PromiseWish
from backuppeer.errors import UserError
from backuppeer.signaling.listing import AVAILABILITY_STEP, bucket_availability

Reciprocity = Annotated[
    str,
    typer.Option(
        "--reciprocity",
        metavar="1",
        help="For each byte kept for its owner, so many bytes its owner keeps for the host; 0 for none.",
    ),
]
AuditBudget = Annotated[
    str, typer.Option("--audit-budget", metavar="2GB", help="Read a day for audits, instead of what is usual.")
]
EgressBudget = Annotated[
    str, typer.Option("--egress-budget", metavar="10GB", help="Sent back a day at least, before others' turns.")
]
Availability = Annotated[
    str,
    typer.Option(
        "--availability",
        metavar="95%",
        help="The host promises to be there for so much of the time; steps of 5 %, rounded down.",
    ),
]
_PERMILLE: Final = 1000
_TIMES: Final = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3})?")


def read_promises(reciprocity: str, audit_budget: str, egress_budget: str, availability: str) -> PromiseWish:
    """Return what the options ask for.

    Raises:
        UserError: one of them is no number, size or share.

    """
    return PromiseWish(
        reciprocity=read_times(reciprocity) if reciprocity else None,
        audit_bytes=parse_size(audit_budget) if audit_budget else None,
        egress_bytes=parse_size(egress_budget) if egress_budget else None,
        availability=read_availability(availability) if availability else None,
    )


def read_times(text: str) -> float:
    """Return how many bytes are kept in return for one, of `1.5` or `1.5x`.

    Raises:
        UserError: not a number from 0 to 999.999.

    """
    times = text.strip().removesuffix("x")
    if not _TIMES.fullmatch(times):
        raise UserError(f"--reciprocity {text[:20]!r} is no number", hint="for example: --reciprocity 1")
    return float(times)


def read_availability(text: str) -> float:
    """Return the share of the time that is promised, of `95%`, in the steps that listings have.

    Raises:
        UserError: not a share, or less than a step.

    """
    share = parse_share(text)
    kept = bucket_availability(round(share * _PERMILLE)) / _PERMILLE
    if share and not kept:
        least = format_share(AVAILABILITY_STEP / _PERMILLE)
        raise UserError(f"--availability below {least} promises nothing", hint="for example: --availability 95%")
    return kept


def say_promises(promises: Promised, size_bytes: int, *, is_ours: bool) -> list[str]:
    """Return what an agreement about so many bytes promises beyond space and time, each in a few words.

    is_ours: we are its owner, and the peer the host; else the other way round.
    """
    said = []
    if promises.reciprocity:
        given = format_size(round(size_bytes * promises.reciprocity))
        keeps = f"you keep {given} for it" if is_ours else f"it keeps {given} for you"
        said.append(f"in return {keeps}")
    if promises.audit_bytes:
        reads = "it reads" if is_ours else "you read"
        said.append(f"{reads} up to {format_size(promises.audit_bytes)} a day for audits")
    if promises.egress_bytes:
        sends = "it sends" if is_ours else "you send"
        said.append(f"{sends} back {format_size(promises.egress_bytes)} a day at least, if asked")
    if promises.availability:
        who = "it promises" if is_ours else "you promise"
        said.append(f"{who} to be there {format_share(promises.availability)} of the time")
    return said


def say_times(times: float) -> str:
    """Return how much is kept in return: `as much`, `1.5 times as much`."""
    return "as much" if times == 1 else f"{times:g} times as much"


def say_wanted(row: PendingRequest) -> list[str]:
    """Return what a request asks for beyond space and time, and what of that would be other than now."""
    is_ours = row.direction == "out"
    said = say_promises(row.promises, row.storage_bytes, is_ours=is_ours)
    if not row.now_bytes or row.promises == row.now_promises:
        return said
    now = "; ".join(say_promises(row.now_promises, row.now_bytes, is_ours=is_ours)) or "nothing beyond space and time"
    return [*(said or ["nothing beyond space and time any more"]), f"until now: {now}"]
