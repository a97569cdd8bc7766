"""Commands of mounts (control.mounting): one that lasts, and those that read through it.

Knows: which job serves which route, the mounts that are open. Must not know: HTTP, how a job works.
"""

from backuppeer.agent.agent import Agent
from backuppeer.agent.heap import returning_memory
from backuppeer.agent.jobs.dump import EmitAll
from backuppeer.agent.jobs.mount import MountJob
from backuppeer.agent.reporter import Emit, reporting
from backuppeer.control.mounting import (
    MountEndRequest,
    MountFilesRequest,
    MountFolderRequest,
    MountFolderResult,
    MountReadRequest,
    MountReadResult,
    MountRequest,
    MountResult,
)
from backuppeer.errors import NotFoundError


class MountCommands:
    """mount, mount/folder, mount/read, mount/files, mount/end."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._mounts: dict[str, MountJob] = {}

    async def mount(self, request: MountRequest, emit: Emit) -> MountResult:
        """Open a mount; it ends with `mount/end`, or when its client goes away."""
        async with returning_memory(), reporting(emit) as reporter:
            return await MountJob(self._agent.owner.vault, request, emit, reporter).run(self._mounts)

    async def folder(self, request: MountFolderRequest, emit: Emit) -> MountFolderResult:
        """Tell what a folder holds, and some beside it."""
        told = await self._job(request.mount).tell_folders(request.snapshot, request.paths, emit)
        return MountFolderResult(folders=told)

    async def read(self, request: MountReadRequest, emit: EmitAll) -> MountReadResult:
        """Hand on bytes of a file."""
        job = self._job(request.mount)
        data = await job.read(request.snapshot, request.path, offset=request.offset, length=request.length)
        if data:
            await emit(data)
        return MountReadResult(bytes=len(data))

    async def files(self, request: MountFilesRequest, emit: EmitAll) -> MountReadResult:
        """Hand on small files whole, one behind the other."""
        data = await self._job(request.mount).read_files(request.snapshot, request.paths)
        if data:
            await emit(data)
        return MountReadResult(bytes=len(data))

    async def end(self, request: MountEndRequest, _: Emit) -> MountResult:
        """End a mount."""
        job = self._job(request.mount)
        job.end()
        return job.result()

    def _job(self, name: str) -> MountJob:
        if name not in self._mounts:
            raise NotFoundError("this mount has ended", hint="mount again: `backup-peer mount DIR`")
        return self._mounts[name]
