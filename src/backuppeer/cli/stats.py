"""`stats`: what snapshots take, and what deduplication and compression save."""

from typing import Annotated, Final

import typer

from backuppeer.cli.context import context_of
from backuppeer.cli.render import format_count, name_peer
from backuppeer.cli.screen import Screen
from backuppeer.cli.selection import OfSet
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_size
from backuppeer.cli.work import View, run_work
from backuppeer.control.inspection import StatsRequest, StatsResult
from backuppeer.errors import IntegrityFault

_HELP: Final = (
    "Count what snapshots take: all, or those named, together. Stored is one copy, sealed; hosts store whole packs, "
    "which are padded, and without SNAPSHOT or --set also what no snapshot needs any more. Sizes are those of `ls -l`: "
    "each name of a hard link counts, and holes as data; what that takes less is part of the deduplication."
)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="stats", help=_HELP)(stats)


def stats(
    ctx: typer.Context,
    snapshots: Annotated[
        list[str] | None, typer.Argument(metavar="[SNAPSHOT…]", help="Ids, prefixes of 4 or more, or `latest`.")
    ] = None,
    *,
    of_set: OfSet = "",
) -> int:
    """Show the sums."""
    context = context_of(ctx)
    screen = context.screen
    request = StatsRequest(servers=context.servers(), snapshots=snapshots or [], set=of_set)
    with Spinner(screen) as spinner:
        view = View(screen, spinner=spinner, quiet=True)
        result = run_work(context.client(), "stats", request, StatsResult, view=view)
    if screen.json:
        screen.value(result)
    else:
        _show(screen, result, is_part=bool(request.snapshots or request.set))
    if result.missing_blobs:
        raise IntegrityFault(
            f"{format_count(result.missing_blobs, 'blob')} that these snapshots need {_is(result.missing_blobs)} in no "
            "known pack",
            hint="what is still on this machine is sent again by the next `backup-peer backup`",
        )
    return 0


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _show(screen: Screen, result: StatsResult, *, is_part: bool) -> None:
    lines = {
        "restored": f"{format_count(result.files, 'file')}, {format_count(result.dirs, 'folder')}, "
        f"{format_size(result.bytes)}",
        "unique": f"{format_count(result.blobs, 'blob')}, {format_size(result.unique_bytes)} "
        f"(deduplication {result.dedup_ratio:.2f} x)",
        "stored": f"{format_size(result.stored_bytes)} in {format_count(result.packs, 'pack')} "
        f"(compression {result.compression_ratio:.2f} x)",
    }
    lines |= {
        f"at {name_peer(host.peer_id, host.alias)}": f"{format_size(host.stored_bytes)} "
        f"in {format_count(host.packs, 'pack')}"
        for host in result.hosts
    }
    width = max(map(len, lines)) + 2
    screen.line(format_count(len(result.snapshots), "snapshot"))
    for name, text in lines.items():
        screen.line(f"  {name:<{width}}{text}")
    if result.hosts:
        what = "the whole packs that have any of it" if is_part else "all packs, also what no snapshot needs any more"
        screen.line(f"  at hosts: {what}; packs are padded", hang=2)
