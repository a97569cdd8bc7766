"""`backup add`, `backup remove`, `backup sets`, and the offer to keep a first backup as a set.

Knows: how sets are written down and shown. Must not know: what is done with them (the agent reads the same settings).
"""

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Final, NamedTuple

import msgspec
import typer
from msgspec.structs import replace

from backuppeer.agent.home.config import Config, read_config
from backuppeer.agent.home.config_writer import revise_config
from backuppeer.agent.home.sets import (
    DEFAULT_SET,
    BackupSet,
    Retention,
    SetRow,
    add_paths,
    check_name,
    find_set,
    remove_paths,
)
from backuppeer.cli.context import Context, context_of
from backuppeer.cli.excluding import leave_out
from backuppeer.cli.groups import takes
from backuppeer.cli.render import escape_line, escape_name, format_count
from backuppeer.cli.screen import BOLD, Screen
from backuppeer.cli.units import format_size
from backuppeer.control.api import Nothing, PeerRow, StatusResult
from backuppeer.control.saving import BackupRequest, LeaveOut
from backuppeer.errors import NotFoundError, UserError

_RUN: Final = "by the agent, as long as it runs: `backup-peer status` says when"


class Aim(NamedTuple):
    """Which set, to whom, and how many copies have to be; empty or None = not said."""

    set: str
    to: list[str]
    copies: int | None


def aim_at(
    *,
    of_set: Annotated[
        str, typer.Option("--set", metavar="NAME", help="The backup set. [default, when no path is named]")
    ] = "",
    to: Annotated[
        list[str] | None, typer.Option("--to", metavar="PEER", help="Only to this host; may be repeated.")
    ] = None,
    copies: Annotated[
        int | None, typer.Option("--copies", min=1, metavar="N", help="How many hosts must hold the snapshot. [1]")
    ] = None,
) -> Aim:
    """Return what a verb is aimed at."""
    return Aim(of_set, to or [], copies)


# --- backup
def choose_set(context: Context, request: BackupRequest) -> BackupRequest:
    """Return the request for the set that is meant: the one named, `default` without a path, or a first one kept now.

    Raises:
        UserError: neither a path nor a set, or both.
        NotFoundError: there is no such set.

    """
    if request.paths:
        if request.set:
            raise UserError(
                "a set has its own paths: name either paths or --set",
                hint=f"`backup-peer backup add PATH --set {shlex.quote(request.set)}` adds a path to the set",
            )
        return _offer(context, request)
    sets = read_config(context.home).sets
    if not sets and not request.set:
        raise UserError(
            "nothing to back up yet: no path was named, and no set is kept",
            hint="name what is to be backed up, e.g. `backup-peer backup ~/documents`, or keep it for every time: "
            "`backup-peer backup add ~/documents`",
        )
    name = request.set or DEFAULT_SET
    find_set(sets, name)
    return replace(request, set=name)


def _offer(context: Context, request: BackupRequest) -> BackupRequest:
    """Ask, until that is answered, whether what is backed up shall be kept as a set; return what is to be run."""
    screen = context.screen
    if screen.json or request.dry_run or not screen.can_ask or not _can_be_kept(request.paths):
        return request
    config = read_config(context.home)
    if config.sets or not config.offer_set:
        return request
    status = context.client().call("status", Nothing(), StatusResult)
    # A yes beforehand was given to a first backup's question; later ones may be of anything, as a script's are.
    if status.read_only or (status.snapshots and screen.yes) or not _has_host(context):
        return request
    what = "this" if len(request.paths) == 1 else "these"
    screen.aside(
        f"{'You have no backup set yet' if status.snapshots else 'Your first backup'}. If you keep {what} as your set "
        f"`{DEFAULT_SET}`, the command `backup-peer backup` alone does it again, and `backup-peer backup add PATH` "
        "adds to it."
    )
    if not screen.confirm(f"keep {what} as set `{DEFAULT_SET}`?", unanswered="a set would be kept"):
        if not screen.input_ended:
            revise_config(context.home, lambda config: replace(config, offer_set=False))
            screen.aside("not asked again; `backup-peer backup add PATH` makes a set at any time")
        return request
    kept = _extend(add_paths(None, request.paths), request.leave_out, Aim("", request.to, request.copies))
    kept = replace(kept, one_file_system=request.one_file_system, priorities=list(request.priority))
    changed = revise_config(context.home, lambda now: replace(now, sets={DEFAULT_SET: kept, **now.sets}))
    if changed.sets[DEFAULT_SET] != kept:  # made by another command while the question stood
        screen.note(f"a set `{DEFAULT_SET}` was made meanwhile, and stays as it is: this runs as you asked for it")
        return request
    screen.aside("kept; `backup-peer backup sets` shows it")
    return replace(
        request, paths=[], set=DEFAULT_SET, leave_out=LeaveOut(), to=[], copies=None, one_file_system=False, priority=()
    )


def _has_host(context: Context) -> bool:
    """Say whether anybody keeps data for this home: else the backup fails, and a question before it is for nothing."""
    return any(peer.role != "owner" for peer in context.client().call("peers", Nothing(), list[PeerRow]))


def _can_be_kept(paths: Iterable[str]) -> bool:
    return all(path == os.fsencode(path).decode(errors="replace") and os.path.lexists(path) for path in paths)


# --- the settings
@takes(leave_out, into="without")
@takes(aim_at, into="aim")
def add(
    ctx: typer.Context,
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Folders and files to keep in the set.")],
    *,
    aim: Aim,
    without: LeaveOut,
) -> int:
    """Keep more paths, or what shall be left out, in a set; a new name makes a new set."""
    context = context_of(ctx)
    name = aim.set or DEFAULT_SET
    check_name(name)
    for path in paths:
        if not path or not os.path.lexists(path):
            hint = "name what is to be backed up, e.g. ~/documents"
            raise NotFoundError(f"no such file or folder: {path!r}", hint=hint)
    absolute = [os.path.abspath(path) for path in paths]  # noqa: PTH100 - as `backup` writes them down
    is_new = False

    def extend(config: Config) -> Config:
        nonlocal is_new
        is_new = name not in config.sets
        extended = _extend(add_paths(config.sets.get(name), absolute), without, aim)
        return replace(config, sets={**config.sets, name: extended})

    kept = revise_config(context.home, extend).sets[name]
    context.screen.line(f"{'new set' if is_new else 'set'} {escape_line(name)}: {_name_paths(kept)}", hang=2)
    if is_new:
        context.screen.line(f"`{_command(name)}` backs it up", hang=2)
    context.screen.done(_row(name, kept))
    return 0


def remove(
    ctx: typer.Context,
    paths: Annotated[list[str] | None, typer.Argument(metavar="[PATH...]", help="What the set shall not have.")] = None,
    *,
    of_set: Annotated[str, typer.Option("--set", metavar="NAME", help="The set; without a path all of it goes.")] = "",
) -> int:
    """Take paths out of a set, or with --set alone drop it. Snapshots stay."""
    context = context_of(ctx)
    if not paths and not of_set:
        raise UserError("neither a path nor a set is named", hint="`backup-peer backup sets` shows what there is")
    name = of_set or DEFAULT_SET
    absolute = [os.path.abspath(path) for path in paths or []]  # noqa: PTH100 - as `add`
    chosen = find_set(read_config(context.home).sets, name)

    def reduce(config: Config) -> Config:
        nonlocal chosen
        chosen = find_set(config.sets, name)
        sets = {other: kept for other, kept in config.sets.items() if other != name}
        if absolute:
            sets[name] = chosen = remove_paths(name, chosen, absolute)
        return replace(config, sets=sets)

    revise_config(context.home, reduce)
    if paths:
        context.screen.line(f"set {escape_line(name)}: {_name_paths(chosen)}", hang=2)
    else:
        context.screen.line(f"set {escape_line(name)} is dropped; its snapshots stay", hang=2)
    context.screen.done(_row(name, chosen))
    return 0


def list_sets(ctx: typer.Context) -> int:
    """Show the sets of this home."""
    context = context_of(ctx)
    sets = read_config(context.home).sets
    if context.screen.json:
        context.screen.value([_row(name, kept) for name, kept in sorted(sets.items())])
        return 0
    if not sets:
        context.screen.line("no sets yet")
        context.screen.hint("`backup-peer backup add ~/documents` keeps a folder for every backup")
        return 0
    for number, (name, kept) in enumerate(sorted(sets.items())):
        if number:
            context.screen.line()
        _show(context.screen, name, kept)
    return 0


def _extend(chosen: BackupSet, without: LeaveOut, aim: Aim) -> BackupSet:
    """Return a set with more left out, other hosts or another number of copies, where that was said."""
    return replace(
        chosen,
        excludes=_join(chosen.excludes, without.exclude),
        iexcludes=_join(chosen.iexcludes, without.iexclude),
        includes=_join(chosen.includes, without.include),
        exclude_caches=chosen.exclude_caches or without.caches,
        exclude_if_present=_join(chosen.exclude_if_present, without.if_present),
        exclude_larger_than=chosen.exclude_larger_than if without.larger_than is None else without.larger_than,
        peers=aim.to or chosen.peers,
        copies=chosen.copies if aim.copies is None else aim.copies,
    )


def _join(before: Sequence[str], more: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*before, *more]))


def _row(name: str, kept: BackupSet) -> SetRow:
    return SetRow(set=name, **msgspec.structs.asdict(kept))


def _command(name: str) -> str:
    return "backup-peer backup" if name == DEFAULT_SET else f"backup-peer backup --set {shlex.quote(name)}"


def _name_paths(kept: BackupSet) -> str:
    return " ".join(map(escape_name, kept.paths))


def _show(screen: Screen, name: str, kept: BackupSet) -> None:
    screen.line(screen.paint(escape_line(name), BOLD) if screen.out_is_terminal else escape_line(name))
    for path in kept.paths:
        screen.line(f"  {escape_name(path)}")
    for title, value in _describe(kept).items():
        if value:
            screen.line(f"  {title}: {value}", hang=4)
    screen.line(f"  run it: `{_command(name)}`", hang=4)


def _describe(kept: BackupSet) -> Mapping[str, str]:
    patterns = [*kept.excludes, *kept.iexcludes, *(f"!{pattern}" for pattern in kept.includes)]
    marks = ["caches"] * kept.exclude_caches + [f"folders with {name}" for name in kept.exclude_if_present]
    if kept.exclude_larger_than is not None:
        marks.append(f"files over {format_size(kept.exclude_larger_than)}")
    hosts = ", ".join(map(escape_line, kept.peers)) or "all hosts that have agreed"
    copies = f"; {format_count(kept.copies, 'copy', 'copies')} at least" if kept.copies > 1 else ""
    hooks = [event for event, command in msgspec.structs.asdict(kept.hooks).items() if command]
    return {
        "sends first": ", ".join(map(escape_line, kept.priorities)),
        "leaves out": ", ".join(map(escape_line, [*patterns, *marks])),
        "to": hosts + copies,
        "`forget` keeps": _describe_retention(kept.retention),
        "schedule": _describe_schedule(kept),
        "hooks": ", ".join(hooks),
    }


def _describe_schedule(kept: BackupSet) -> str:
    if not kept.schedule:
        return ""
    window = f", begun within {escape_line(kept.window)}" if kept.window else ""
    by_itself = kept.auto_forget and kept.retention.policy().has_rule
    forgets = "; forgets by itself" if by_itself else ""
    return f"{escape_line(kept.schedule)}{window}{forgets} ({_RUN})"


def _describe_retention(retention: Retention) -> str:
    counts = {name: count for name, count in msgspec.structs.asdict(retention).items() if isinstance(count, int)}
    parts = [f"{'all' if count < 0 else count} {name}" for name, count in counts.items() if count]
    parts += [f"within {escape_line(retention.within)}"] if retention.within else []
    return ", ".join([*parts, *(f"tag {escape_line(tag)}" for tag in retention.tags)])
