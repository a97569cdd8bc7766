"""A backup as it was asked for: of paths, or of a set with its hooks.

Knows: what a set makes of a request, when its hooks run. Must not know: how a backup goes, how a command is run.

`before` runs first of all where there is a host to back up to, and when it fails nothing is backed up. `after` runs
when a snapshot stands. `failed` runs whenever none does, also when `before` failed or the person left: it may have to
put right what `before` did. A dry run runs no hooks.
"""

import asyncio
import shlex
from collections.abc import Mapping, Sequence

import msgspec

from backuppeer.agent.home.config import read_config
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.sets import NO_HOOKS, BackupSet, find_set
from backuppeer.agent.jobs.backup import BackupJob, Paths
from backuppeer.agent.jobs.hooks import HookRunner
from backuppeer.agent.owner.leaving import choose_staying
from backuppeer.agent.owner.set_hosts import leave_out_gone
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.reporter import Reporter
from backuppeer.control.saving import BackupRequest, BackupResult, LeaveOut
from backuppeer.errors import BackupPeerError, LocalError, RefusedError, UserError
from backuppeer.limits import HOOK_PARTING_S


async def run_backup(
    vault: Vault, home: Home, request: BackupRequest, reporter: Reporter, *, gives_way: bool = False
) -> BackupResult:
    """Make the snapshot that a request asks for. gives_way: nobody waits for it.

    Raises:
        NotFoundError: there is no such set, or it names no host that keeps anything of ours.
        LocalError: the hook `before` failed.
        RefusedError: it must not be run.
        BackupPeerError: as `BackupJob.run`.

    """
    hooks, named = NO_HOOKS, list[str]()
    if request.set:
        chosen = find_set(read_config(home).sets, request.set)
        named = [] if request.to or request.dry_run else chosen.peers
        request = apply_set(request, chosen)
        hooks = NO_HOOKS if request.dry_run else chosen.hooks
    runner = HookRunner(home, request.set, hooks, reporter)
    try:
        return await _run_between(vault, request, runner, named, gives_way=gives_way)
    finally:
        await runner.close()


async def _run_between(
    vault: Vault, request: BackupRequest, runner: HookRunner, named: Sequence[str], *, gives_way: bool
) -> BackupResult:
    """Make the snapshot between the hooks; `named`: the hosts that the set names, of which some may be gone."""
    reporter = runner.reporter
    try:
        kept, gone = leave_out_gone(vault, request.set, named)
        request = msgspec.structs.replace(request, to=kept or request.to)
        if request.set and not request.dry_run:  # what `before` stops or dumps is for nothing where no host is left
            choose_staying(vault.deeds, vault.partners(request.to))
        await runner.run("before")
        result = await BackupJob(vault, request, reporter, Paths(request), gives_way=gives_way).run()
    except asyncio.CancelledError:
        await _tell_failure(runner, "interrupted", within_s=HOOK_PARTING_S)
        raise
    except BackupPeerError as exc:
        await _tell_failure(runner, exc.message)
        raise
    result.to += [host.name for host in gone]
    result.left_out += gone
    try:
        await runner.run("after", _describe(result))
    except (LocalError, RefusedError) as exc:
        result.hook_problem = exc.message
    return result


async def _tell_failure(runner: HookRunner, message: str, **within: float) -> None:
    """Run the hook `failed`; why the backup failed matters more than that the hook did, too."""
    try:
        await runner.run("failed", {"ERROR": message}, **within)
    except (LocalError, RefusedError) as exc:
        runner.reporter.note(exc.message)


def _describe(result: BackupResult) -> Mapping[str, str]:
    return {"SNAPSHOT": result.snapshot, "ERRORS": str(result.errors), "PEERS": str(len(result.peers))}


def apply_set(request: BackupRequest, chosen: BackupSet) -> BackupRequest:
    """Return the request for what a set says; `to`, `copies` and what else was given count before it.

    Raises:
        UserError: paths were named beside a set.

    """
    if request.paths:
        raise UserError(
            "a set has its own paths: name either paths or --set",
            hint=f"`backup-peer backup add PATH --set {shlex.quote(request.set)}` adds a path to the set",
        )
    asked = request.leave_out
    leave_out = LeaveOut(
        exclude=(*chosen.excludes, *asked.exclude),
        iexclude=(*chosen.iexcludes, *asked.iexclude),
        include=(*chosen.includes, *asked.include),
        caches=chosen.exclude_caches or asked.caches,
        if_present=(*chosen.exclude_if_present, *asked.if_present),
        larger_than=chosen.exclude_larger_than if asked.larger_than is None else asked.larger_than,
    )
    return msgspec.structs.replace(
        request,
        paths=list(chosen.paths),
        to=request.to or list(chosen.peers),
        copies=chosen.copies if request.copies is None else request.copies,
        one_file_system=chosen.one_file_system or request.one_file_system,
        priority=(*request.priority, *chosen.priorities),
        leave_out=leave_out,
    )
