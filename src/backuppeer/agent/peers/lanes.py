"""The lanes of one session: made when bulk needs them, given back after each request, gone with the session (DESIGN 6).

Knows: when a lane is worth asking for, where its door may be. Must not know: what travels on it, TLS.

The side that asks for bulk dials: to the address that the session's own path has proved, and to no other, so nobody can
make us a scanner; to a port that the peer names, above the system's own. A request waits a moment for a lane that is
being made or in use, then it goes over QUIC; a lane that breaks takes its request with it, which is tried again there.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import cached_property, partial
from ipaddress import IPv6Address
from typing import Final

import structlog

from backuppeer.crypto.certificate import Certificate, make_certificate
from backuppeer.errors import BackupPeerError, PeerUnreachable, ProtocolViolation
from backuppeer.giving_way import lower_disk
from backuppeer.limits import (
    LANE_ATTEMPTS,
    LANE_BYTES,
    LANE_DIAL_S,
    LANE_TOKEN_BYTES,
    LANE_WAIT_S,
    LANE_WAIT_TRIPS,
    LANES_PER_SESSION,
    REPLY_S,
)
from backuppeer.transport.addresses import parse_address
from backuppeer.transport.base import PathInfo, PathKind, Stream
from backuppeer.transport.lanes import Lane, LaneDoor, LaneStream, dial_lane
from backuppeer.transport.throttle import UNBRAKED, Brakes
from backuppeer.wire.fields import Message
from backuppeer.wire.messages import LaneOffer, LaneWish

_log = structlog.get_logger()
_SYSTEM_PORTS: Final = 1024
_DOOR_GRACE_S: Final = 1.0
Say = Callable[[Message], Awaitable[None]]
Serve = Callable[[Stream], Awaitable[None]]


class LaneBroken(PeerUnreachable):
    """A lane broke, not the session: the same request can be made again at once, another way."""


class Lanes:
    """What one session has of lanes; `binds`: local addresses that a door may listen on, none = no lanes at all."""

    def __init__(self, name: str, *, say: Say, path: Callable[[], PathInfo], binds: Sequence[str]) -> None:
        self._name, self._say, self._path, self._binds = name, say, path, binds
        self.as_owner, self.as_host = UNBRAKED, UNBRAKED
        """What lanes that we dialled, and those that came in, keep to."""
        self._lanes: set[Lane] = set()
        self._entered: set[Lane] = set()
        self._free: list[Lane] = []
        self._carried: dict[LaneStream, Lane] = {}
        self._answer: asyncio.Future[LaneOffer] | None = None
        self._overdue = 0
        self._entering: asyncio.Task[Lane] | None = None
        self._attempts = LANE_ATTEMPTS
        self._at_door = asyncio.Lock()
        self._is_wished = self._is_closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._past_sent = self._past_received = 0
        self._wished_s = 0.0
        self.changed = asyncio.Event()
        """Set whenever a lane has come, gone or become free, or an attempt has ended; cleared by whoever waits."""
        self._fault: asyncio.Future[BackupPeerError] = asyncio.get_running_loop().create_future()

    @cached_property
    def _ours(self) -> Certificate:
        return make_certificate()

    @property
    def count(self) -> int:
        """How many lanes are open."""
        return len(self._lanes)

    @property
    def sent_bytes(self) -> int:
        """Payload bytes sent over lanes in this session."""
        return self._past_sent + sum(lane.sent_bytes for lane in self._lanes)

    @property
    def received_bytes(self) -> int:
        """Payload bytes received over lanes in this session."""
        return self._past_received + sum(lane.received_bytes for lane in self._lanes)

    def take(self) -> LaneStream | None:
        """Return a stream on a free lane; None when there is none now, and see to it that there will be."""
        while self._free:
            lane = self._free.pop()
            if lane.is_open:
                stream = lane.open_stream()
                self._carried[stream] = lane
                return stream
        dialled = len(self._lanes) - len(self._entered)
        may_wish = self._answer is None and not self._overdue and self._attempts > 0 and bool(self._binds)
        # Not while the session is relayed: a direct path may come, and the attempts are for that one.
        if may_wish and dialled < LANES_PER_SESSION and self._path().kind is not PathKind.RELAYED:
            loop = asyncio.get_running_loop()
            self._answer, self._wished_s = loop.create_future(), loop.time()
            self._spawn(self._open(self._answer))
        return None

    async def obtain(self) -> LaneStream | None:
        """Return a stream on a lane, if need be a moment later: QUIC costs four times as much. None: go that way."""
        stream, loop = self.take(), asyncio.get_running_loop()
        began_s = loop.time()
        with suppress(TimeoutError):
            while stream is None and (self._lanes or self._answer is not None):
                # Anew each time: the first lane that comes is a reason to wait for the next.
                async with asyncio.timeout_at(self._wait_end_s(began_s)):
                    self.changed.clear()
                    await self.changed.wait()
                    stream = self.take()
        return stream

    def _wait_end_s(self, began_s: float) -> float:
        trips_s = LANE_WAIT_TRIPS * self._path().rtt_ms / 1000
        if self._lanes - self._entered:
            return began_s + max(LANE_WAIT_S, min(LANES_PER_SESSION * trips_s, LANE_DIAL_S))
        # From the wish on: where TCP can't get through, not each request pays for finding out.
        return max(began_s + LANE_WAIT_S, self._wished_s + min(trips_s, LANE_DIAL_S))

    async def give_back(self, stream: LaneStream) -> None:
        """Free the lane of a stream whose request has ended well, once the peer has ended it too, which is at once."""
        lane = self._carried.pop(stream)
        try:
            async with asyncio.timeout(REPLY_S):
                await stream.drain()
        except (BackupPeerError, TimeoutError):
            lane.close()
        else:
            if lane.sent_bytes + lane.received_bytes > LANE_BYTES:
                lane.close()
            else:
                self._free.append(lane)
            self.changed.set()

    def drop(self, stream: LaneStream, *, is_broken: bool) -> None:
        """Close the lane of a stream whose request has failed.

        If the lane itself broke, whatever broke it may have reached the others: they are given up too, and after
        LANE_ATTEMPTS of that the session stays with QUIC.
        """
        lane = self._carried.pop(stream)
        if is_broken:
            self._attempts -= 1
            while self._free:
                self._free.pop().close()
        lane.close()

    async def watch(self) -> None:
        """Wait for what a peer does wrong on a lane, which ends the session as it would on any stream.

        Raises:
            ProtocolViolation: it broke the protocol.

        """
        raise await self._fault

    def hear_offer(self, offer: LaneOffer) -> None:
        """Take the answer to our wish.

        Raises:
            ProtocolViolation: nothing was wished for.

        """
        if self._answer is None or self._answer.done():
            if not self._overdue:
                raise ProtocolViolation("an offer of a lane that nobody asked for")
            self._overdue -= 1  # the answer to a wish that we gave up
            return
        self._answer.set_result(offer)

    def hear_unsupported(self) -> None:
        """Learn that the peer's version knows no lanes."""
        self._attempts = 0
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(LaneOffer(port=0))

    async def hear_wish(self, wish: LaneWish, serve: Serve) -> None:
        """Open a door for the peer, and serve the lane that comes in; say port 0 where that can't be."""
        if self._is_wished:
            await self._say(LaneOffer(port=0))
            return
        self._is_wished = True
        if self._entering is not None:
            # Who wishes again is through with the door before: in by it, which we see in a moment, or turned away.
            asyncio.get_running_loop().call_later(_DOOR_GRACE_S, self._entering.cancel)
        self._spawn(self._welcome(wish, serve))

    def close(self) -> None:
        """Close all lanes; those who wait on them get errors."""
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        for lane in list(self._lanes):
            lane.close()

    async def _open(self, answer: "asyncio.Future[LaneOffer]") -> None:
        try:
            ip, _ = self._proven_ip()
            await self._say(LaneWish(certificate=self._ours.der))
            offer = await self._await_offer(answer)
            if offer.port < _SYSTEM_PORTS or len(offer.token) != LANE_TOKEN_BYTES:
                raise PeerUnreachable("the peer offers none")
            lane = await dial_lane(ip, offer.port, ours=self._ours, theirs=offer.certificate, token=offer.token)
        except (BackupPeerError, TimeoutError) as exc:
            self._attempts -= 1
            _log.info("no lane", peer=self._name, reason=str(exc)[:200])
        else:
            self._keep(lane, self.as_owner)
            self._free.append(lane)
        finally:
            self._answer = None
            self.changed.set()

    async def _await_offer(self, answer: "asyncio.Future[LaneOffer]") -> LaneOffer:
        try:
            async with asyncio.timeout(REPLY_S):
                return await asyncio.shield(answer)
        except TimeoutError:
            self._overdue += not answer.done()
            raise

    def _proven_ip(self) -> tuple[str, str]:
        """Return the address that the session's path has proved, and ours to listen on for that family.

        Raises:
            PeerUnreachable: the session has no direct path, or we have no address of its family.

        """
        path = self._path()
        if path.kind is not PathKind.DIRECT:
            raise PeerUnreachable("the session has no direct path")
        ip, _ = parse_address(path.address)
        if isinstance(ip, IPv6Address):
            ip = ip.ipv4_mapped or ip
        bind = next((text for text in self._binds if (":" in text) == (ip.version == 6)), None)
        if bind is None and ip.is_loopback and self._binds:
            # The transport has a loopback socket in the family that it was not told of, and may have chosen that path.
            bind = str(ip)
        if bind is None:
            raise PeerUnreachable(f"this side does not listen on IPv{ip.version}")
        return str(ip), bind

    def _open_door(self, wish: LaneWish) -> tuple[LaneDoor, LaneOffer]:
        if len(self._entered) >= LANES_PER_SESSION:
            raise PeerUnreachable("enough lanes")
        ip, bind = self._proven_ip()
        # Fresh for each door, from the system: whoever guesses it would also need the key of the wished certificate.
        token = secrets.token_bytes(LANE_TOKEN_BYTES)
        door = LaneDoor(
            bind, ip=ip, ours=self._ours, theirs=wish.certificate, token=token, on_refused=self._note_refused
        )
        return door, LaneOffer(port=door.port, certificate=self._ours.der, token=token)

    async def _welcome(self, wish: LaneWish, serve: Serve) -> None:
        # One door at a time; the peer may wish for the next lane before we have seen that it came in by the last.
        async with self._at_door:
            self._is_wished = False
            await self._await_place()
            try:
                door, offer = self._open_door(wish)
            except BackupPeerError as exc:
                _log.info("no lane", peer=self._name, reason=exc.message)
                with suppress(BackupPeerError):
                    await self._say(LaneOffer(port=0))
                return
            try:
                with door:
                    await self._say(offer)
                    lane = await self._enter(door)
            except BackupPeerError as exc:
                _log.info("no lane", peer=self._name, reason=exc.message)
                return
            self._entered.add(lane)
            self._keep(lane, self.as_host)
        await self._serve_lane(lane, serve)

    async def _await_place(self) -> None:
        """Wait a moment while all places are taken: a peer that closed a lane wishes before we have seen it go."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_DOOR_GRACE_S):
                while len(self._entered) >= LANES_PER_SESSION:
                    self.changed.clear()
                    await self.changed.wait()

    async def _enter(self, door: LaneDoor) -> Lane:
        self._entering = entering = asyncio.ensure_future(door.accept())
        try:
            return await entering
        except asyncio.CancelledError:
            entering.cancel()
            ours = asyncio.current_task()
            if ours is not None and ours.cancelling():
                raise
            raise PeerUnreachable("the peer wished for another") from None
        finally:
            self._entering = None

    async def _serve_lane(self, lane: Lane, serve: Serve) -> None:
        try:
            await lane.run(lower_disk)  # what comes in is for others, and nobody here waits for it
            while lane.is_open:
                stream = await lane.accept_stream()
                await serve(stream)
                if not stream.is_over:
                    break
        except PeerUnreachable:
            pass
        except BackupPeerError as exc:
            if not self._fault.done():
                self._fault.set_result(exc)
        finally:
            lane.close()

    def _keep(self, lane: Lane, brakes: Brakes) -> None:
        lane.brakes = brakes
        _log.info("lane opened", peer=self._name)
        self._lanes.add(lane)
        lane.on_close = partial(self._forget, lane)
        if self._is_closed or not lane.is_open:
            lane.close()
            self._forget(lane)
        self.changed.set()

    def _forget(self, lane: Lane) -> None:
        if lane in self._lanes:
            self._lanes.discard(lane)
            self._entered.discard(lane)
            self._past_sent += lane.sent_bytes
            self._past_received += lane.received_bytes
            self.changed.set()

    def _note_refused(self, reason: str) -> None:
        _log.warning("turned away at a lane's door", peer=self._name, reason=reason)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
