"""Which paths a backup is of: normalised, merged, and the way down to them from "/".

Knows: path algebra on bytes. Must not know: the file system (nothing is resolved here).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from backuppeer.errors import UserError


@dataclass(slots=True)
class Root:
    """A place on the way: `whole` = all of it is wanted; else only `below` is."""

    whole: bool = False
    below: dict[bytes, "Root"] = field(default_factory=dict)


def normalise_path(path: bytes) -> bytes:
    """Return an absolute path without doubled slashes, dots or a trailing slash.

    Raises:
        UserError: it is relative, empty, or holds a NUL byte.

    """
    if not path.startswith(b"/") or b"\0" in path:
        raise UserError(f"not an absolute path: {os.fsdecode(path)!r}", hint="write it whole, like latest:/home/me")
    return b"/" + os.path.normpath(path).lstrip(b"/")


def split_path(path: bytes) -> list[bytes]:
    """Return the components of a path; none for "/"."""
    return [part for part in path.split(b"/") if part]


def plan_roots(paths: Sequence[bytes]) -> Root:
    """Return the tree of wanted places below "/"; a path inside another wanted one adds nothing.

    Raises:
        UserError: no path, or one that is not absolute.

    """
    if not paths:
        raise UserError("nothing to back up: no path was given")
    top = Root()
    for path in paths:
        at = top
        for part in split_path(normalise_path(path)):
            if at.whole:
                break
            at = at.below.setdefault(part, Root())
        at.whole = True
        at.below = {}
    return top
