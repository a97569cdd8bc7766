"""Packs out: seals each pack for each host, sends it, and says when it is durable (the archiver's PackSink).

Knows: sealing per copy, in-flight memory, retries. Must not know: files, trees, what is in a pack. `store` and `flush`
are called from the archiver's thread; sending happens in the event loop.

Memory: at most PACKS_IN_FLIGHT packs (or two per host) are sealed and unacknowledged; their 16 MiB buffers are reused,
because fresh megabyte allocations cost more than the cryptography (FACTS).
"""

import asyncio
import queue
import shlex
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Self

from backuppeer.agent.brake import brake_of_job
from backuppeer.agent.owner.repository import Repository
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.peers.retry import Herald, Say, retry
from backuppeer.agent.repute.exposing import Exposing, Room
from backuppeer.clock import Clock
from backuppeer.control.events import PeerShare
from backuppeer.errors import (
    BackupPeerError,
    ExposedError,
    InterruptedByUserError,
    LocalError,
    PeerUnreachable,
    ProtocolViolation,
    RefusedError,
)
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import (
    BULK_STALL_S,
    LAGGARD_BYTES,
    LAGGARD_S,
    MIB,
    PACK_TARGET_BYTES,
    PACKS_IN_FLIGHT,
    REFUSED_GRACE_S,
)
from backuppeer.repo.pack import ClosedDraft, Entry, SealedPack, seal_pack
from backuppeer.shares.ledger import Copy
from backuppeer.wire.messages import Proceed, PutPack, Stored

_WAIT_S: Final = 0.25
"""How often the archiver's thread looks up while it waits."""
_WAIT_GAP_S: Final = 8 * _WAIT_S
OnCopy = Callable[[Sequence[Entry], Copy], None]


@dataclass(slots=True)
class _Target:
    """One host of this backup; `failure` ends its part, not the others'."""

    partner: Partner
    failure: BackupPeerError | None = None
    sent_bytes: int = 0
    taken_bytes: int = 0
    """Of packs not acknowledged yet, too."""
    under_way: set[Future[None]] = field(default_factory=set)


@dataclass(slots=True)
class _Tries:
    """What went of one copy to its host: whether any try began, the bytes of all tries."""

    has_begun: bool = False
    sent_bytes: int = 0


class Upload:
    """PackSink for one backup: every pack goes to every target."""

    def __init__(  # noqa: PLR0913 - what goes to whom, and who decides and hears of it
        self,
        repository: Repository,
        partners: Sequence[Partner],
        *,
        on_copy: OnCopy,
        say: Say,
        clock: Clock,
        stop: threading.Event,
        exposing: Exposing,
        is_waited_for: bool = False,
    ) -> None:
        self.is_draft = False
        """Whether packs are new, named by no head yet: not those of a copy, of which heads that stand may name any."""
        self.is_list = False
        """Whether packs are of lists alone, and may take from the reserve of a full host."""
        self._fault: BaseException | None = None
        self._loop = asyncio.get_running_loop()
        self._repository = repository
        self._targets = [_Target(partner) for partner in partners]
        self._on_copy, self._clock, self._stop, self._exposing = on_copy, clock, stop, exposing
        self._herald, self._brake = Herald(say, clock), brake_of_job()
        self._pace = Pace(clock, is_waited_for=is_waited_for)
        self._buffers: queue.LifoQueue[bytearray | None] = queue.LifoQueue()
        # Bounded for all hosts together: memory must not grow with their number. Two each, or none could overlap.
        # None: one that may be made. The last one given back goes out first, so a small backup makes one or two.
        for _ in range(max(PACKS_IN_FLIGHT, 2 * len(partners))):
            self._buffers.put(None)

    @property
    def sent_bytes(self) -> int:
        """Return the bytes of packs that hosts have acknowledged after receiving them now."""
        return sum(target.sent_bytes for target in self._targets)

    @property
    def partners(self) -> list[Partner]:
        """Return the hosts that did not drop out."""
        return [target.partner for target in self._targets if target.failure is None]

    def shares(self) -> list[PeerShare]:
        """Return what each of several hosts took; of one alone there is nothing to compare."""
        several = self._targets if len(self._targets) > 1 else ()
        return [PeerShare(name=target.partner.name, bytes=target.taken_bytes) for target in several]

    def sent_to(self, partner: Partner) -> int:
        """Return the bytes sent to one host."""
        return sum(target.sent_bytes for target in self._targets if target.partner.peer == partner.peer)

    @property
    def failures(self) -> dict[PeerId, BackupPeerError]:
        """Return the hosts that dropped out, and why."""
        return {target.partner.peer: target.failure for target in self._targets if target.failure}

    def store(self, draft: ClosedDraft) -> None:
        """Seal `draft` once per host and send the copies; waits while too many are in flight.

        Raises:
            BackupPeerError: no host is left that takes packs; the first host's reason.
            InterruptedByUserError: the job was cancelled.

        """
        for target in self._live():
            with ExitStack() as undone:
                try:
                    # Of lists, nothing is reserved: without a new one nothing can be deleted there either.
                    size_bytes = 0 if self.is_list else draft.length
                    room = self._exposing.reserve(target.partner.peer, size_bytes, name=target.partner.name)
                except ExposedError as exc:
                    target.failure = exc
                    continue
                undone.callback(room.release)
                buffer = self._take_buffer(draft.length)
                # A fresh salt, hence a fresh key, per copy: no two share a key stream, no host can answer for another.
                sealed = seal_pack(draft, self._repository.keys, self._repository.suite, buffer)
                work = self._deliver(target, draft.entries, sealed, buffer, room)
                future = asyncio.run_coroutine_threadsafe(work, self._loop)
                target.under_way.add(future)
                # Before it counts as over: a head may be left then, and would name a pack which is nowhere.
                future.add_done_callback(self._note_fault)
                future.add_done_callback(target.under_way.discard)
                # However it ends, cancelled before it began, too.
                undone.pop_all()
                future.add_done_callback(partial(_release, room))
        self._live()

    def flush(self) -> None:
        """Wait until every pack is durable or its host has dropped out.

        Raises:
            BackupPeerError: no host is left.
            InterruptedByUserError: the job was cancelled.

        """
        while under_way := self._all_under_way():
            self._check_stop()
            self._leave_laggards()
            wait(under_way, timeout=_WAIT_S, return_when=FIRST_COMPLETED)
        self._live()

    def cancel(self) -> None:
        """Drop what is in flight; a host throws an unfinished pack away whole."""
        for future in self._all_under_way():
            future.cancel()

    async def __aenter__(self) -> Self:
        """Begin: what is under way at the end of the block ends with it."""
        return self

    async def __aexit__(self, _: type[BaseException] | None, error: BaseException | None, __: object) -> None:
        """Let what is under way end when a host refused a pack: what becomes durable is not sent again; drop the rest.

        No pack goes on beside what comes after the block: a further run, or what is told of this one.
        """
        ending = [asyncio.wrap_future(future) for future in self._all_under_way()]
        if ending and isinstance(error, RefusedError):
            await asyncio.wait(ending, timeout=REFUSED_GRACE_S)
        self.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def _all_under_way(self) -> list[Future[None]]:
        return [future for target in self._targets for future in list(target.under_way)]

    def _leave_laggards(self) -> None:
        """Leave behind the hosts that all others wait for; their buffers go to these, the next backup to them."""
        live = [target for target in self._targets if target.failure is None]
        taken = {target.partner.agreement: target.taken_bytes for target in live if target.under_way}
        laggards = self._pace.find_laggards(taken, of=len(live))
        for target in live:
            if target.partner.agreement in laggards:
                target.failure = PeerUnreachable(
                    f"it took less than {LAGGARD_BYTES // MIB} MiB in {LAGGARD_S:.0f} s, and was left for later",
                    hint="the next backup sends what it lacks; "
                    f"`--to {shlex.quote(target.partner.name)}` alone takes its time",
                )
                for future in list(target.under_way):
                    future.cancel()

    def _live(self) -> list[_Target]:
        if self._fault is not None:
            raise self._fault
        live = [target for target in self._targets if target.failure is None]
        if not live:
            raise next(target.failure for target in self._targets if target.failure)
        return live

    def _note_fault(self, future: Future[None]) -> None:
        """Look how a delivery ended; what nobody expected in it is a fault of this program, and ends the upload."""
        if not future.cancelled():
            self._fault = self._fault or future.exception()

    def _take_buffer(self, size_bytes: int) -> bytearray:
        while True:
            self._check_stop()
            try:
                buffer = self._buffers.get(timeout=_WAIT_S)
            except queue.Empty:
                self._leave_laggards()
                self._live()
                continue
            if buffer is None:
                # To fill 16 MiB with zeros takes milliseconds, and most backups make one small pack.
                return bytearray(min(size_bytes, PACK_TARGET_BYTES))
            return buffer if len(buffer) >= size_bytes else bytearray(PACK_TARGET_BYTES)

    def _check_stop(self) -> None:
        if self._stop.is_set():
            self.cancel()
            raise InterruptedByUserError(
                "interrupted", hint="run the same backup again: what a host stored is not sent twice"
            )

    async def _deliver(
        self, target: _Target, entries: Sequence[Entry], sealed: SealedPack, buffer: bytearray, room: Room
    ) -> None:
        """Send one copy. Holds the sealed bytes only: the draft's payloads are 16 MiB more per pack in flight."""
        try:
            if target.failure is None:
                waiting, tries = self._herald.waiting_for(target.partner), _Tries()
                send = partial(self._send, target, sealed, tries)
                await self._brake.run(lambda: retry(send, self._clock, waiting=waiting))
                copy = Copy(sealed.logical, target.partner.agreement, sealed.stored, len(sealed.data), sealed.header)
                await asyncio.to_thread(room.keep, partial(self._on_copy, entries, copy))
        except LocalError as exc:
            # Of this machine, its full disk above all: no host is left out for it, or named as who failed.
            self._fault = self._fault or exc
        except BackupPeerError as exc:
            target.failure = target.failure or exc
            self._herald.over(target.partner.name, is_back=False)
        finally:
            self._buffers.put(buffer)

    async def _send(self, target: _Target, sealed: SealedPack, tries: _Tries) -> None:
        """Send identical spooled bytes on every try: the salt, hence the nonces, belong to exactly these bytes."""
        partner = target.partner
        session = await partner.session()
        async with session.request(
            PutPack(
                agreement=partner.agreement,
                stored=sealed.stored,
                size=len(sealed.data),
                is_list=self.is_list,
                is_draft=self.is_draft,
                resumes=True,
            ),
            bulk=True,
        ) as channel:
            answer = await channel.receive(Proceed, Stored)
            self._herald.over(partner.name)
            have = answer.have if isinstance(answer, Proceed) else len(sealed.data)
            # Its salt is new: before a first try nobody can have a byte of it.
            if have > (len(sealed.data) if tries.has_begun else 0):
                raise ProtocolViolation(f"{partner.name} claims to have {have} bytes of a pack that it never got")
            if isinstance(answer, Proceed):
                # Of a try that was cut: the host hashes the whole pack, so what it has can't be anything else.
                rest, tries.has_begun = memoryview(sealed.data)[have:], True
                await channel.send_raw(rest, on_piece=partial(_count, target, tries))
                await channel.receive(Stored, timeout_s=BULK_STALL_S)
            target.sent_bytes += min(tries.sent_bytes, len(sealed.data))


def _release(room: Room, _: Future[None]) -> None:
    room.release()


def _count(target: _Target, tries: _Tries, size_bytes: int) -> None:
    target.taken_bytes += size_bytes
    tries.sent_bytes += size_bytes


class Pace:
    """Tells who holds up the others: who is busy and takes next to nothing, while all others have nothing to do."""

    def __init__(self, clock: Clock, *, is_waited_for: bool) -> None:
        """`is_waited_for`: somebody else waits, also when all are busy."""
        self._clock, self._is_waited_for = clock, is_waited_for
        self._since_s = self._last_s = 0.0
        self._before: dict[AgreementId, int] = {}

    def find_laggards(self, taken: Mapping[AgreementId, int], *, of: int) -> set[AgreementId]:
        """Return who is to be left behind; asked again and again while the work waits.

        `taken`: bytes taken so far by those that are busy, among `of` hosts.
        """
        now_s = self._clock.monotonic_s()
        is_waiting = self._is_waited_for or len(taken) < of
        if not is_waiting or now_s - self._last_s > _WAIT_GAP_S:
            self._before = {}
        self._last_s = now_s
        # Only who was busy all the time: a host without work takes nothing, and is not slow.
        self._before = {host: bytes_ for host, bytes_ in self._before.items() if host in taken}
        if is_waiting and not self._before:
            self._before, self._since_s = dict(taken), now_s
        if now_s - self._since_s < LAGGARD_S:
            return set()
        before, self._before = self._before, {}
        return {host for host, bytes_ in before.items() if taken[host] - bytes_ < LAGGARD_BYTES}
