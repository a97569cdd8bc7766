"""`reputation`: how peers stand as hosts; `reputation explain`: every term of a score, to be added up by hand."""

from collections.abc import Iterator
from typing import Annotated, Final

import typer

from backuppeer.cli.context import context_of
from backuppeer.cli.further import ITSELF, VerbGroup, VerbItself
from backuppeer.cli.opinions import show_opinions
from backuppeer.cli.render import Column, escape_line, format_moment, format_trust, name_peer, shorten_id, write_peer
from backuppeer.cli.screen import BOLD, Screen
from backuppeer.cli.units import format_share
from backuppeer.control.reputation import CapRow, Reputation, ReputationRequest, ReputationRow
from backuppeer.errors import UserError

_HELP: Final = "Show how your peers stand as hosts, best first, each with its strongest reason."
_EXPLAIN: Final = (
    "Show every term of a peer's score, and what would raise it.\n\nThe numbers add up by hand; docs/trust.md says why "
    "they are what they are."
)
_COLUMNS: Final = (
    Column("peer", keep=True),
    Column("name"),
    Column("trust", keep=True),
    Column("because", below=True),
)
_FAULTS: Final = {
    "proven_loss": "lost or wrong data",
    "refused_online": "refused, or broke the protocol, while online",
    "reported_loss": "a loss that it reported itself",
    "late": "late",
}
_WORDS: Final = {
    "receipt": "a receipt that both signed",
    "vouch": "a vouch",
    "one-sided": "a receipt that the owner alone signed",
}
"""What the last on a way says."""
_LABEL: Final = 11
_BY: Final = "\N{MULTIPLICATION SIGN}"


def add_to(app: typer.Typer) -> None:
    """Add the verb and what may follow it."""
    group = typer.Typer(cls=VerbGroup, rich_markup_mode=None)
    group.command(name=ITSELF, cls=VerbItself, help=_HELP)(reputation)
    group.command(name="explain", help=_EXPLAIN)(explain)
    app.add_typer(group, name="reputation", help="How peers stand as hosts, and why.")


def reputation(
    ctx: typer.Context,
    peer: Annotated[str, typer.Argument(metavar="[ID|PREFIX|ALIAS]", help="One peer; without it all known.")] = "",
    *,
    me: Annotated[bool, typer.Option("--me", help="Ask your partners what they think of you as a host.")] = False,
    wait: Annotated[str, typer.Option(metavar="10s", help="With --me: how long to wait for each.")] = "",
) -> int:
    """Show one line per peer."""
    context = context_of(ctx)
    screen = context.screen
    if me:
        return show_opinions(context, peer, wait)
    if wait:
        raise UserError("--wait goes with --me", hint="for example: `backup-peer reputation --me --wait 30s`")
    request = ReputationRequest(servers=context.servers(), peer=peer)
    rows = context.client().call("reputation", request, list[ReputationRow])
    if screen.json:
        screen.value(rows)
        return 0
    if not rows:
        screen.line("nobody is known yet")
        screen.hint("`backup-peer browse` shows who offers space")
        return 0
    screen.table(_COLUMNS, [_cells(row) for row in rows])
    screen.line()
    if any(row.friend for row in rows):
        screen.line("♥ = you compared id or safety words with the person", hang=4)
    best = rows[0]
    screen.line(
        f"every term of a score: `backup-peer reputation explain {write_peer(best.peer_id, best.alias)}`", hang=2
    )
    return 0


def explain(
    ctx: typer.Context,
    peer: Annotated[str, typer.Argument(metavar="ID|PREFIX|ALIAS", help="The peer, as `browse` or `peers` shows it.")],
) -> int:
    """Show the sum."""
    context = context_of(ctx)
    screen = context.screen
    request = ReputationRequest(servers=context.servers(), peer=peer)
    found = context.client().call("reputation/explain", request, Reputation)
    if screen.json:
        screen.value(found)
        return 0
    _show_head(screen, found)
    if found.known:
        _show_terms(screen, "speaks for it", list(_list_good(found)), f"alpha {found.alpha:.3f}")
        _show_terms(screen, "speaks against it", list(_list_bad(found)), f"beta  {found.beta:.3f}")
    _show_sum(screen, found)
    _show_raises(screen, found)
    return 0


def _cells(row: ReputationRow) -> list[str]:
    return [
        shorten_id(row.peer_id),
        ("♥ " if row.friend else "") + (escape_line(row.alias) or "-"),
        format_trust(row.trust, row.trust_level, row.capped),
        escape_line(row.reason),
    ]


def _show_head(screen: Screen, found: Reputation) -> None:
    called = screen.paint(name_peer(found.peer_id, found.alias), BOLD)
    trust = format_trust(found.trust, found.trust_level, (cap.text for cap in found.caps))
    screen.line(f"{called}: trust {trust}; {escape_line(found.reason)}", hang=2)
    for text in found.lineage:
        screen.line(f"  {escape_line(text)}", hang=2)
    if not found.known:
        screen.line("  nothing was seen of it or heard of it: this is where everybody begins", hang=2)


def _show_terms(screen: Screen, title: str, terms: list[tuple[str, str]], total: str) -> None:
    screen.line()
    screen.line(title)
    for text, value in terms or [("nothing", "0.000")]:
        screen.line(f"  {value:>7}  {text}", hang=_LABEL)
    screen.line(f"  {total.split()[1]:>7}  = {total.split(maxsplit=1)[0]}")


def _list_good(found: Reputation) -> Iterator[tuple[str, str]]:
    """Yield what alpha consists of, the newest first, each with its part of it."""
    for each in found.good:
        when = each.newest if each.days == 1 else f"{each.oldest} to {each.newest}"
        days = f"{each.days} day{'' if each.days == 1 else 's'}"
        spans = f" {_BY} speaking for {each.spans:.2f} days" if each.spans > 1 else ""
        yield (
            f"{when}: {days} {_BY} weight {each.weight:.3f}{spans} {_BY} faded to {each.fade:.3f}",
            f"{each.alpha:.3f}",
        )
    if found.friend_alpha:
        yield "you compared the safety words: a friend", f"{found.friend_alpha:.3f}"
    if found.heard_alpha:
        yield "heard from others", f"{found.heard_alpha:.3f}"
        for heard in found.heard:
            if heard.alpha:
                said = _WORDS.get(heard.kind, escape_line(heard.kind))
                yield f"  of it {heard.alpha:.3f} by way of {_say_way(heard.names)}: {said}", ""


def _list_bad(found: Reputation) -> Iterator[tuple[str, str]]:
    """Yield what beta consists of, the newest first."""
    for each in found.bad:
        what = _FAULTS.get(each.fault, escape_line(each.fault))
        factors = f"weight {each.weight:.3f} {_BY} {each.kappa:g} {_BY} faded to {each.fade:.3f}"
        yield f"{each.day}: {what}: {factors}", f"{each.beta:.3f}"
    if found.heard_beta:
        yield "others say that it failed them", f"{found.heard_beta:.3f}"
        yield from (
            (f"  of it {each.beta:.3f} by way of {_say_way(each.names)}", "") for each in found.heard if each.beta
        )


def _say_way(names: list[str]) -> str:
    return " → ".join(escape_line(name) for name in names)


def _show_sum(screen: Screen, found: Reputation) -> None:
    a, b, mean = f"{found.alpha:.3f}", f"{found.beta:.3f}", found.mean
    lines = [
        ("mean", f"(1 + {a}) / (3 + {a} + {b}) = {mean:.3f}"),
        ("deviation", f"√({mean:.3f} {_BY} {1 - mean:.3f} / (4 + {a} + {b})) = {found.deviation:.3f}"),
        ("score", f"{mean:.3f} - {found.deviation:.3f} = {found.score:.3f}"),
    ]
    if found.promised:
        there, promised = format_share(found.observed), format_share(found.promised)
        said = f"it was there {there} of the time, and promised {promised}"
        lines.append(("there", f"{said}: {_BY} {found.factor:.3f} = {found.uncapped:.3f}"))
    lines += [("capped", _say_cap(cap)) for cap in found.caps]
    lines.append(("trust", f"{found.trust:.3f}: {escape_line(found.trust_level)}"))
    screen.line()
    for label, text in lines:
        screen.line(f"{label:<{_LABEL}}{text}", hang=_LABEL)


def _say_cap(cap: CapRow) -> str:
    ends = f", until {format_moment(cap.ends)[:10]}" if cap.ends else ""
    return f"at {cap.trust:.2f} at most{ends}: {escape_line(cap.text)}"


def _show_raises(screen: Screen, found: Reputation) -> None:
    screen.line()
    if not found.raises:
        screen.line("nothing that can be done now would raise it")
        return
    screen.line("what would raise it, and to what")
    for each in found.raises:
        command = f": `{escape_line(each.command)}`" if each.command else ""
        screen.line(f"  {each.trust:>7.2f}  {escape_line(each.text)}{command}", hang=_LABEL)
