"""A connection whose streams are lanes, so that lanes can be held against the rules of every transport."""

import asyncio
import os

from backuppeer.crypto.certificate import make_certificate
from backuppeer.errors import PeerUnreachable
from backuppeer.transport.lanes import Lane, LaneDoor, dial_lane


class LanedTransport:
    """An endpoint of the network in memory, with lanes over loopback for all its streams."""

    def __init__(self, inner, pairs):
        self._inner, self._pairs = inner, pairs

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def dial(self, to, addresses):
        near = LanedConnection(await self._inner.dial(to, addresses))
        self._pairs.put_nowait(near)
        return near

    async def accept(self):
        far = LanedConnection(await self._inner.accept())
        near = await self._pairs.get()
        near.other, far.other = far, near
        return far


class LanedConnection:
    def __init__(self, inner):
        self._inner = inner
        self.other = None
        self.certificate = make_certificate()
        self.lanes: list[Lane] = []
        self._arrived: asyncio.Queue = asyncio.Queue()
        self._tasks = [asyncio.create_task(self._die_with_inner())]

    def __getattr__(self, name):
        return getattr(self._inner, name)

    @property
    def sent_bytes(self):
        return sum(lane.sent_bytes for lane in self.lanes)

    @property
    def received_bytes(self):
        return sum(lane.received_bytes for lane in self.lanes)

    async def open_stream(self):
        if self._inner.close_info is not None:
            raise PeerUnreachable("gone")
        far, token, here = self.other, os.urandom(32), "127.0.0.1"
        with LaneDoor(
            here, ip=here, ours=far.certificate, theirs=self.certificate.der, token=token, on_refused=print
        ) as door:
            dialled = dial_lane(here, door.port, ours=self.certificate, theirs=far.certificate.der, token=token)
            entered, lane = await asyncio.gather(door.accept(), dialled)
        self.lanes.append(lane)
        far.lanes.append(entered)
        far._tasks.append(asyncio.create_task(far._wait_for_stream(entered)))
        return lane.open_stream()

    async def _wait_for_stream(self, lane):
        self._arrived.put_nowait(await lane.accept_stream())

    async def accept_stream(self):
        arrived = asyncio.ensure_future(self._arrived.get())
        gone = asyncio.ensure_future(self._inner.wait_closed())
        await asyncio.wait([arrived, gone], return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if arrived.done():
            return arrived.result()
        arrived.cancel()
        raise PeerUnreachable("gone")

    async def close(self, code, reason):
        await self._inner.close(code, reason)
        self._close_lanes()

    async def _die_with_inner(self):
        await self._inner.wait_closed()
        self._close_lanes()

    def _close_lanes(self):
        for lane in self.lanes:
            lane.close()
