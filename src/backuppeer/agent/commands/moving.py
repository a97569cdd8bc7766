"""Commands that move the store: host/move, host/move/place (control.api routes).

Knows: the steps of a move, whom it makes wait. Must not know: HTTP, files of a store. Owners are served while it is
copied, and told "unavailable, try again" for the moment of the switch, which is not broken off.
"""

import asyncio
import os
import threading
import time
from pathlib import Path

from backuppeer.agent.agent import Agent
from backuppeer.agent.host.threads import in_thread
from backuppeer.agent.reporter import Emit, Reporter, reporting
from backuppeer.control.api import Nothing
from backuppeer.control.ending import MovePlace, MoveRequest, MoveResult
from backuppeer.errors import InterruptedByUserError, NotFoundError, StoreUnavailable, UserError
from backuppeer.limits import MOVE_WAIT_S


class MoveCommands:
    """host/move, host/move/place."""

    def __init__(self, agent: Agent) -> None:
        self._agent, self._host = agent, agent.host
        self._moving = asyncio.Lock()

    async def move(self, request: MoveRequest, emit: Emit) -> MoveResult:
        """Move the store, and go on serving from there."""
        if self._moving.locked():
            raise UserError("the store is being moved already", hint="wait until that has ended")
        async with self._moving, reporting(emit) as reporter:
            return await self._move(Path(request.directory), reporter)

    async def place(self, _: Nothing, __: Emit) -> MovePlace:
        """Say where the store lies when a move that was left has ended: what can't be broken off is waited for."""
        async with self._moving:
            cleared = await in_thread(self._host.moving.clear)
            directory = self._host.premises.directory
        if directory is None:
            raise NotFoundError("this home hosts nothing", hint="`backup-peer host --storage 50GB --store DIR` begins")
        return MovePlace(directory=str(directory), cleared=cleared)

    async def _move(self, wanted: Path, reporter: Reporter) -> MoveResult:
        moving, began_s = self._host.moving, time.monotonic()
        if await in_thread(self._lies_at, wanted):
            place, cleared = str(self._host.premises.directory), await in_thread(moving.clear)
            return MoveResult(source=place, target=place, files=0, bytes=0, seconds=0.0, renamed=False, cleared=cleared)
        source, target, is_near = await in_thread(moving.prepare, wanted)
        files = size_bytes = 0
        is_renamed = is_near and await self._switch(source, target, reporter, by_rename=True)
        if not is_renamed:
            files, size_bytes = await self._copy(source, target, reporter)
            await self._switch(source, target, reporter, by_rename=False)
        return MoveResult(
            source=str(source),
            target=str(target),
            files=files,
            bytes=size_bytes,
            seconds=round(time.monotonic() - began_s, 3),
            renamed=is_renamed,
            cleared=await in_thread(moving.clear),
        )

    def _lies_at(self, wanted: Path) -> bool:
        directory = self._host.premises.directory
        return directory is not None and os.path.realpath(directory) == os.path.realpath(wanted)

    async def _copy(self, source: Path, target: Path, reporter: Reporter) -> tuple[int, int]:
        left = threading.Event()

        def tell(files: int, size_bytes: int, files_total: int, bytes_total: int) -> None:
            reporter.set_total(files_total, bytes_total, False)  # noqa: FBT003 - as `Tell` has it
            reporter.update(files=files, bytes=size_bytes)

        def check() -> None:
            if left.is_set():
                raise InterruptedByUserError("stopped: the store is where it was")

        reporter.begin("moving the store")
        work = asyncio.create_task(in_thread(self._host.moving.copy, source, target, tell=tell, check=check))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            left.set()
            await asyncio.wait([work])
            work.exception()
            raise

    async def _switch(self, source: Path, target: Path, reporter: Reporter, *, by_rename: bool) -> bool:
        """Switch between two requests; who is in the middle of one is waited for, then let go of: it tries again."""
        await reporter.state("waiting", "waiting for owners to end what they have begun")
        occupancy = self._host.premises.occupancy
        try:
            if not await in_thread(occupancy.hold, MOVE_WAIT_S):
                for owner in self._host.premises.owners():
                    await self._agent.parts.sessions.close(owner)
                if not await in_thread(occupancy.hold, MOVE_WAIT_S):
                    raise StoreUnavailable(
                        "the store is in use and could not be moved: it is where it was",
                        hint="the same command again goes on with what was copied",
                    )
            await reporter.state("switching", "switching over")
            return await in_thread(self._host.moving.switch, source, target, by_rename=by_rename)
        finally:
            occupancy.release()
            self._host.sweeping.wake()
