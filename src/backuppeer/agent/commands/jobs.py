"""What the agent is doing, followed and steered from any terminal: jobs, jobs/attach, pause, resume, cancel.

Knows: the board of jobs. Must not know: what a job does, HTTP.
"""

from backuppeer.agent.agent import Agent
from backuppeer.agent.jobs.board import read_result
from backuppeer.agent.jobs.kinds import KINDS
from backuppeer.agent.reporter import Emit
from backuppeer.control.api import JobRequest, Nothing, Request
from backuppeer.control.jobs import JobEnded, JobRow
from backuppeer.control.routes import ROUTES
from backuppeer.control.server import Handler


class JobCommands:
    """jobs, jobs/attach, jobs/pause, jobs/resume, jobs/cancel."""

    def __init__(self, agent: Agent) -> None:
        self._board = agent.board

    async def list_all(self, _: Nothing, __: Emit) -> list[JobRow]:
        """Return what is under way, then what ended lately."""
        return self._board.rows()

    async def attach(self, request: JobRequest, emit: Emit) -> JobEnded:
        """Tell what a job tells, until it ends; who leaves, leaves it running.

        Raises:
            BackupPeerError: what the job ended with, or as `Board.follow`.

        """
        job, watcher = self._board.follow(request.job)
        try:
            while (event := await watcher.take()) is not None:
                await emit(event)
        finally:
            job.leave(watcher)
        return JobEnded(job=job.row(), route=job.route, result=read_result(job))

    async def pause(self, request: JobRequest, _: Emit) -> JobRow:
        """Pause a job; as `Board.pause`."""
        return await self._board.pause(request.job)

    async def resume(self, request: JobRequest, _: Emit) -> JobRow:
        """Let a job go on; as `Board.resume`."""
        return await self._board.resume(request.job)

    async def cancel(self, request: JobRequest, _: Emit) -> JobRow:
        """End a job; as `Board.cancel`."""
        return await self._board.cancel(request.job)


def as_job(agent: Agent, route: str, handler: Handler) -> Handler:
    """Return the handler of a route that runs as a job, if the route is one of work that people ask about."""
    if route not in KINDS:
        return handler

    async def listed(request: Request, emit: Emit, **more: object) -> object:
        async def work(told: Emit) -> object:
            return await handler(request, told, **more)

        return await agent.board.run(route, request, work, emit, direct=ROUTES[route].bulk)

    return listed
