"""`find`: the entries of many snapshots that fit patterns, each directory read once.

Knows: patterns, directories by their content. Must not know: which snapshots are meant, how matches are shown.

Snapshots share the subtrees that did not change. What was found in a directory is remembered under its content ids
(with a pattern for whole paths: under ids and path), so that in the next snapshot a subtree that is the same is told
again without being read. What is remembered is capped: beyond, all is forgotten, and read again.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Final

from backuppeer.backup.kinds import name_kind
from backuppeer.backup.trees import TreeReader, Visit
from backuppeer.errors import IntegrityFault, UserError
from backuppeer.limits import FIND_REMEMBERED, TREE_DEPTH
from backuppeer.repo.tree import EntryKind, TreeEntry

OnError = Callable[[bytes, IntegrityFault], None]
_Key = bytes | tuple[bytes, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is looked for; empty fields match all.

    `patterns`: globs on the name, those with a slash on the whole path. Times in nanoseconds: from `newer_ns` on,
    before `older_ns`. With a size only files are meant, both ends included.
    """

    patterns: tuple[str, ...] = ()
    ignore_case: bool = False
    kinds: frozenset[str] = frozenset()
    newer_ns: int | None = None
    older_ns: int | None = None
    min_bytes: int | None = None
    max_bytes: int | None = None


class Matcher:
    """Decides whether an entry is wanted."""

    def __init__(self, wanted: Wanted) -> None:
        """Compile the patterns.

        Raises:
            UserError: no pattern, or an empty one.

        """
        if not wanted.patterns or not all(wanted.patterns):
            raise UserError("nothing to look for: a pattern is empty", hint="for example: `backup-peer find '*.jpg'`")
        self._wanted = wanted
        flags = re.IGNORECASE if wanted.ignore_case else re.NOFLAG
        self._name = _compile([one for one in wanted.patterns if "/" not in one], flags)
        self._path = _compile([_anchor(one) for one in wanted.patterns if "/" in one], flags)
        self._sizes = (0 if wanted.min_bytes is None else wanted.min_bytes, wanted.max_bytes)
        self._is_by_size = wanted.min_bytes is not None or wanted.max_bytes is not None

    @property
    def needs_path(self) -> bool:
        """Whether what matches in a directory depends on where it lies."""
        return self._path is not None

    def matches(self, above: bytes, entry: TreeEntry) -> bool:
        """Say whether an entry is wanted; `above`: the path of its directory, without leading slash."""
        return self._fits_name(above, entry) and self._fits_kind(entry) and self._fits_time(entry.mtime_ns)

    def _fits_name(self, above: bytes, entry: TreeEntry) -> bool:
        name = os.fsdecode(entry.name)
        if self._name is not None and self._name.match(name) is not None:
            return True
        if self._path is None:
            return False
        path = f"/{os.fsdecode(above)}/{name}" if above else f"/{name}"
        return self._path.match(path) is not None

    def _fits_kind(self, entry: TreeEntry) -> bool:
        if self._wanted.kinds and name_kind(entry.kind) not in self._wanted.kinds:
            return False
        least, most = self._sizes
        is_sized = least <= entry.size and (most is None or entry.size <= most)
        return not self._is_by_size or (entry.kind == EntryKind.FILE and is_sized)

    def _fits_time(self, mtime_ns: int) -> bool:
        newer, older = self._wanted.newer_ns, self._wanted.older_ns
        return (newer is None or mtime_ns >= newer) and (older is None or mtime_ns < older)


def _compile(patterns: Sequence[str], flags: re.RegexFlag) -> re.Pattern[str] | None:
    return re.compile("|".join(f"(?:{translate(one)})" for one in patterns), flags) if patterns else None


def _anchor(pattern: str) -> str:
    """Return a pattern for whole paths: one that begins nowhere in particular may begin in any directory."""
    ended = pattern.rstrip("/") or "/"
    return ended if ended.startswith(("/", "*")) else f"*/{ended}"


@dataclass(slots=True)
class _Hit:
    """A name in a directory under which there is something: the entry itself, matches below it, or both."""

    name: bytes
    entry: TreeEntry | None
    below: "list[_Hit] | None"


_NOTHING: Final[list[_Hit]] = []


@dataclass(slots=True)
class _Frame:
    """A directory being read. `hits`: what to remember of it, None once that was too much."""

    path: bytes
    key: _Key
    name: bytes
    entries: Iterator[TreeEntry]
    hits: list[_Hit] | None = field(default_factory=list)


class Finder:
    """Searches snapshots one after the other, and remembers directories from each to the next."""

    def __init__(
        self,
        trees: TreeReader,
        matcher: Matcher,
        *,
        on_error: OnError,
        check: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Take trees and patterns; `check` is told at each directory how many were read, and may end it by raising."""
        self._trees, self._matcher, self._on_error, self._check = trees, matcher, on_error, check
        self._memory: dict[_Key, list[_Hit]] = {}
        self._stack: list[_Frame] = []
        self._held = 0
        self.directories = 0
        """How many were read."""

    def search(self, tree: bytes) -> Iterator[Visit]:
        """Yield the wanted entries of a snapshot in order of the walk; `tree`: the piece ids of its root.

        A directory that came back wrong is told to `on_error`, once, and left out.

        Raises:
            Unavailable: nobody who has a directory can be reached.

        """
        self._stack = []
        yield from self._enter(b"", b"", tree)
        while self._stack:
            frame = self._stack[-1]
            entry = self._next(frame)
            if entry is None:
                self._leave()
                continue
            is_hit = self._matcher.matches(frame.path, entry)
            if is_hit:
                yield Visit(_join(frame.path, entry.name), entry)
                self._keep(frame, _Hit(entry.name, entry, None))
            if entry.kind == EntryKind.DIRECTORY:
                yield from self._enter(_join(frame.path, entry.name), entry.name, entry.content)

    def _enter(self, path: bytes, name: bytes, content: bytes) -> Iterator[Visit]:
        """Go into a directory, or tell what is remembered of it."""
        key = self._key(path, content)
        known = self._memory.get(key)
        if known is not None:
            if known and self._stack:
                self._attach(self._stack[-1], name, known)
            yield from _replay(path, known)
            return
        if len(self._stack) >= TREE_DEPTH:
            self._on_error(path, IntegrityFault(f"lies more than {TREE_DEPTH} directories deep"))
            return
        self.directories += 1
        self._check(self.directories)
        entries = self._trees.entries(content, ahead=lambda entry: self._is_new(path, entry))
        self._stack.append(_Frame(path, key, name, entries))

    def _key(self, path: bytes, content: bytes) -> _Key:
        return (content, path) if self._matcher.needs_path else content

    def _is_new(self, path: bytes, entry: TreeEntry) -> bool:
        return self._key(_join(path, entry.name), entry.content) not in self._memory

    def _next(self, frame: _Frame) -> TreeEntry | None:
        try:
            return next(frame.entries, None)
        except IntegrityFault as exc:
            self._on_error(frame.path, exc)
            return None

    def _leave(self) -> None:
        frame = self._stack.pop()
        if frame.hits is None:
            return
        self._memory[frame.key] = frame.hits or _NOTHING
        if frame.hits and self._stack:
            self._attach(self._stack[-1], frame.name, frame.hits)
        self._count()

    def _attach(self, frame: _Frame, name: bytes, below: list[_Hit]) -> None:
        """Note that there is something below a name; if the name itself is a match, beside it."""
        if frame.hits and frame.hits[-1].name == name:
            frame.hits[-1].below = below
        else:
            self._keep(frame, _Hit(name, None, below))

    def _keep(self, frame: _Frame, hit: _Hit) -> None:
        if frame.hits is not None:
            frame.hits.append(hit)
            self._count()

    def _count(self) -> None:
        self._held += 1
        if self._held > FIND_REMEMBERED:
            self._memory.clear()
            self._held = 0
            for frame in self._stack:
                frame.hits = None


def _replay(path: bytes, hits: list[_Hit]) -> Iterator[Visit]:
    stack = [(path, iter(hits))]
    while stack:
        above, rest = stack[-1]
        hit = next(rest, None)
        if hit is None:
            stack.pop()
            continue
        at = _join(above, hit.name)
        if hit.entry is not None:
            yield Visit(at, hit.entry)
        if hit.below:
            stack.append((at, iter(hit.below)))


def _join(path: bytes, name: bytes) -> bytes:
    return path + b"/" + name if path else name
