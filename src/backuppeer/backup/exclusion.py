"""What a backup leaves out: patterns, `.backupignore` files, marked folders, large files.

Knows: which rule goes before which. Must not know: how directories are walked.

An entry is decided by the first of these that says anything: `--include`, `--exclude`, then the `.backupignore` files
from the entry's own folder upwards. Below a folder that is left out nothing is looked at, as in git. Paths that the
person named are never left out themselves.
"""

import os
from collections.abc import Callable, Collection
from typing import Final

import msgspec

from backuppeer.errors import UserError
from backuppeer.files.ignore import Patterns, anywhere, read_lines
from backuppeer.files.scan import join_path
from backuppeer.limits import IGNORE_FILE_BYTES, MARKER_BYTES

IGNORE_FILE: Final = b".backupignore"
_CACHE_TAG: Final = b"CACHEDIR.TAG"
_CACHE_SIGNATURE: Final = b"Signature: 8a477f597d28d172789f06886806bc55"
"""As https://bford.info/cachedir/ asks for."""
Read = Callable[[bytes, int], bytes]
"""Returns at most so many bytes of the file of this name in the directory; OSError when it can't be read."""


class Exclusions(msgspec.Struct, frozen=True, kw_only=True):
    """What a person said. Patterns as in .gitignore, from `/` on; `if_present`: NAME or NAME:BEGINNING of a file."""

    exclude: tuple[str, ...] = ()
    iexclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    caches: bool = False
    if_present: tuple[str, ...] = ()
    larger_than: int | None = None
    """Bytes of a file."""


class _Command(msgspec.Struct, frozen=True):
    """The same, made ready: the same for all directories."""

    patterns: tuple[Patterns, ...]
    markers: tuple[tuple[bytes, bytes], ...]
    larger_than: int | None


class Rules(msgspec.Struct, frozen=True):
    """The rules inside the directory at `path`. `kept`: the only names that stay, of a marked one.

    `problems`: what is wrong with its `.backupignore`.
    """

    command: _Command
    path: bytes = b""
    inherited: tuple[Patterns, ...] = ()
    kept: frozenset[bytes] | None = None
    problems: tuple[str, ...] = ()

    @property
    def is_active(self) -> bool:
        """Whether anything could be left out."""
        return bool(
            self.command.patterns or self.inherited or self.kept is not None or self.command.larger_than is not None
        )

    @property
    def may_leave_out(self) -> bool:
        """Whether anything could be left out here, or deeper down by a mark in a directory."""
        return self.is_active or bool(self.command.markers)

    def enter(self, path: bytes, names: Collection[bytes], read: Read) -> "Rules":
        """Return the rules inside the directory at `path`, which holds `names`."""
        kept: frozenset[bytes] | None = None
        for name, beginning in self.command.markers:
            if name in names and _begins(read, name, beginning):
                # The mark itself stays, so that a restored folder is still one whose content may be missing.
                kept = frozenset({name})
        if IGNORE_FILE not in names:
            return Rules(self.command, path, self.inherited, kept)
        lines, problems = _read_ignore_file(read, path)
        return Rules(self.command, path, (Patterns(lines, path), *self.inherited), kept, tuple(problems))

    def leaves_out(self, name: bytes, *, is_directory: bool, size: int = 0) -> bool:
        """Say whether the entry `name` is left out; `size`: bytes of a file."""
        if self.kept is not None:
            return name not in self.kept
        most = self.command.larger_than
        if most is not None and not is_directory and size > most:
            return True
        for patterns in (*self.command.patterns, *self.inherited):
            decision = patterns.decide(join_path(self.path, name), is_directory=is_directory)
            if decision is not None:
                return decision
        return False


def make_rules(exclusions: Exclusions) -> Rules:
    """Return the rules above `/`, to be entered first.

    Raises:
        UserError: something is no pattern, or no name.

    """
    given = (
        (["!" + anywhere(pattern) for pattern in exclusions.include], False),
        ([anywhere(pattern) for pattern in exclusions.exclude], False),
        ([anywhere(pattern) for pattern in exclusions.iexclude], True),
    )
    patterns = tuple(Patterns(lines, b"/", ignore_case=ignore_case) for lines, ignore_case in given if lines)
    markers = [_parse_marker(text) for text in exclusions.if_present]
    if exclusions.caches:
        markers.append((_CACHE_TAG, _CACHE_SIGNATURE))
    return Rules(_Command(patterns, tuple(markers), exclusions.larger_than))


def _read_ignore_file(read: Read, path: bytes) -> tuple[list[str], list[str]]:
    """Return the patterns of the `.backupignore` in the directory at `path`, and what is wrong with it."""
    try:
        data = read(IGNORE_FILE, IGNORE_FILE_BYTES + 1)
    except OSError as exc:
        return [], [(exc.strerror or str(exc)).lower()]
    if len(data) > IGNORE_FILE_BYTES:
        return [], [f"is longer than {IGNORE_FILE_BYTES} bytes: none of its patterns counts"]
    lines: list[str] = []
    problems: list[str] = []
    for number, line in enumerate(read_lines(data), 1):
        try:
            Patterns([line], path)
        except UserError as exc:
            problems.append(f"line {number} does not count: {exc.message}")
        else:
            lines.append(line)
    return lines, problems


def _parse_marker(text: str) -> tuple[bytes, bytes]:
    name, _, beginning = text.partition(":")
    if not name or "/" in name or "\0" in name:
        raise UserError(f"not the name of a file: {text[:80]!r}", hint="--exclude-if-present NAME or NAME:BEGINNING")
    return os.fsencode(name), os.fsencode(beginning)


def _begins(read: Read, name: bytes, beginning: bytes) -> bool:
    try:
        return not beginning or read(name, MARKER_BYTES).startswith(beginning)
    except OSError:
        return False
