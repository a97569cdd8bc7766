"""Which snapshots a verb is about: filters, `--group-by`, and the line above each group.

Knows: words. Must not know: which snapshots belong together (the agent says so, or fields of their rows).
"""

import os
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from backuppeer.cli.render import escape_line, escape_name

GROUPS: Final = "set,host,paths"
_ALL: Final = "all snapshots"
Tags = Annotated[list[str] | None, typer.Option(metavar="TAG", help="Only those with this tag; may be repeated.")]
Hosts = Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only those of this machine; may be repeated.")]
OfSet = Annotated[str, typer.Option("--set", metavar="NAME", help="Only those of this backup set.")]
LatestOf = Annotated[str, typer.Option("--set", metavar="NAME", help="With `latest`: the newest of this backup set.")]
OfPath = Annotated[str, typer.Option(metavar="PATH", help="Only those of this path.")]


def write_path(path: str) -> str:
    """Return a filter's path as `backup` wrote it down."""
    return os.path.abspath(path) if path else ""  # noqa: PTH100 - Path would drop a trailing /. silently


def read_fields(text: str) -> list[str]:
    """Return the fields that `set,host,paths` names; none for an empty text. The agent says which there are."""
    return [word for word in text.replace(" ", "").split(",") if word]


def name_group(set_name: str, host: str, paths: Sequence[str]) -> str:
    """Return the heading of a group, whose fields are empty where it was not grouped by them."""
    parts = [f"set {escape_line(set_name)}"] if set_name else []
    parts += [escape_line(host)] if host else []
    parts += [" ".join(map(escape_name, paths))] if paths else []
    return ", ".join(parts) or _ALL
