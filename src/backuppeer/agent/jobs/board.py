"""The jobs of one agent: what runs, what is paused, what ended lately, and who follows it (ADR 86).

Knows: a job's task, its brake, its events, its terminals. Must not know: what a job does. A job runs in a task of its
own and not in that of its request, so that it can be cancelled from elsewhere, and a paused one outlives its terminal.
Its own terminal is waited for when it reads slowly, as ever; one that follows is not: what it does not read in time is
left out, and counted.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Coroutine
from copy import copy
from functools import partial
from typing import Any, Final, TypeVar, cast

import msgspec
import structlog

from backuppeer.agent.brake import use_brake
from backuppeer.agent.jobs.job import Job, Watcher
from backuppeer.agent.jobs.kinds import KINDS, Kind, describe_request
from backuppeer.agent.reporter import Emit
from backuppeer.clock import Clock
from backuppeer.control.api import Request
from backuppeer.control.jobs import JobRow
from backuppeer.control.server import outcome_of
from backuppeer.errors import BackupPeerError, InterruptedByUserError, NotFoundError, RefusedError, UserError
from backuppeer.limits import JOB_WATCHERS, JOBS_AT_ONCE, JOBS_KEPT, JOBS_PAUSED

T = TypeVar("T")
Work = Callable[[Emit], Coroutine[Any, Any, T]]
BY_COMMAND: Final = "command"
BY_SCHEDULE: Final = "schedule"
_NAMED: Final = 5
_log = structlog.get_logger()


class Board:
    """One per agent, in its event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._live: dict[int, Job] = {}
        self._ended: deque[Job] = deque(maxlen=JOBS_KEPT)
        self._count = 0

    async def run(self, route: str, request: Request, work: Work[T], emit: Emit, *, direct: bool = False) -> T:
        """Do the work of a command as a job, and tell its terminal; a terminal that goes away ends it, unless paused.

        direct: what it tells goes to the terminal at once, in the order of the bytes that go there as well.

        Raises:
            UserError: there are too many.
            BackupPeerError: as the work.

        """
        job = self._begin(KINDS[route], route, describe_request(request), BY_COMMAND)
        terminal = None if direct else job.open_terminal()
        self._start(job, work, emit if direct else None)
        try:
            if terminal is not None:
                while (event := await terminal.take()) is not None:
                    await emit(event)
            await job.over.wait()
        except asyncio.CancelledError:
            if job.kind.may_stay and job.brake.is_on and not job.is_ending:
                job.leave_terminal()
                _log.info("the terminal of a paused job went away", job=job.number, kind=job.kind.verb)
            else:
                await self._end(job)
            raise
        return cast("T", _outcome(job))

    async def run_alone(self, route: str, of: str, work: Work[T]) -> T:
        """Do work that no command asked for as a job.

        Raises:
            BackupPeerError: as the work; InterruptedByUserError: somebody cancelled it.

        """
        job = self._begin(KINDS[route], route, of, BY_SCHEDULE)
        self._start(job, work, None)
        try:
            await job.over.wait()
        except asyncio.CancelledError:
            await self._end(job)
            raise
        return cast("T", _outcome(job))

    def rows(self) -> list[JobRow]:
        """Return the jobs, those under way first, the newest first."""
        return [job.row() for jobs in (self._live.values(), self._ended) for job in reversed(jobs)]

    def live(self) -> list[JobRow]:
        """Return the jobs under way."""
        return [job.row() for job in self._live.values()]

    async def pause(self, number: int | None) -> JobRow:
        """Pause a job; returns when nothing of it is under way any more.

        Raises:
            NotFoundError: there is none.
            UserError: several may be meant, or it has ended.
            RefusedError: jobs of its kind can't be paused, or too many are.

        """
        fitting = [job for job in self._live.values() if job.may_pause]
        if number is None and not fitting:
            self._check_paused()
        job = self._find(number, "paused", fitting)
        if not job.kind.may_pause:
            raise RefusedError(
                f"a {job.kind.verb} can't be paused", hint=f"`backup-peer cancel {job.number}` ends job {job.number}"
            )
        if job.may_pause and sum(each.brake.is_on for each in self._live.values()) >= JOBS_PAUSED:
            raise RefusedError(
                f"{JOBS_PAUSED} jobs are paused already", hint="`backup-peer jobs` lists them: resume or cancel one"
            )
        job.pause()
        await job.brake.settled()
        return job.row()

    async def resume(self, number: int | None) -> JobRow:
        """Let a paused job go on; as `pause`."""
        job = self._find(number, "resumed", [job for job in self._live.values() if job.brake.is_on])
        job.resume()
        return job.row()

    async def cancel(self, number: int | None) -> JobRow:
        """End a job as Ctrl-C at its terminal would; returns when it has ended. As `pause`."""
        job = self._find(number, "cancelled", self._live.values())
        job.is_cancelled = True
        await self._end(job)
        return job.row()

    def follow(self, number: int | None) -> tuple[Job, Watcher]:
        """Return a job, also one that has ended, and what it tells from now on.

        Raises:
            NotFoundError, UserError: as `pause`.
            RefusedError: too many follow it.

        """
        ended = next((job for job in self._ended if job.number == number), None)
        job = ended or self._find(number, "followed", self._live.values())
        if len(job.watchers) >= JOB_WATCHERS:
            raise RefusedError(
                f"{JOB_WATCHERS} terminals follow job {job.number} already", hint="`backup-peer jobs` shows it, too"
            )
        return job, job.watch()

    async def close(self) -> None:
        """End all: the agent stops."""
        await asyncio.gather(*(self._end(job) for job in list(self._live.values())))

    def _begin(self, kind: Kind, route: str, of: str, by: str) -> Job:
        if len(self._live) >= JOBS_AT_ONCE:
            raise UserError(
                f"{JOBS_AT_ONCE} jobs are under way in this home", hint="`backup-peer jobs` lists them: cancel some"
            )
        self._count += 1
        job = Job(self._count, kind, route, of=of, by=by, clock=self._clock)
        self._live[job.number] = job
        return job

    def _start(self, job: Job, work: Work[T], direct: Emit | None) -> None:
        async def told(event: Any) -> None:
            await job.tell(event, direct)

        async def whole() -> object:
            use_brake(job.brake)
            return await outcome_of(job.route, work(told))

        job.task = asyncio.create_task(whole())
        # Not at the end of the task: one that is cancelled before its first step has none.
        job.task.add_done_callback(partial(self._note_end, job))

    def _note_end(self, job: Job, task: asyncio.Task[object]) -> None:
        del self._live[job.number]
        if job.kind.is_kept:
            self._ended.append(job)
        job.end(_describe_end(job) if task.cancelled() else task.result())

    @staticmethod
    async def _end(job: Job) -> None:
        job.is_ending = True
        job.brake.release()  # else its threads would not see that it ends
        job.task.cancel()
        await job.over.wait()

    def _check_paused(self) -> None:
        paused = [job for job in self._live.values() if job.brake.is_on]
        if len(paused) == 1:
            raise NotFoundError(
                f"job {paused[0].number} ({paused[0].name}) is paused already",
                hint=f"`backup-peer resume {paused[0].number}` lets it go on",
            )
        if paused:
            raise NotFoundError("all jobs are paused already", hint="`backup-peer jobs` lists them")

    def _find(self, number: int | None, done: str, fitting: Collection[Job]) -> Job:
        if number is not None:
            job = self._live.get(number)
            if job is not None:
                return job
            if any(each.number == number for each in self._ended):
                raise UserError(f"job {number} has ended", hint="`backup-peer jobs` shows how")
            raise NotFoundError(f"there is no job {number}", hint="`backup-peer jobs` lists them")
        if not fitting:
            raise NotFoundError(f"there is no job that could be {done}", hint="`backup-peer jobs` lists them")
        if len(fitting) > 1:
            named = ", ".join(f"{job.number} ({job.name})" for job in list(fitting)[:_NAMED])
            more = f", and {len(fitting) - _NAMED} more" if len(fitting) > _NAMED else ""
            raise UserError(f"several jobs could be {done}: {named}{more}", hint="name one by its number")
        return next(iter(fitting))


def _describe_end(job: Job) -> InterruptedByUserError:
    if job.is_cancelled:
        return InterruptedByUserError("cancelled by a person", hint=job.kind.kept)
    if job.is_ending and job.by == BY_COMMAND and job.is_left:
        return InterruptedByUserError("the agent was stopped", hint=job.kind.kept)
    return InterruptedByUserError(f"{job.kind.verb} was interrupted", hint=job.kind.kept)


def _outcome(job: Job) -> object:
    if isinstance(job.outcome, BackupPeerError):
        raise copy(job.outcome)
    return job.outcome


def read_result(job: Job) -> dict[str, Any]:
    """Return what a job that ended well came to, as JSON.

    Raises:
        BackupPeerError: it did not end well.

    """
    result = _outcome(job)
    return dict(msgspec.to_builtins(result)) if isinstance(result, msgspec.Struct) else {}
