"""`ls`: what lies in a snapshot."""

import stat
from typing import Annotated, Final

import typer

from backuppeer.cli.context import context_of
from backuppeer.cli.render import escape_line, escape_name, format_moment
from backuppeer.control.api import EntryRow, LsRequest
from backuppeer.errors import UserError

_TYPES: Final = {"file": stat.S_IFREG, "dir": stat.S_IFDIR, "symlink": stat.S_IFLNK}


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="ls", help="List the entries of a snapshot.")(ls)


def ls(
    ctx: typer.Context,
    snapshot: Annotated[str, typer.Argument(metavar="SNAPSHOT[:PATH]", help="Id, prefix or `latest`.")],
    recursive: Annotated[bool, typer.Option("--recursive", "-R", help="Everything below, too.")] = False,  # noqa: FBT002
) -> int:
    """Show the entries as `ls -l` would."""
    context = context_of(ctx)
    name, path = split_place(snapshot)
    request = LsRequest(servers=context.servers(), snapshot=name, path=path, recursive=recursive)
    rows = context.client().call("ls", request, list[EntryRow])
    if context.screen.json:
        context.screen.value(rows)
    elif rows:
        widest = max(len(str(row.size)) for row in rows)
        context.screen.line("\n".join(_describe(row, widest) for row in rows))
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


def _describe(row: EntryRow, widest: int) -> str:
    mode = stat.filemode(_TYPES.get(row.kind, 0) | row.mode)
    target = f" -> {escape_name(row.target)}" if row.kind == "symlink" else ""
    owner = f"{row.uid:>5} {row.gid:>5}"
    return (
        f"{escape_line(mode)} {owner} {row.size:>{widest}} {format_moment(row.mtime)} {escape_name(row.path)}{target}"
    )
