"""Packs out: seals each pack for each host, sends it, and says when it is durable (the archiver's PackSink).

Knows: sealing per copy, in-flight memory, retries. Must not know: files, trees, what is in a pack. `store` and `flush`
are called from the archiver's thread; sending happens in the event loop.

Memory: at most PACKS_IN_FLIGHT packs (or two per host) are sealed and unacknowledged; their 16 MiB buffers are reused,
because fresh megabyte allocations cost more than the cryptography (FACTS).
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass

from backuppeer.agent.partners import Partner
from backuppeer.agent.repository import Repository
from backuppeer.agent.retry import Herald, Say, retry
from backuppeer.clock import Clock
from backuppeer.errors import BackupPeerError, InterruptedByUserError
from backuppeer.ids import PeerId
from backuppeer.limits import BULK_STALL_S, PACK_TARGET_BYTES, PACKS_IN_FLIGHT
from backuppeer.repo.pack import ClosedDraft, Entry, SealedPack, seal_pack
from backuppeer.shares.ledger import Copy
from backuppeer.wire.messages import Proceed, PutPack, Stored

OnCopy = Callable[[Sequence[Entry], Copy], None]


@dataclass(slots=True)
class _Target:
    """One host of this backup; `failure` ends its part, not the others'."""

    partner: Partner
    failure: BackupPeerError | None = None
    sent_bytes: int = 0


class Upload:
    """PackSink for one backup: every pack goes to every target."""

    def __init__(
        self,
        repository: Repository,
        partners: Sequence[Partner],
        *,
        on_copy: OnCopy,
        say: Say,
        clock: Clock,
        stop: threading.Event,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._repository = repository
        self._targets = [_Target(partner) for partner in partners]
        self._on_copy, self._clock, self._stop = on_copy, clock, stop
        self._herald = Herald(say, clock)
        self._buffers: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        # Bounded for all hosts together: memory must not grow with their number. Two each, or none could overlap.
        for _ in range(max(PACKS_IN_FLIGHT, 2 * len(partners))):
            self._buffers.put(bytearray(PACK_TARGET_BYTES))
        self._futures: set[Future[None]] = set()

    @property
    def sent_bytes(self) -> int:
        """Return the bytes of packs that hosts have acknowledged after receiving them now."""
        return sum(target.sent_bytes for target in self._targets)

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
            buffer = self._take_buffer()
            # A fresh salt, hence a fresh key, per copy: no two share a key stream, no host can answer for another.
            sealed = seal_pack(draft, self._repository.keys, self._repository.suite, buffer)
            future = asyncio.run_coroutine_threadsafe(self._deliver(target, draft.entries, sealed, buffer), self._loop)
            self._futures.add(future)
            future.add_done_callback(self._futures.discard)
        self._live()

    def flush(self) -> None:
        """Wait until every pack is durable or its host has dropped out.

        Raises:
            BackupPeerError: no host is left.
            InterruptedByUserError: the job was cancelled.

        """
        for future in list(self._futures):
            while not future.done():
                self._check_stop()
                wait([future], timeout=0.25)
        self._live()

    def cancel(self) -> None:
        """Drop what is in flight; a host throws an unfinished pack away whole."""
        for future in list(self._futures):
            future.cancel()

    def _live(self) -> list[_Target]:
        live = [target for target in self._targets if target.failure is None]
        if not live:
            raise next(target.failure for target in self._targets if target.failure)
        return live

    def _take_buffer(self) -> bytearray:
        while True:
            self._check_stop()
            try:
                return self._buffers.get(timeout=0.25)
            except queue.Empty:
                self._live()

    def _check_stop(self) -> None:
        if self._stop.is_set():
            self.cancel()
            raise InterruptedByUserError(
                "interrupted", hint="run the same backup again: what a host stored is not sent twice"
            )

    async def _deliver(self, target: _Target, entries: Sequence[Entry], sealed: SealedPack, buffer: bytearray) -> None:
        """Send one copy. Holds the sealed bytes only: the draft's payloads are 16 MiB more per pack in flight."""
        try:
            if target.failure is None:
                await retry(
                    lambda: self._send(target, sealed),
                    self._clock,
                    waiting=self._herald.waiting_for(target.partner.name),
                )
                copy = Copy(sealed.logical, target.partner.agreement, sealed.stored, len(sealed.data), sealed.header)
                await asyncio.to_thread(self._on_copy, entries, copy)
        except BackupPeerError as exc:
            target.failure = target.failure or exc
            self._herald.over(target.partner.name, is_back=False)
        finally:
            self._buffers.put(buffer)

    async def _send(self, target: _Target, sealed: SealedPack) -> None:
        """Send identical spooled bytes on every try: the salt, hence the nonces, belong to exactly these bytes."""
        partner = target.partner
        session = await partner.session()
        async with session.request(
            PutPack(agreement=partner.agreement, stored=sealed.stored, size=len(sealed.data)), bulk=True
        ) as channel:
            answer = await channel.receive(Proceed, Stored)
            self._herald.over(partner.name)
            if isinstance(answer, Proceed):
                await channel.send_raw(sealed.data)
                await channel.receive(Stored, timeout_s=BULK_STALL_S)
                target.sent_bytes += len(sealed.data)
