"""What a `forget` means here and now: which snapshots go, which stay and why.

Knows: the index, the rules of a request. Must not know: hosts; nothing is changed. A snapshot of which only the name is
known (ADR 0015) is judged by no rule, and can be forgotten by its id: its time and tags can't be read.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from backuppeer.agent.home.sets import DEFAULT_SET, BackupSet, find_set
from backuppeer.agent.owner.losses import Witnesses, check_choice
from backuppeer.agent.owner.vault import Vault
from backuppeer.backup.browse import LATEST, SnapshotFilter, find_name, find_snapshot, list_snapshots
from backuppeer.backup.retention import (
    Group,
    Policy,
    Verdict,
    check_group_by,
    group_snapshots,
    plan_retention,
)
from backuppeer.clock import format_time
from backuppeer.control.amendments import ForgetGroup, ForgetPlan, ForgetRequest, PlannedRow
from backuppeer.errors import UserError
from backuppeer.ids import SnapshotId
from backuppeer.proof.merkle import root_of_set
from backuppeer.repo.snapshot import REPLACED, Snapshot


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Verdicts by group, oldest first, and the snapshots whose bytes are here."""

    groups: Mapping[Group, list[Verdict]]
    known: Mapping[SnapshotId, Snapshot]
    total: int

    @property
    def victims(self) -> list[SnapshotId]:
        """Return the snapshots that would go."""
        return [verdict.snapshot for group in self.groups.values() for verdict in group if not verdict.is_kept]

    @property
    def digest(self) -> str:
        """Return what names just these victims, in whatever order."""
        return root_of_set(self.victims).hex()

    def describe(self) -> ForgetPlan:
        """Return the plan for people and programs."""
        victims = len(self.victims)
        groups = [self._describe_group(group, verdicts) for group, verdicts in self.groups.items()]
        return ForgetPlan(groups=groups, forgotten=victims, kept=self.total - victims, digest=self.digest)

    def _describe_group(self, group: Group, verdicts: Iterable[Verdict]) -> ForgetGroup:
        return ForgetGroup(
            set=group.set_name,
            host=group.host,
            paths=[os.fsdecode(path) for path in group.paths],
            snapshots=[self._describe_row(verdict) for verdict in verdicts],
        )

    def _describe_row(self, verdict: Verdict) -> PlannedRow:
        snapshot = self.known.get(verdict.snapshot)
        return PlannedRow(
            snapshot=verdict.snapshot.hex(),
            kept=verdict.is_kept,
            time=format_time(snapshot.time_ns // 1_000_000) if snapshot else "",
            host=snapshot.host if snapshot else "",
            paths=[os.fsdecode(path) for path in snapshot.paths] if snapshot else [],
            tags=list(snapshot.tags) if snapshot else [],
            reasons=list(verdict.reasons),
        )


def plan_forgetting(vault: Vault, request: ForgetRequest) -> Forgetting:
    """Return what a request means for the snapshots that the index holds now.

    Raises:
        NotFoundError: a snapshot that is named is not there.
        IntegrityFault: `latest` may be one that is missing.
        UserError: neither snapshots nor a rule, or both; a field or zone that is none.

    """
    index = vault.repository.index
    names, known = index.snapshot_names(), dict(list_snapshots(index))
    policy, wanted = _read_policy(request), _read_filter(request)
    fields = check_group_by(request.group_by)
    if not request.snapshots:
        chosen = [(name, snapshot) for name, snapshot in known.items() if wanted.matches(snapshot)]
        if REPLACED not in wanted.tags:  # no rule keeps one of those in the place of a true one, or drops it unsaid
            chosen = [(name, snapshot) for name, snapshot in chosen if REPLACED not in snapshot.tags]
        groups = plan_retention(chosen, policy, zone=_find_zone(request.zone), fields=fields)
        return Forgetting(groups, known, len(names))
    if policy.has_rule or wanted != SnapshotFilter():
        raise UserError(
            "rules and filters choose among all snapshots: leave them out beside ids",
            hint="for example: `backup-peer forget ID`, or `backup-peer forget --keep-daily 7`",
        )
    victims = dict.fromkeys(find_named(vault, text) for text in request.snapshots)
    chosen = [(name, known[name]) for name in victims if name in known]
    named = {
        group: [Verdict(name, ()) for name, _ in members] for group, members in group_snapshots(chosen, fields).items()
    }
    if missing := [Verdict(name, ()) for name in victims if name not in known]:
        named[Group()] = [*missing, *named.get(Group(), [])]
    return Forgetting(named, known, len(names))


def find_named(vault: Vault, text: str) -> SnapshotId:
    """Return the snapshot that an id, a prefix or `latest` names, one that is known by name only included.

    Raises:
        NotFoundError: there is none, or several.
        IntegrityFault: `latest` may be one that is missing.

    """
    index = vault.repository.index
    if text.lower() != LATEST:
        return find_name(index.snapshot_names(), text)
    chosen, _ = find_snapshot(index, text)
    check_choice(text, chosen, vault.named_losses(), Witnesses())
    return chosen


def apply_retention(request: ForgetRequest, sets: Mapping[str, BackupSet]) -> ForgetRequest:
    """Return the request with the rules of its set, or of the set `default`, where it has neither rules nor ids.

    Raises:
        NotFoundError: there is no such set.
        UserError: it has no rules either.

    """
    if request.snapshots or _read_policy(request).has_rule or not (request.set or DEFAULT_SET in sets):
        return request
    name = request.set or DEFAULT_SET
    policy = find_set(sets, name).retention.policy()
    if not policy.has_rule:
        raise UserError(
            f"no rule says what to keep, and set {name} has none of its own",
            hint=f"add one, e.g. --keep-daily 7, or for good [sets.{name}.retention] to the settings: `daily = 7`",
        )
    return msgspec.structs.replace(
        request,
        set=name,
        **{f"keep_{period}": count for period, count in policy.counts().items()},
        keep_last=policy.last,
        keep_within_s=policy.within_s,
        keep_tags=list(policy.tags),
    )


def _read_policy(request: ForgetRequest) -> Policy:
    return Policy(
        last=request.keep_last,
        hourly=request.keep_hourly,
        daily=request.keep_daily,
        weekly=request.keep_weekly,
        monthly=request.keep_monthly,
        yearly=request.keep_yearly,
        within_s=request.keep_within_s,
        tags=tuple(request.keep_tags),
    )


def _read_filter(request: ForgetRequest) -> SnapshotFilter:
    return SnapshotFilter(
        set_name=request.set,
        hosts=tuple(request.hosts),
        tags=tuple(request.tags),
        path=os.fsencode(request.path),
    )


def _find_zone(name: str) -> ZoneInfo | None:
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise UserError(f"not a time zone: {name[:40]!r}", hint="write it like Europe/Berlin, in TZ") from exc
