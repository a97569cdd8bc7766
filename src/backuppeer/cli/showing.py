"""`peers show`: who keeps how much for whom, and on which terms."""

from typing import Annotated, Final

import typer

from backuppeer.agent.peers.offers import write_exact_size
from backuppeer.cli.context import context_of
from backuppeer.cli.history import show_contacts, show_receipts, show_record, show_tenancy
from backuppeer.cli.promises import say_promises
from backuppeer.cli.render import count_free, escape_line, format_moment, format_trust, name_peer, say_later, write_peer
from backuppeer.cli.screen import Screen
from backuppeer.cli.units import format_duration, format_size
from backuppeer.control.history import ShowRequest
from backuppeer.control.showing import Account, PeerAccount
from backuppeer.limits import CONTACTS_SHOWN, CONTACTS_SHOWN_MOST, STORAGE_MIN_BYTES

HELP: Final = "Show your account with one peer: who keeps how much, on which terms, what it did, when you met."
_LABEL: Final = 10


def show(
    ctx: typer.Context,
    peer: Annotated[str, typer.Argument(metavar="ID|PREFIX|ALIAS", help="The peer, as `peers` shows it.")],
    *,
    history: Annotated[
        int,
        typer.Option("--history", metavar="N", min=0, max=CONTACTS_SHOWN_MOST, help="Show the last N contacts."),
    ] = CONTACTS_SHOWN,
) -> int:
    """Show the account."""
    context = context_of(ctx)
    screen = context.screen
    request = ShowRequest(servers=context.servers(), peer=peer, history=history)
    row = context.client().call("peers/show", request, PeerAccount)
    if screen.json:
        screen.value(row)
        return 0
    marks = [text for text, holds in (("compared", row.verified), ("blocked", row.blocked)) if holds]
    screen.line(name_peer(row.peer_id, row.alias) + (f": {', '.join(marks)}" if marks else ""), hang=2)
    screen.line(f"full id   {escape_line(row.peer_id)}", hang=_LABEL)
    screen.line(f"trust     {format_trust(row.trust, row.trust_level, row.capped)}")
    for text in row.lineage:
        screen.line(f"  {escape_line(text)}", hang=_LABEL)
    for text in row.capped:
        screen.line(f"  capped: {escape_line(text)}", hang=_LABEL)
    if row.way_out:
        screen.hint(row.way_out)
    show_record(screen, row.record)
    _show_side(screen, "keeps for you", row, is_ours=True)
    _show_cap(screen, row)
    _show_side(screen, "you keep for it", row, is_ours=False)
    if row.there and row.here:
        who = "you keep" if row.owed_bytes >= 0 else "it keeps"
        screen.line(f"together: {who} {format_size(abs(row.owed_bytes))} more than the other", hang=2)
    show_tenancy(screen, row.as_owner)
    show_contacts(screen, row.record)
    return 0


def _show_side(screen: Screen, label: str, row: PeerAccount, *, is_ours: bool) -> None:
    account = row.there if is_ours else row.here
    if account is None:
        screen.line(f"{label}: nothing is agreed", hang=2)
        return
    free = f"{format_size(count_free(account.agreed_bytes, account.used_bytes, account.room_bytes))} free now"
    free += say_later(account.next_free_bytes, account.next_free)
    used = f"{format_size(account.used_bytes)} of {format_size(account.agreed_bytes)}"
    screen.line(f"{label}: {used}, {'nothing more, as it ends' if account.ends else free}", hang=2)
    lock, notice = format_duration(account.lock_s), format_duration(account.notice_s)
    times = account.revision - 1
    changed = f", changed {'once' if times == 1 else f'{times} times'}" if times > 0 else ""
    screen.line(f"  until {format_moment(account.until)[:10]}, lock {lock}, notice {notice}{changed}", hang=4)
    for said in say_promises(account.promises, account.agreed_bytes, is_ours=is_ours):
        screen.line(f"  {said}", hang=4)
    if account.promises.egress_bytes and not is_ours:
        screen.line(f"  sent back today: {format_size(account.sent_bytes)}", hang=4)
    show_receipts(screen, account.receipts, is_ours=is_ours)
    _show_debt(screen, row, account, is_ours=is_ours)
    if account.ends:
        who = "you ended it" if account.ended_by_us else "it ends it"
        screen.line(f"  {who}: all is kept until {format_moment(account.ends)[:10]} at least", hang=4)


def _show_cap(screen: Screen, row: PeerAccount) -> None:
    """Show how much may lie with a stranger, and why."""
    if row.cap_bytes is None:
        if row.cap_set:
            screen.line("  as much of yours may lie there as is agreed on: you lifted the cap", hang=4)
        return
    seen = f"audits of the last 30 days saw {format_size(row.verified_bytes)}"
    why = f"{seen}; you set it" if row.cap_set else seen
    screen.line(f"  a stranger: {format_size(row.cap_bytes)} of yours may lie there for now ({why})", hang=4)


def _show_debt(screen: Screen, row: PeerAccount, account: Account, *, is_ours: bool) -> None:
    """Show what was promised in return and is not agreed on, and what to do about it."""
    if not account.lacking_bytes:
        return
    lacking = format_size(account.lacking_bytes)
    if is_ours:
        size = write_exact_size(max(row.offer_bytes, account.lacking_bytes))
        screen.line(
            f"  you owe it {lacking} of what you promised in return: offer it with `backup-peer host --storage {size}`",
            hang=4,
        )
    elif account.refused_from:
        day = format_moment(account.refused_from)[:10]
        screen.line(
            f"  it owes you {lacking} of what it promised, asked for in vain: nothing new is taken from {day} on",
            hang=4,
        )
    else:
        ask = _say_ask(row, account.lacking_bytes)
        screen.line(f"  it owes you {lacking} of what it promised: ask it with {ask}", hang=4)


def _say_ask(row: PeerAccount, lacking_bytes: int) -> str:
    """Return the command that asks a peer for what it owes."""
    called = write_peer(row.peer_id, row.alias)
    if row.there is not None:
        return f"`backup-peer peers resize {called} {write_exact_size(row.there.agreed_bytes + lacking_bytes)}`"
    return f"`backup-peer connect {called} --storage {write_exact_size(max(lacking_bytes, STORAGE_MIN_BYTES))}`"
