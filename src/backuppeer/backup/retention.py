"""Which snapshots to keep and which to forget: pure decisions about times, tags and groups.

Knows: rules, periods, groups. Must not know: the index, hosts, how a reason is shown.

A policy is a set of rules; a snapshot is kept when any rule keeps it, and each rule looks at all snapshots of a group,
also at those that another one keeps. The rules are those of restic and borg:

- `last` n: the n newest.
- `hourly`, `daily`, `weekly` (ISO weeks), `monthly`, `yearly` n: of each of the n newest periods that have a snapshot
  the newest one. Periods without a snapshot don't count, so a machine that was off for a year loses nothing. When
  fewer than n periods have one, the oldest snapshot of the group is kept too: history grows to its full length.
- `within` a time: all that are no older than that, counted back from the group's newest snapshot (as restic does; not
  from now, or a machine that was off would lose all).
- `tags`: all that have one of these tags.

n = -1 keeps all periods, 0 is no rule. A group never loses its last snapshot to a policy: when no rule keeps any (tags
that none has), the newest stays. A policy without a rule is an error, not "keep nothing".

Periods are those of the zone that is passed in. An hour that the clocks repeat in autumn is two hours, since it has two
offsets from UTC; periods are compared by name, not by what lies beside them, so clocks that go back over midnight
do not make one day count twice.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final

from backuppeer.errors import UserError
from backuppeer.ids import SnapshotId
from backuppeer.repo.snapshot import Snapshot

Dated = tuple[SnapshotId, Snapshot]
ALL: Final = -1
"""A count that never runs out."""
_NS: Final = 10**9
GROUP_FIELDS: Final = ("set", "host", "paths")
_LEFT: Final = "the only one left"
_PERIODS: Final[Mapping[str, Callable[[datetime], Hashable]]] = {
    "hourly": lambda at: (at.year, at.month, at.day, at.hour, at.utcoffset()),
    "daily": lambda at: (at.year, at.month, at.day),
    "weekly": lambda at: at.isocalendar()[:2],
    "monthly": lambda at: (at.year, at.month),
    "yearly": lambda at: at.year,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules. Counts: 0 = no such rule, ALL = without end. `within_s`: seconds, 0 = no such rule."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within_s: int = 0
    tags: tuple[str, ...] = ()

    @property
    def has_rule(self) -> bool:
        """Whether it says anything to be kept."""
        return any((self.last, *self.counts().values(), self.within_s, self.tags))

    def counts(self) -> dict[str, int]:
        """Return how many periods of each kind are wanted."""
        return {name: getattr(self, name) for name in _PERIODS}

    def check(self) -> None:
        """Check that it is one.

        Raises:
            UserError: no rule at all, or a number that means nothing.

        """
        if min(self.last, *self.counts().values()) < ALL or self.within_s < 0:
            raise UserError("a number to keep is below -1", hint="-1 keeps all, 0 is no rule")
        if not self.has_rule:
            raise UserError(
                "no rule says what to keep", hint="add one, e.g. --keep-daily 7, or name the snapshots to forget"
            )


@dataclass(frozen=True, slots=True)
class Group:
    """What the snapshots of one group have in common; a field that is not grouped by is empty."""

    set_name: str = ""
    host: str = ""
    paths: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """One snapshot, and why it is kept; without a reason it is forgotten."""

    snapshot: SnapshotId
    reasons: tuple[str, ...]

    @property
    def is_kept(self) -> bool:
        """Whether any rule keeps it."""
        return bool(self.reasons)


def check_group_by(fields: Iterable[str]) -> frozenset[str]:
    """Return the fields to group by.

    Raises:
        UserError: one that is none.

    """
    chosen = frozenset(fields)
    if unknown := sorted(chosen.difference(GROUP_FIELDS)):
        raise UserError(f"can't group by {unknown[0][:40]!r}", hint=f"group by some of {','.join(GROUP_FIELDS)}")
    return chosen


def group_snapshots(snapshots: Iterable[Dated], fields: frozenset[str]) -> dict[Group, list[Dated]]:
    """Return the snapshots in groups, in the order of their names; in each the oldest comes first.

    Where sets are told apart, the snapshots of one are not told apart by their paths as well.
    """
    by_paths = "paths" in fields
    groups: dict[Group, list[Dated]] = {}
    for dated in sorted(snapshots, key=_age):
        snapshot = dated[1]
        group = Group(
            snapshot.set if "set" in fields else "",
            snapshot.host if "host" in fields else "",
            # A set is one thing whatever its paths were: else each path more would begin its history anew.
            tuple(sorted(snapshot.paths)) if by_paths and not (snapshot.set and "set" in fields) else (),
        )
        groups.setdefault(group, []).append(dated)
    return dict(sorted(groups.items(), key=lambda item: (item[0].set_name, item[0].host, item[0].paths)))


def pick_latest(snapshots: Iterable[Dated], count: int, fields: frozenset[str]) -> list[Dated]:
    """Return the newest `count` of each group, all when that is 0, the oldest first whatever their group.

    Raises:
        UserError: a negative count.

    """
    if count < 0:
        raise UserError("--latest is below 1")
    groups = group_snapshots(snapshots, fields).values()
    return sorted((dated for members in groups for dated in members[-count:]), key=_age)


def plan_retention(
    snapshots: Iterable[Dated], policy: Policy, *, zone: tzinfo | None, fields: frozenset[str]
) -> dict[Group, list[Verdict]]:
    """Return for each snapshot whether it is kept and why, by group, the oldest of each group first.

    `zone`: whose hours, days, weeks count; None = this process's own. `fields`: as `check_group_by` gives them.

    Raises:
        UserError: the policy has no rule.

    """
    policy.check()
    return {group: judge(members, policy, zone) for group, members in group_snapshots(snapshots, fields).items()}


def judge(members: Iterable[Dated], policy: Policy, zone: tzinfo | None) -> list[Verdict]:
    """Return the verdicts on the snapshots of one group, the oldest first; the policy has a rule."""
    newest_first = sorted(members, key=_age, reverse=True)
    reasons: dict[int, list[str]] = {number: [] for number in range(len(newest_first))}
    moments = [_localise(snapshot, zone) for _, snapshot in newest_first]
    _keep_periods(reasons, "last", range(len(moments)), policy.last)
    for name, wanted in policy.counts().items():
        _keep_periods(reasons, name, [_PERIODS[name](moment) for moment in moments], wanted)
    for number, (_, snapshot) in enumerate(newest_first):
        if policy.within_s and snapshot.time_ns >= newest_first[0][1].time_ns - policy.within_s * _NS:
            reasons[number].append("within")
        reasons[number] += [f"tag {tag}" for tag in dict.fromkeys(policy.tags) if tag in snapshot.tags]
    if newest_first and not any(reasons.values()):
        reasons[0].append(_LEFT)
    return [Verdict(newest_first[number][0], tuple(reasons[number])) for number in reversed(reasons)]


def list_used(members: Sequence[Dated], within_s: int, gap_s: int) -> list[SnapshotId]:
    """Return which of a group, the oldest first, lie within seconds of the newest, a gap counting as `gap_s` at most.

    Also at most as an eighth of `within_s`, if that is more.
    """
    if not within_s:
        return []
    most_ns, left_ns, later_ns, kept = max(gap_s, within_s // 8) * _NS, within_s * _NS, 0, list[SnapshotId]()
    for name, snapshot in reversed(members):
        left_ns -= min(most_ns, later_ns - snapshot.time_ns) if kept else 0
        if left_ns < 0:
            break
        kept.append(name)
        later_ns = snapshot.time_ns
    return kept


def _keep_periods(reasons: dict[int, list[str]], name: str, periods: Sequence[Hashable], wanted: int) -> None:
    """Give a reason to the first of each of the first `wanted` periods; to the last of all when there are fewer."""
    seen: set[Hashable] = set()
    for number, period in enumerate(periods):
        if len(seen) == wanted:
            return
        if period not in seen:
            seen.add(period)
            reasons[number].append(name)
        elif number == len(periods) - 1:
            reasons[number].append(f"oldest {name}")


def _age(dated: Dated) -> tuple[int, SnapshotId]:
    """Order by time; of the same time by id, so that the verdict hangs on no order of the input."""
    return dated[1].time_ns, dated[0]


def _localise(snapshot: Snapshot, zone: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(snapshot.time_ns // _NS, UTC).astimezone(zone)
