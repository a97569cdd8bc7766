"""Backups that the agent makes by itself: each set that has a schedule, when it is due.

Knows: when a set ran last and is due next, that nothing else is held up. Must not know: how a backup goes. When a set
ran last is read from its newest snapshot, so a restart neither forgets nor repeats one, and one made by hand counts. A
time that passed while the machine slept is caught up once, when it is awake again. What a clock that was ahead wrote
(a snapshot of the future, a time worked out then) counts for nothing once it was put right. One that failed is tried
again after five minutes, ten, twenty, six hours at most. Sets start within a random while after they are due, so that
many owners of one host don't call in step.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from backuppeer.agent.heap import returning_memory
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.schedule import Schedule, next_after_ms, parse_schedule, period_s
from backuppeer.agent.jobs.set_run import run_backup
from backuppeer.agent.owner.leaving import has_staying
from backuppeer.agent.owner.set_hosts import read_sets
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.reporter import reporting
from backuppeer.backup.browse import list_snapshots
from backuppeer.clock import format_time
from backuppeer.control.events import Event
from backuppeer.control.saving import BackupRequest
from backuppeer.control.scheduling import ScheduledSet
from backuppeer.errors import BackupPeerError
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


async def _tell_nobody(event: Event) -> None:
    del event


@dataclass(slots=True)
class _Course:
    """What is known of one set: `start_ms` is 0 as long as it is not worked out."""

    schedule: Schedule
    last_ms: int = 0
    """When it ran last; 0: never, so it is due at once."""
    start_ms: int = 0
    failures: int = 0
    failure: str = ""
    failed_ms: int = 0
    running_ms: int = 0
    """Since when it is backed up; 0: it is not."""


class Timekeeper:
    """The schedules of one home, from the start of the agent to its end. `pick`: jitter, as random.uniform.

    before: what is to be done before each backup, such as hearing what hosts answered.
    """

    def __init__(
        self, vault: Vault, home: Home, *, before: Callable[[], Awaitable[object]], pick: Pick = random.uniform
    ) -> None:
        self._vault, self._home, self._before, self._pick = vault, home, before, pick
        self._courses = dict[str, _Course]()

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
        if self._may_back_up():
            for name, course in list(self._courses.items()):
                if await self._is_due(name, course):
                    tried.append(name)
                    await self._back_up(name, course)
        return tried

    def describe(self) -> list[ScheduledSet]:
        """Return when each set ran, is due, and what went wrong."""
        self._follow_settings()
        now_ms, rows, found = self._vault.clock.now_ms(), [], self._list_last()
        for name, course in sorted(self._courses.items()):
            last_ms = course.last_ms or found.get(name, 0)
            next_ms = course.start_ms or (next_after_ms(course.schedule, last_ms) if last_ms else now_ms)
            late_ms = max(SCHEDULE_LATE_DAYS * _DAY_MS, 3000 * period_s(course.schedule))
            rows.append(
                ScheduledSet(
                    set=name,
                    next=format_time(max(next_ms, now_ms)),
                    last=format_time(last_ms) if last_ms else "",
                    failed=format_time(course.failed_ms) if course.failed_ms else "",
                    failure=course.failure,
                    running=format_time(course.running_ms) if course.running_ms else "",
                    late=bool(last_ms) and now_ms - last_ms > late_ms,
                )
            )
        return rows

    def _follow_settings(self) -> None:
        found = {name: parse_schedule(each.schedule) for name, each in read_sets(self._home).items() if each.schedule}
        self._courses = {
            name: course if (course := self._courses.get(name)) and course.schedule == schedule else _Course(schedule)
            for name, schedule in found.items()
        }

    def _may_back_up(self) -> bool:
        vault = self._vault
        is_ours = vault.exists_repository and vault.writer.may_write and not vault.is_unrecovered
        is_free = not vault.busy.locked() and not vault.pruning.locked()
        # Nothing new goes to hosts that our own person ended with: no failure to tell of every few hours.
        return is_ours and is_free and has_staying(vault.deeds, vault.partners())

    async def _is_due(self, name: str, course: _Course) -> bool:
        now_ms = self._vault.clock.now_ms()
        if self._was_ahead(course, now_ms):
            course.last_ms = course.start_ms = course.failures = course.failed_ms = 0
        if not course.start_ms:
            course.last_ms = max(course.last_ms, await asyncio.to_thread(self._find_last, name))
            course.start_ms = self._draw_start(course, now_ms)
        if course.start_ms > now_ms:
            return False
        last_ms = await asyncio.to_thread(self._find_last, name)
        if last_ms > course.last_ms:
            # Made by hand meanwhile.
            course.last_ms, course.failures, course.failure, course.failed_ms = last_ms, 0, "", 0
            course.start_ms = self._draw_start(course, now_ms)
        return course.start_ms <= now_ms

    @staticmethod
    def _was_ahead(course: _Course, now_ms: int) -> bool:
        """Whether the clock has been put back since the times of a course were worked out."""
        due_ms = next_after_ms(course.schedule, course.last_ms) if course.last_ms else now_ms
        last_start_ms = max(due_ms, now_ms) + int(1000 * max(SCHEDULE_JITTER_S, _RETRY_SPREAD * SCHEDULE_RETRY_MOST_S))
        return max(course.last_ms, course.failed_ms) > now_ms or course.start_ms > last_start_ms

    def _draw_start(self, course: _Course, now_ms: int) -> int:
        jitter_s = min(SCHEDULE_JITTER_S, _JITTER_SHARE * period_s(course.schedule))
        due_ms = next_after_ms(course.schedule, course.last_ms) if course.last_ms else now_ms
        return max(due_ms, now_ms) + int(1000 * self._pick(0, jitter_s))

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
            async with self._vault.busy, returning_memory(), reporting(_tell_nobody) as reporter:
                result = await run_backup(self._vault, self._home, BackupRequest(set=name), reporter)
        except BackupPeerError as exc:
            wait_s = min(SCHEDULE_RETRY_S * 2**course.failures, SCHEDULE_RETRY_MOST_S)
            course.failures, course.failure = min(course.failures + 1, 16), exc.message
            course.failed_ms = self._vault.clock.now_ms()
            course.start_ms = course.failed_ms + int(1000 * wait_s * self._pick(1, _RETRY_SPREAD))
            _log.warning("scheduled backup failed", set=name, reason=exc.message)
            return
        finally:
            course.running_ms = 0
        _log.info("scheduled backup", set=name, snapshot=result.snapshot[:8], errors=result.errors)
        course.failures, course.failure, course.failed_ms, course.start_ms = 0, "", 0, 0
        course.last_ms = self._vault.clock.now_ms()
