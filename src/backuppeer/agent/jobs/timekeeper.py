"""Backups that the agent makes by itself: each set that has a schedule, when it is due.

Knows: when a set ran last and is due next, that nothing else is held up. Must not know: how a backup goes. When a set
ran last is read from its newest snapshot, so a restart neither forgets nor repeats one, and one made by hand counts. A
time that passed while the machine slept is caught up once, when it is awake again. What a clock that was ahead wrote
(a snapshot of the future, a time worked out then) counts for nothing once it was put right. One that failed is tried
again after five minutes, ten, twenty, six hours at most. Sets start within a random while after they are due, so that
many owners of one host don't call in step. A set with a window begins within those hours alone, tries of one that
failed included; what runs at their end goes on, since half a backup is no snapshot. After a backup old snapshots go,
and space is freed (`housekeeping`).
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import structlog

from backuppeer.agent.heap import returning_memory
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.hours import Hours, find_end_ms, fit_ms, parse_hours
from backuppeer.agent.home.schedule import Schedule, next_after_ms, parse_schedule, period_s
from backuppeer.agent.home.sets import BackupSet
from backuppeer.agent.jobs.board import Board
from backuppeer.agent.jobs.housekeeping import Housekeeping
from backuppeer.agent.jobs.set_run import run_backup
from backuppeer.agent.owner.leaving import describe_hostless, has_staying
from backuppeer.agent.owner.set_hosts import read_sets
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.reporter import Emit, reporting
from backuppeer.backup.browse import list_snapshots
from backuppeer.clock import format_time
from backuppeer.control.saving import BackupRequest, BackupResult
from backuppeer.control.scheduling import ScheduledSet
from backuppeer.errors import BackupPeerError, InterruptedByUserError
from backuppeer.limits import (
    SCHEDULE_JITTER_S,
    SCHEDULE_LATE_DAYS,
    SCHEDULE_LOOK_S,
    SCHEDULE_RETRY_MOST_S,
    SCHEDULE_RETRY_S,
)

_log = structlog.get_logger()
Pick = Callable[[float, float], float]
_JITTER_SHARE = 0.05
_RETRY_SPREAD = 1.2
_DAY_MS = 86_400_000


@dataclass(slots=True)
class _Course:
    """What is known of one set: `start_ms` is 0 as long as it is not worked out."""

    schedule: Schedule
    hours: Hours | None = None
    last_ms: int = 0
    """When it ran last; 0: never, so it is due at once."""
    start_ms: int = 0
    failures: int = 0
    code: int = 0
    failure: str = ""
    failed_ms: int = 0
    running_ms: int = 0
    """Since when it is backed up; 0: it is not."""

    def is_like(self, other: "_Course") -> bool:
        """Whether both have the same words."""
        return (self.schedule, self.hours) == (other.schedule, other.hours)

    def fit(self, due_ms: int) -> int:
        """Return when it may begin that is due then."""
        return due_ms if self.hours is None else fit_ms(self.hours, due_ms)

    def may_begin(self, now_ms: int) -> bool:
        """Whether it may begin now."""
        return self.hours is None or find_end_ms(self.hours, now_ms) > 0


class Timekeeper:
    """The schedules of one home, from the start of the agent to its end. `pick`: jitter, as random.uniform.

    before: what is to be done before each backup, such as hearing what hosts answered.
    """

    def __init__(
        self,
        vault: Vault,
        home: Home,
        *,
        before: Callable[[], Awaitable[object]],
        housekeeping: Housekeeping,
        pick: Pick = random.uniform,
    ) -> None:
        self._vault, self._home, self._before, self._pick = vault, home, before, pick
        self.housekeeping = housekeeping
        self._courses = dict[str, _Course]()
        self.board = Board(vault.clock)
        self.find_obstacle: Callable[[], str] = str
        """Why nothing is begun by schedule now, in words; "": it is. Set by who knows this machine."""

    async def run(self) -> None:
        """Back up what is due until cancelled."""
        while True:
            try:
                await self.look()
            except (BackupPeerError, OSError) as exc:
                _log.warning("no schedules", reason=str(exc))
            await asyncio.sleep(SCHEDULE_LOOK_S)

    async def look(self) -> list[str]:
        """Back up the sets that are due, one after the other; return those that were tried.

        Raises:
            BackupPeerError: the settings or the index can't be read.

        """
        self._follow_settings()
        tried = []
        if self._may_back_up() and not self.find_obstacle():
            for name, course in list(self._courses.items()):
                if self.find_obstacle():
                    break
                if await self._is_due(name, course):
                    tried.append(name)
                    await self._back_up(name, course)
            if not tried and self._may_prune():
                await self.housekeeping.prune_if_due()
        return tried

    def describe(self) -> list[ScheduledSet]:
        """Return when each set ran, is due, and what went wrong."""
        self._follow_settings()
        now_ms, rows, found = self._vault.clock.now_ms(), [], self._list_last()
        sets = read_sets(self._home)
        obstacle, idle = self.find_obstacle(), describe_hostless(self._vault)
        for name, course in sorted(self._courses.items()):
            if not course.running_ms:
                self._catch_up(course, found.get(name, 0), now_ms)
            last_ms = course.last_ms or found.get(name, 0)
            next_ms = course.start_ms or now_ms
            forgotten = self.housekeeping.forgotten(name)
            late_ms = max(SCHEDULE_LATE_DAYS * _DAY_MS, 3000 * period_s(course.schedule))
            rows.append(
                ScheduledSet(
                    set=name,
                    next=format_time(course.fit(max(next_ms, now_ms))),
                    last=format_time(last_ms) if last_ms else "",
                    failed=format_time(course.failed_ms) if course.failed_ms else "",
                    failure=course.failure,
                    running=format_time(course.running_ms) if course.running_ms else "",
                    late=bool(last_ms) and now_ms - last_ms > late_ms,
                    window=sets[name].window if name in sets else "",
                    forgot=forgotten.count,
                    forgot_time=format_time(forgotten.time_ms) if forgotten.time_ms else "",
                    kept_why=forgotten.problem,
                    failures=course.failures,
                    code=course.code,
                    idle=idle,
                    waiting="" if course.running_ms or course.fit(max(next_ms, now_ms)) > now_ms else obstacle,
                )
            )
        return rows

    def _follow_settings(self) -> None:
        found = {name: _read_course(each) for name, each in read_sets(self._home).items() if each.schedule}
        self._courses = {
            name: course if (course := self._courses.get(name)) and course.is_like(fresh) else fresh
            for name, fresh in found.items()
        }

    def _may_back_up(self) -> bool:
        vault = self._vault
        is_ours = vault.exists_repository and vault.writer.may_write and not vault.is_unrecovered
        is_free = not vault.busy.locked() and not vault.pruning.locked()
        # Nothing new goes to hosts that our own person ended with: no failure to tell of every few hours.
        return is_ours and is_free and has_staying(vault.deeds, vault.partners())

    def _may_prune(self) -> bool:
        """Whether it is an hour of any set: without windows any is."""
        now_ms = self._vault.clock.now_ms()
        return self._may_back_up() and any(course.may_begin(now_ms) for course in self._courses.values())

    async def _is_due(self, name: str, course: _Course) -> bool:
        now_ms = self._vault.clock.now_ms()
        if self._was_ahead(course, now_ms):
            course.last_ms = course.start_ms = course.failures = course.failed_ms = 0
        if not course.start_ms:
            self._catch_up(course, await asyncio.to_thread(self._find_last, name), now_ms)
        if course.start_ms <= now_ms and not course.may_begin(now_ms):
            # This machine slept, or others came first: its hours are over.
            course.start_ms = self._draw_start(course, now_ms)
        if course.start_ms > now_ms:
            return False
        self._catch_up(course, await asyncio.to_thread(self._find_last, name), now_ms)
        return course.start_ms <= now_ms

    def _catch_up(self, course: _Course, found_ms: int, now_ms: int) -> None:
        """Let a backup made by hand count (found_ms: the newest of the set), and draw the next time if none stands.

        A time is drawn once, so that what is told is when it begins. Called by threads as well: either draw will do.
        """
        if found_ms > max(course.last_ms, course.failed_ms):
            course.failures, course.failure, course.failed_ms = 0, "", 0
            course.last_ms, course.start_ms = found_ms, 0
        if not course.start_ms:
            course.start_ms = self._draw_start(course, now_ms)

    @staticmethod
    def _was_ahead(course: _Course, now_ms: int) -> bool:
        """Whether the clock has been put back since the times of a course were worked out."""
        due_ms = next_after_ms(course.schedule, course.last_ms) if course.last_ms else now_ms
        wait_ms = int(1000 * max(SCHEDULE_JITTER_S, _RETRY_SPREAD * SCHEDULE_RETRY_MOST_S))
        last_start_ms = course.fit(max(due_ms, now_ms) + wait_ms) + wait_ms
        return max(course.last_ms, course.failed_ms) > now_ms or course.start_ms > last_start_ms

    def _draw_start(self, course: _Course, now_ms: int) -> int:
        due_ms = next_after_ms(course.schedule, course.last_ms) if course.last_ms else now_ms
        return self._spread(course, max(due_ms, now_ms))

    def _spread(self, course: _Course, begin_ms: int) -> int:
        begin_ms = course.fit(begin_ms)
        jitter_s = min(SCHEDULE_JITTER_S, _JITTER_SHARE * period_s(course.schedule))
        if course.hours is not None:  # half of what is left at most, so that it is not too late when it is looked at
            jitter_s = min(jitter_s, (find_end_ms(course.hours, begin_ms) - begin_ms) / 2000)
        return begin_ms + int(1000 * self._pick(0, jitter_s))

    def _find_last(self, name: str) -> int:
        return self._list_last().get(name, 0)

    def _list_last(self) -> dict[str, int]:
        """Return of each set when its newest snapshot was made, but for those of the future."""
        if not self._courses or not self._vault.exists_repository:
            return {}
        now_ms = self._vault.clock.now_ms()
        listed = list_snapshots(self._vault.repository.index)
        stamped = ((snapshot.set, snapshot.time_ns // 1_000_000) for _, snapshot in listed)
        return {name: time_ms for name, time_ms in stamped if time_ms <= now_ms}

    async def _back_up(self, name: str, course: _Course) -> None:
        course.running_ms = self._vault.clock.now_ms()
        try:
            await self._before()
            result = await self.board.run_alone("backup", f"set {name}", partial(self._run, name))
        except InterruptedByUserError as exc:
            self._skip(name, course, exc)
            return
        except BackupPeerError as exc:
            wait_s = min(SCHEDULE_RETRY_S * 2**course.failures, SCHEDULE_RETRY_MOST_S)
            course.failures, course.failure = min(course.failures + 1, 16), exc.message
            course.code = int(exc.exit_code)
            course.failed_ms = self._vault.clock.now_ms()
            course.start_ms = course.fit(course.failed_ms + int(1000 * wait_s * self._pick(1, _RETRY_SPREAD)))
            _log.warning("scheduled backup failed", set=name, reason=exc.message)
            return
        finally:
            course.running_ms = 0
        _log.info("scheduled backup", set=name, snapshot=result.snapshot[:8], errors=result.errors)
        course.failures, course.failure, course.failed_ms, course.start_ms = 0, "", 0, 0
        course.last_ms = self._vault.clock.now_ms()
        await self.housekeeping.forget(name, result)

    async def _run(self, name: str, emit: Emit) -> BackupResult:
        async with self._vault.busy, returning_memory(), reporting(emit) as reporter:
            return await run_backup(self._vault, self._home, BackupRequest(set=name), reporter, gives_way=True)

    def _skip(self, name: str, course: _Course, why: InterruptedByUserError) -> None:
        """Let a set that a person cancelled wait for its next time: to begin again at once is not what they want."""
        course.failures, course.failure, course.failed_ms = 0, why.message, self._vault.clock.now_ms()
        course.start_ms = self._spread(course, next_after_ms(course.schedule, course.failed_ms))
        _log.info("scheduled backup cancelled", set=name)


def _read_course(chosen: BackupSet) -> _Course:
    return _Course(parse_schedule(chosen.schedule), parse_hours(chosen.window) if chosen.window else None)
