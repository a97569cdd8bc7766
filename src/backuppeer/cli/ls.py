"""`ls`: what lies in a snapshot."""

import stat
from typing import Annotated, Final

import typer

from backuppeer.cli.context import context_of
from backuppeer.cli.render import escape_line, escape_name, format_moment
from backuppeer.cli.selection import LatestOf
from backuppeer.cli.units import format_size
from backuppeer.control.api import EntryRow, LsRequest
from backuppeer.errors import UserError

_TYPES: Final = {
    "file": stat.S_IFREG,
    "dir": stat.S_IFDIR,
    "symlink": stat.S_IFLNK,
    "fifo": stat.S_IFIFO,
    "chardev": stat.S_IFCHR,
    "blockdev": stat.S_IFBLK,
}

_HELP: Final = "List what a snapshot is of. With SNAPSHOT:PATH: what a folder in it holds."


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="ls", help=_HELP)(ls)


def ls(
    ctx: typer.Context,
    snapshot: Annotated[str, typer.Argument(metavar="SNAPSHOT[:PATH]", help="Id, prefix or `latest`.")],
    *,
    recursive: Annotated[bool, typer.Option("--recursive", "-R", help="Everything below, too.")] = False,
    of_set: LatestOf = "",
) -> int:
    """Show the entries as `ls -l` would."""
    context = context_of(ctx)
    name, path = split_place(snapshot)
    request = LsRequest(servers=context.servers(), snapshot=name, path=path, recursive=recursive, set=of_set)
    rows = context.client().call("ls", request, list[EntryRow])
    if context.screen.json:
        context.screen.value(rows)
    elif rows:
        context.screen.line("\n".join(map(describe_entry, rows)))
    return 0


def split_place(text: str) -> tuple[str, str]:
    """Return (snapshot, path) of `SNAPSHOT[:PATH]`; the path may itself hold colons.

    Raises:
        UserError: no snapshot named.

    """
    name, _, path = text.partition(":")
    if not name:
        raise UserError(f"no snapshot named in {text[:80]!r}", hint="for example: latest, latest:/home/me, 3fa9c1d2")
    return name, path


def describe_entry(row: EntryRow) -> str:
    """Return an entry as `ls -l` would show it."""
    mode = stat.filemode(_TYPES.get(row.kind, 0) | row.mode)
    target = f" -> {escape_name(row.target)}" if row.kind == "symlink" else ""
    size = format_size(row.size) if row.kind == "file" else "-"
    return (
        f"{escape_line(mode)} {row.uid:>5} {row.gid:>5} {size:>7} {format_moment(row.mtime)} "
        f"{escape_name(row.path)}{target}"
    )
