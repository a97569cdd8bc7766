"""Backup sets: what is backed up together, by name, as `config.toml` says it (ADR 0025).

Knows: the fields of a set, what values they take. Must not know: who runs it. Every set is checked whenever the
settings are read, so that a slip of the pen is told at the next command and not at the next backup.
"""

import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

import msgspec

from backuppeer.agent.home.hours import parse_hours
from backuppeer.agent.home.schedule import parse_schedule
from backuppeer.backup.parents import is_within
from backuppeer.backup.retention import ALL, Policy
from backuppeer.backup.roots import normalise_path
from backuppeer.clock import parse_duration
from backuppeer.errors import NotFoundError, UserError
from backuppeer.limits import BACKUP_SETS, SNAPSHOT_PATHS

T = TypeVar("T")
DEFAULT_SET: Final = "default"
Command = str | list[str]
"""One line for the shell, or a program and its arguments."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Part of the settings: unknown keys are refused, so that a typing error can't pass in silence."""


class Retention(_Part, frozen=True):
    """What `forget` keeps of a set: numbers as `--keep-daily` takes them, `within` a duration as text."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: str = ""
    tags: list[str] = []

    def policy(self) -> Policy:
        """Return the rules.

        Raises:
            UserError: `within` is no duration.

        """
        return Policy(
            last=self.last,
            hourly=self.hourly,
            daily=self.daily,
            weekly=self.weekly,
            monthly=self.monthly,
            yearly=self.yearly,
            within_s=parse_duration(self.within) if self.within else 0,
            tags=tuple(self.tags),
        )


class Hooks(_Part, frozen=True):
    """Commands run beside a backup of the set, each empty for none."""

    before: Command = ""
    after: Command = ""
    failed: Command = ""


_NO_RULES: Final = Retention()
NO_HOOKS: Final = Hooks()


class BackupSet(_Part, frozen=True):
    """One set. Patterns as `--exclude` takes them; `exclude_larger_than` in bytes; `peers`: none = all agreed hosts."""

    paths: list[str]
    excludes: list[str] = []
    iexcludes: list[str] = []
    includes: list[str] = []
    exclude_caches: bool = False
    exclude_if_present: list[str] = []
    exclude_larger_than: int | None = None
    one_file_system: bool = False
    priorities: list[str] = []
    """As `--priority` takes them: what fits the first is sent first."""
    peers: list[str] = []
    copies: int = 1
    """Hosts that must hold a snapshot for the backup to have done its work."""
    schedule: str = ""
    window: str = ""
    """Hours of the day in which a scheduled backup begins; one that runs at their end goes on."""
    retention: Retention = _NO_RULES
    auto_forget: bool = True
    """Whether the agent goes by `retention` after each scheduled backup; else `forget` is left to a person."""
    hooks: Hooks = NO_HOOKS

    def check(self) -> None:
        """Check what types don't say.

        Raises:
            UserError: a value that can't be meant.

        """
        if not self.paths:
            raise UserError("paths is empty", hint="a set names at least one folder or file")
        if len(self.paths) > SNAPSHOT_PATHS:
            raise UserError(f"more than {SNAPSHOT_PATHS} paths", hint="name the folders they are in")
        for path in self.paths:
            normalise_path(os.fsencode(path))
        if self.copies < 1:
            raise UserError("copies is below 1", hint="copies = 1 or more: how many hosts are to have each backup")
        if self.schedule:
            _name("schedule", parse_schedule, self.schedule)
        if self.window:
            _name("window", parse_hours, self.window)
        self._check_retention()
        for command in msgspec.structs.asdict(self.hooks).values():
            if isinstance(command, list) and not (command and command[0]):
                raise UserError(
                    "a hook names no program", hint='write it like ["/usr/bin/true"], or as one line of text'
                )

    def _check_retention(self) -> None:
        for name, count in msgspec.structs.asdict(self.retention).items():
            if isinstance(count, int) and count < ALL:
                raise UserError(f"retention.{name} is below -1", hint="-1 keeps all, 0 is no rule")
        if self.retention.within:
            _name("retention.within", parse_duration, self.retention.within)
        policy = self.retention.policy()
        if policy.has_rule:
            _name("retention", Policy.check, policy)


def _name(key: str, check: Callable[[T], object], value: T) -> None:
    """Have a value checked; what is told of it names its key, by which the line is found."""
    try:
        check(value)
    except UserError as exc:
        raise UserError(f"{key}: {exc.message}", hint=exc.hint) from exc


class SetRow(BackupSet, frozen=True, omit_defaults=False, kw_only=True):
    """A set under its name, as `backup sets` prints it."""

    set: str


def check_sets(sets: Mapping[str, BackupSet]) -> None:
    """Check all sets of a home.

    Raises:
        UserError: one that can't be meant; the message names it.

    """
    if len(sets) > BACKUP_SETS:
        raise UserError(f"more than {BACKUP_SETS} sets", hint="one set may name many paths: join some")
    for name, chosen in sets.items():
        check_name(name)
        try:
            chosen.check()
        except UserError as exc:
            raise UserError(f"sets.{name}: {exc.message}", hint=exc.hint) from exc


def check_name(name: str) -> None:
    """Check that a set may be called so.

    Raises:
        UserError: it may not.

    """
    if not _NAME.fullmatch(name):
        raise UserError(
            f"not a name of a set: {name[:40]!r}", hint="up to 64 letters, digits, dots and dashes, like photos"
        )


def find_set(sets: Mapping[str, BackupSet], name: str) -> BackupSet:
    """Return the set of that name.

    Raises:
        NotFoundError: there is none.

    """
    if name in sets:
        return sets[name]
    if not sets:
        raise NotFoundError(
            "nothing to back up yet: no folder was ever kept in a set",
            hint="`backup-peer backup add ~/documents` keeps one, `backup-peer backup` then backs it up",
        )
    raise NotFoundError(
        f"there is no set {name[:64]!r}: there is {', '.join(sorted(sets))}",
        hint="`backup-peer backup sets` shows them; another one is named with --set NAME",
    )


def add_paths(chosen: BackupSet | None, paths: Iterable[str]) -> BackupSet:
    """Return a set with more paths; None: a new one. Paths that lie in others of it add nothing.

    Raises:
        UserError: a path that can't be written down.

    """
    before = chosen.paths if chosen else []
    added = [_write(path) for path in paths]
    everything = [*before, *added]
    kept = [path for path in dict.fromkeys(everything) if not _is_inside(path, everything)]
    return msgspec.structs.replace(chosen, paths=kept) if chosen else BackupSet(paths=kept)


def remove_paths(name: str, chosen: BackupSet, paths: Iterable[str]) -> BackupSet:
    """Return a set without some of its paths.

    Raises:
        NotFoundError: it has not got one of them.
        UserError: none would be left.

    """
    gone = [_write(path) for path in paths]
    for path in gone:
        if path not in chosen.paths:
            raise NotFoundError(f"set {name} has no {path!r}", hint="`backup-peer backup sets` shows what it has")
    left = [path for path in chosen.paths if path not in gone]
    if not left:
        raise UserError(
            f"set {name} would be empty",
            hint=f"`backup-peer backup remove --set {shlex.quote(name)}` drops the set; snapshots stay",
        )
    return msgspec.structs.replace(chosen, paths=left)


def _is_inside(path: str, others: Iterable[str]) -> bool:
    return any(other != path and is_within(os.fsencode(path), os.fsencode(other)) for other in others)


def _write(path: str) -> str:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise UserError(
            f"this path can't be kept in a set, since its name is not UTF-8: {path!r}",
            hint="name the folder it lies in, or back it up by hand",
        ) from None
    return os.fsdecode(normalise_path(os.fsencode(path)))
