"""`snapshots`: which states of the files can be restored, and who keeps them."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Annotated, Final

import typer

from backuppeer.cli.context import context_of
from backuppeer.cli.render import Column, escape_line, escape_name, format_moment
from backuppeer.cli.screen import Screen
from backuppeer.cli.selection import GROUPS, Hosts, OfPath, OfSet, Tags, name_group, read_fields, write_path
from backuppeer.cli.units import format_size
from backuppeer.control.api import SnapshotRow, SnapshotsRequest

_COLUMNS: Final = (
    Column("snapshot", keep=True),
    Column("time", keep=True),
    Column("files", "right", keep=True),
    Column("size", "right", keep=True),
    Column("audited", keep=True, spare=True),
    Column("peers", "right", keep=True, spare=True),
    Column("paths"),
)
_HELP: Final = (
    "List your snapshots.\n\nUnder `audited` stands the day on which a host that keeps all of a snapshot last showed "
    "every sample that an audit asked for; samples, not every byte: `check --read-data` reads them all."
)
_MISSING: Final = "lost or withheld by the hosts"
_INCOMPLETE: Final = " (incomplete: parts of it are at no host)"
Key = tuple[str, str, list[str]]


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="snapshots", help=_HELP)(snapshots)


def snapshots(
    ctx: typer.Context,
    *,
    tag: Tags = None,
    host: Hosts = None,
    of_set: OfSet = "",
    path: OfPath = "",
    latest: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the N newest of each group.")] = None,
    group_by: Annotated[
        str | None, typer.Option(metavar=GROUPS, help="Show in groups; --latest uses all three unless told otherwise.")
    ] = None,
) -> int:
    """Show all snapshots, oldest first."""
    context = context_of(ctx)
    screen = context.screen
    fields = read_fields(GROUPS if group_by is None else group_by)
    request = SnapshotsRequest(
        tags=tag or [],
        hosts=host or [],
        set=of_set,
        path=write_path(path),
        latest=latest or 0,
        group_by=fields,
    )
    rows = context.client().call("snapshots", request, list[SnapshotRow])
    if screen.json:
        screen.value(rows)
    elif not rows:
        is_chosen = any((tag, host, of_set, path))
        makes_one = "no snapshots; `backup-peer backup PATH` makes one"
        screen.line("no snapshots are like that" if is_chosen else makes_one, hang=0)
    elif group_by is None:
        screen.table(_COLUMNS, [_cells(row) for row in rows])
    else:
        _show_groups(screen, rows, fields)
    return 0


def _show_groups(screen: Screen, rows: Sequence[SnapshotRow], fields: Sequence[str]) -> None:
    for number, (key, members) in enumerate(_group(rows, fields)):
        if number:
            screen.line()
        screen.line(_MISSING if members[0].missing else name_group(*key))
        screen.table(_COLUMNS, [_cells(row) for row in members])


def _group(rows: Sequence[SnapshotRow], fields: Sequence[str]) -> Iterator[tuple[Key, list[SnapshotRow]]]:
    """Yield the groups in order of their names, those that are missing first; rows keep their order."""

    def key_of(row: SnapshotRow) -> Key:
        return (
            row.set if "set" in fields else "",
            row.host if "host" in fields else "",
            sorted(row.paths) if "paths" in fields and not (row.set and "set" in fields) else [],
        )

    def rank(row: SnapshotRow) -> tuple[bool, Key]:
        return not row.missing, key_of(row)

    for (_, key), members in groupby(sorted(rows, key=rank), rank):
        yield key, list(members)


def _cells(row: SnapshotRow) -> list[str]:
    if row.missing:
        return [escape_line(row.snapshot[:8]), "missing", "-", "-", "-", "0", _MISSING]
    mark = f"{escape_line(row.set)}: " if row.set else ""
    tags = f" [{', '.join(map(escape_line, row.tags))}]" if row.tags else ""
    return [
        escape_line(row.snapshot[:8]),
        format_moment(row.time),
        f"{row.files:,}",
        format_size(row.bytes),
        format_moment(row.last_proven)[:10] or "never",
        str(len(row.peers)),
        mark + " ".join(map(escape_name, row.paths)) + tags + (_INCOMPLETE if row.incomplete else ""),
    ]
