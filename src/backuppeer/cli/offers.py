"""Other terms that a host's person offers: shown beside what was asked for, and taken if a person says so."""

from typing import Final

from backuppeer.cli.context import Context
from backuppeer.cli.promises import say_promises
from backuppeer.cli.render import Column, format_moment
from backuppeer.cli.screen import Screen
from backuppeer.cli.units import format_duration, format_size
from backuppeer.control.api import ConnectRequest, Nothing, PendingRequest
from backuppeer.control.promises import PromiseWish

_COLUMNS: Final = (
    Column("", keep=True),
    Column("space", "right", keep=True),
    Column("kept for", keep=True),
    Column("lock", keep=True),
)


def show_both(screen: Screen, row: PendingRequest) -> None:
    """Show what was asked for and what is offered, one below the other."""
    asked = _cells("asked for", row.storage_bytes, (row.term_s, row.lock_s), row.until)
    offered = _cells("offered", row.offer_bytes, (row.offer_term_s, row.offer_lock_s), row.offer_until)
    screen.table(_COLUMNS, [asked, offered])
    for label, promises, size_bytes in (
        ("asked for", row.promises, row.storage_bytes),
        ("offered", row.offer_promises, row.offer_bytes),
    ):
        if row.promises != row.offer_promises:
            said = (
                "; ".join(say_promises(promises, size_bytes, is_ours=row.direction == "out")) or "nothing beyond that"
            )
            screen.line(f"{label}: {said}", hang=2)


def take_offer(context: Context, request: ConnectRequest, called: str) -> bool:
    """Ask the person whether to take what the host of `request` offers instead; make it the request's terms if so."""
    screen = context.screen
    if screen.yes or screen.json or not screen.can_ask:
        return False
    rows = context.client().call("requests", Nothing(), list[PendingRequest])
    offered = [r for r in rows if (r.direction, r.peer_id, r.state) == ("out", request.peer, "offered")]
    if not offered:
        return False
    row = offered[-1]
    screen.line(f"{called} offers other terms instead:")
    show_both(screen, row)
    if not screen.confirm("take what is offered?", unanswered="other terms are offered"):
        return False
    request.storage, request.term_s, request.lock_s = row.offer_bytes, row.offer_term_s, row.offer_lock_s
    given = row.offer_promises
    request.promises = PromiseWish(
        reciprocity=given.reciprocity,
        audit_bytes=given.audit_bytes,
        egress_bytes=given.egress_bytes,
        availability=given.availability,
    )
    return True


def _cells(label: str, size_bytes: int, spans: tuple[int, int], until: str) -> list[str]:
    term_s, lock_s = spans
    kept = f"until {format_moment(until)[:10]}" if until else format_duration(term_s)
    return [label, format_size(size_bytes), kept, format_duration(lock_s)]
