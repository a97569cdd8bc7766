"""Options that say what a backup is of, and what of it is left out.

Knows: files of patterns and of paths. Must not know: what the patterns mean (files.ignore).
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from backuppeer.cli.units import parse_size
from backuppeer.control.saving import LeaveOut
from backuppeer.errors import NotFoundError, UserError
from backuppeer.limits import IGNORE_FILE_BYTES, PATH_LIST_BYTES

_Patterns = list[str] | None
_STDIN: Final = "-"


def leave_out(
    *,
    exclude: Annotated[
        _Patterns, typer.Option("--exclude", "-e", metavar="PATTERN", help="Leave out what fits, as in .gitignore.")
    ] = None,
    iexclude: Annotated[
        _Patterns, typer.Option("--iexclude", metavar="PATTERN", help="The same, whatever the case of letters.")
    ] = None,
    exclude_file: Annotated[
        _Patterns, typer.Option("--exclude-file", metavar="FILE", help="Patterns, one on each line.")
    ] = None,
    include: Annotated[
        _Patterns,
        typer.Option("--include", metavar="PATTERN", help="Keep all the same; not inside of a folder left out."),
    ] = None,
    exclude_caches: Annotated[
        bool, typer.Option("--exclude-caches", help="Leave out folders marked by a CACHEDIR.TAG.")
    ] = False,
    exclude_if_present: Annotated[
        _Patterns,
        typer.Option("--exclude-if-present", metavar="NAME[:TEXT]", help="Leave out folders that hold such a file."),
    ] = None,
    exclude_larger_than: Annotated[
        str | None, typer.Option("--exclude-larger-than", metavar="SIZE", help="Leave out larger files.")
    ] = None,
) -> LeaveOut:
    """Return what is left out."""
    read = [line for name in exclude_file or () for line in _read(name, IGNORE_FILE_BYTES).splitlines()]
    return LeaveOut(
        exclude=(*read, *(exclude or ())),
        iexclude=tuple(iexclude or ()),
        include=tuple(include or ()),
        caches=exclude_caches,
        if_present=tuple(exclude_if_present or ()),
        larger_than=None if exclude_larger_than is None else parse_size(exclude_larger_than),
    )


def read_paths(names: list[str], *, null: bool) -> list[str]:
    """Return the paths that the files `names` list (`-`: standard input), one on each line, or ended by NUL.

    Raises:
        NotFoundError: there is no such file, or it can't be read.
        UserError: it is longer than a list may be.

    """
    texts = [_read(name, PATH_LIST_BYTES) for name in names]
    return [path for text in texts for path in text.split("\0" if null else "\n") if path]


def _read(name: str, most: int) -> str:
    try:
        if name == _STDIN:
            data = sys.stdin.buffer.read(most + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(most + 1)
    except OSError as exc:
        raise NotFoundError(
            f"can't read {name!r}: {(exc.strerror or str(exc)).lower()}",
            hint="name a file that is there and yours to read",
        ) from exc
    if len(data) > most:
        raise UserError(f"{name!r} is longer than {most} bytes", hint="is it the right file? else split it in two")
    return os.fsdecode(data)
