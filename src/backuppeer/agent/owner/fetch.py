"""Packs in: verified ranges of packs, from whichever host has a copy (the restorer's PackSource).

Knows: ledger, blocks, Merkle verification, switching hosts. Must not know: files, what is in a pack. Called from the
restorer's threads; the network runs in the event loop, the hashing in the calling thread.

Each pack is taken from the host that has it here soonest, as far as is known; one that takes much longer than another
would is left for that one, in the middle of the pack.

No byte leaves this file that its copy's stored id does not vouch for. A host that answers wrong is noted as evidence
and left for the next copy; one that can't be reached is retried within the budget.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from backuppeer.agent.brake import HeldError, brake_of_job
from backuppeer.agent.owner.failures import describe_failure, summarise_failures
from backuppeer.agent.owner.listening import meet_within, while_heard
from backuppeer.agent.owner.pacing import Pacer, SilentError, SlowError
from backuppeer.agent.owner.sounding import Heard, Soundings, while_alone
from backuppeer.agent.owner.spans import RecentSpans, Span, cut_from, plan_blocks
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.peers.retry import Herald, Say, retry
from backuppeer.agent.peers.session import Session
from backuppeer.backup.pages import PagePool
from backuppeer.clock import Clock
from backuppeer.errors import (
    BackupPeerError,
    IntegrityFault,
    InterruptedByUserError,
    PeerUnreachable,
    ProtocolViolation,
    RefusedError,
    StoreUnavailable,
    Unavailable,
)
from backuppeer.ids import AgreementId, LogicalId, StoredId
from backuppeer.limits import (
    FAILED_LATELY_S,
    FETCH_CACHE_BYTES,
    LEAF_BYTES,
    PACE_PATIENCE_S,
    PACE_PATIENCE_TIMES,
    PACK_TARGET_BYTES,
    PAGES_KEPT,
    PAGES_KEPT_FEW,
    RETRY_BUDGET_S,
    RETRY_MOST_S,
)
from backuppeer.proof.merkle import verify_range
from backuppeer.repo.layout import check_pack_bytes
from backuppeer.shares.ledger import Copy, Ledger
from backuppeer.wire.messages import GetRange, Range

Ranges = Sequence[tuple[int, int]]
_Others = Sequence[tuple[Copy, Partner]]
T = TypeVar("T")
Blame = Callable[[Partner, BackupPeerError], None]
Note = Callable[[str], None]


class Ears(NamedTuple):
    """Who hears what: `blame` whose fault it was, `say` who is waited for, `note` who gives something wrong."""

    blame: Blame
    say: Say
    note: Note


class _Cancellable(Protocol):
    def cancel(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class _Patience:
    """How long a host is waited for that is away, and one that is slow while another has the pack (None: no end).

    `end_s`: when meeting it is given up, by the clock. `others`: who is asked beside it whether they answer at all.
    """

    away_s: float
    slow_s: float | None
    end_s: float
    others: _Others = ()


class Fetch:
    """PackSource over the partners that hold copies.

    `wait_s`: how long for hosts that are away; 0: each is asked once, infinite: until one is back, None: as everywhere.
    `keep_bytes`: of what was fetched last; 0 to read all but once.
    `doubted`: hosts that were caught at something: read like any other, after those.
    """

    def __init__(
        self,
        ledger: Ledger,
        partners: dict[AgreementId, Partner],
        *,
        clock: Clock,
        ears: Ears,
        wait_s: float | None = None,
        keep_bytes: int = FETCH_CACHE_BYTES,
        doubted: Collection[AgreementId] = (),
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._ledger, self._partners = ledger, partners
        self._clock, self._ears = clock, ears
        self._noted: set[AgreementId] = set()
        self._doubted = doubted
        self._wait_s = RETRY_BUDGET_S if wait_s is None else wait_s
        self._herald = Herald(ears.say, clock)
        self._recent = RecentSpans(keep_bytes)
        self._pacer, self._brake = Pacer(clock), brake_of_job()
        self._failed_s: dict[AgreementId, float] = {}
        self._gone: dict[AgreementId, Unavailable] = {}
        self._soundings = Soundings()
        self._awaited: set[_Cancellable] = set()
        self._meetings: dict[AgreementId, asyncio.Future[Session]] = {}
        self._is_cancelled = False
        # Who reads all but once, or for weeks, shall not hold so much between two packs.
        self._pages = PagePool(PACK_TARGET_BYTES, PAGES_KEPT if keep_bytes else PAGES_KEPT_FEW, is_shared=True)

    def fetch(self, pack: LogicalId, ranges: Sequence[tuple[int, int]]) -> tuple[bytes, Sequence[bytes | memoryview]]:
        """Return what `_fetch` does, when the job's brake is off; what it broke off is asked for anew.

        Raises:
            BackupPeerError: as `_fetch`.

        """
        while True:
            self._brake.hold()
            try:
                return self._fetch(pack, ranges)
            except HeldError:
                continue

    def _fetch(self, pack: LogicalId, ranges: Ranges) -> tuple[bytes, Sequence[bytes | memoryview]]:
        """Return the clear header and the bytes of each (offset, length) of `pack`, all from the same copy.

        Every copy is tried once before anybody is waited for, those first whose host did not fail lately. Whoever was
        waited for in vain is tried again after a while, and not waited for: a thousand packs must not wait each.

        Raises:
            IntegrityFault: no host returned bytes that the stored id vouches for.
            Unavailable: no host with a copy can be reached.
            InterruptedByUserError: cancelled.

        """
        failures: dict[AgreementId, BackupPeerError] = {}
        began_s = self._clock.monotonic_s()
        for budget_s in self._budgets(pack, began_s):
            is_hopeless = True
            candidates = self._candidates(pack)
            for copy, partner in candidates:
                if not isinstance(failures.get(copy.agreement, Unavailable("")), Unavailable):
                    continue
                others = [each for each in candidates if each[0].agreement not in {copy.agreement, *failures}]
                if gone := self._lately_gone(copy) or self._hear_sounding(partner, began_s, others):
                    failures[copy.agreement] = gone
                    continue
                plan_blocks(ranges, copy.size)  # what can't be in this pack is the index's fault, and no host's
                is_hopeless &= copy.agreement in self._gone
                away_s = 0.0 if copy.agreement in self._gone else budget_s
                try:
                    # Who is tried first for others to be tried has all of the time, too: it may be on its way.
                    patience = _Patience(away_s, self._patience_s(others), began_s + self._silent_s, others)
                    taken = self._fetch_from(partner, copy, ranges, patience)
                except (IntegrityFault, RefusedError, ProtocolViolation, Unavailable) as exc:
                    if isinstance(exc, StoreUnavailable):
                        exc.is_outlasted = away_s > 0
                    self._note_failure(partner, pack, exc)
                    failures[copy.agreement] = exc
                else:
                    self._gone.pop(copy.agreement, None)
                    return copy.header, taken
            if is_hopeless:
                break
        if self._wait_s:
            self._gone |= {agreement: exc for agreement, exc in failures.items() if isinstance(exc, Unavailable)}
        raise summarise_failures(pack, {self._partners[agreement].name: exc for agreement, exc in failures.items()})

    def delivered_bytes(self, agreement: AgreementId) -> int:
        """Return how many verified bytes came from a host, in whole leaves."""
        return self._pacer.delivered_bytes(agreement)

    def give_up(self, agreements: AbstractSet[AgreementId]) -> None:
        """Wait no more for hosts that were waited for before this; they are tried again after a while."""
        for agreement in agreements & self._partners.keys():
            self._gone[agreement] = PeerUnreachable(f"{self._partners[agreement].name} was waited for in vain")
            self._failed_s[agreement] = self._clock.monotonic_s()

    def cancel(self) -> None:
        """End all waiting for hosts, now and from now on. In the event loop."""
        self._is_cancelled = True
        self._soundings.cancel()
        for step in [*self._awaited, *self._meetings.values()]:
            step.cancel()

    def _budgets(self, pack: LogicalId, began_s: float) -> Iterator[float]:
        """Yield how long each host is waited for in a round; the only one that has a pack is waited for at once."""
        if len(self._candidates(pack)) == 1:
            yield self._wait_s
            return
        yield 0.0
        # In turns: the second may be back long before the first.
        while (left_s := began_s + self._wait_s - self._clock.monotonic_s()) > 0:
            yield min(left_s, RETRY_MOST_S)

    def _note_failure(self, partner: Partner, pack: LogicalId, error: BackupPeerError) -> None:
        if isinstance(error, SlowError):
            return
        self._herald.over(partner.name, is_back=False)
        self._failed_s[partner.agreement] = self._clock.monotonic_s()
        if isinstance(error, SilentError):
            return
        self._ears.blame(partner, error)
        # Once for each host: who returns one pack wrong may return a thousand so, and a check counts them.
        if not isinstance(error, Unavailable) and partner.agreement not in self._noted:
            self._noted.add(partner.agreement)
            self._ears.note(describe_failure(partner.name, pack, error))

    def _lately_gone(self, copy: Copy) -> Unavailable | None:
        """Return the failure of a host that was waited for in vain lately."""
        return self._gone.get(copy.agreement) if self._has_failed_lately(copy) else None

    def _candidates(self, pack: LogicalId) -> list[tuple[Copy, Partner]]:
        copies = [copy for copy in self._ledger.copies_of(pack) if copy.agreement in self._partners]
        copies.sort(key=self._rank)
        return [(copy, self._partners[copy.agreement]) for copy in copies]

    def _rank(self, copy: Copy) -> tuple[bool, bool, bool, float]:
        """Return by what copies are asked in turn, the lowest first."""
        is_doubted = copy.agreement in self._doubted
        return self._has_failed_lately(copy), copy.is_last, is_doubted, self._pacer.wait_s(copy.agreement, copy.size)

    def _patience_s(self, others: Sequence[tuple[Copy, Partner]]) -> float | None:
        """Return how long a range may take when others have the pack too; None: as long as bytes come."""
        copies = [copy for copy, _ in others if copy.agreement not in self._doubted]
        soonest_s = min((self._pacer.wait_s(copy.agreement, copy.size) for copy in copies), default=None)
        return None if soonest_s is None else max(PACE_PATIENCE_S, PACE_PATIENCE_TIMES * soonest_s)

    def _has_failed_lately(self, copy: Copy) -> bool:
        failed_s = self._failed_s.get(copy.agreement)
        return failed_s is not None and self._clock.monotonic_s() - failed_s < FAILED_LATELY_S

    def _fetch_from(self, partner: Partner, copy: Copy, ranges: Ranges, patience: _Patience) -> list[memoryview]:
        spans = self._recent.get(copy.stored)
        if not all(any(span.covers(offset, length) for span in spans) for offset, length in ranges):
            plan = plan_blocks(ranges, copy.size)
            with self._pacer.request(copy.agreement, sum(count for _, count in plan) * LEAF_BYTES):
                spans = self._read_spans(partner, copy, plan, patience)
            self._recent.put(copy.stored, spans)
        return [cut_from(spans, offset, length) for offset, length in ranges]

    def _read_spans(self, partner: Partner, copy: Copy, plan: Ranges, patience: _Patience) -> list[Span]:
        check_pack_bytes(copy.size)
        # All of them in one buffer, each at its place in the pack: a worker that writes files sees the same memory.
        room = self._pages.take()
        spans: list[Span] = []
        for first, count in plan:
            into = room[first * LEAF_BYTES : (first + count) * LEAF_BYTES]
            read = partial(self._read_range, partner, copy.stored, first, into, patience=patience)
            waiting = self._herald.waiting_for(partner)
            step = partial(retry, read, self._clock, waiting=waiting, budget_s=patience.away_s)
            data, path = self._wait_for(self._brake.guard(partial(_within, patience.slow_s, step, partner.name)))
            check_range(copy.stored, copy.size, first, data, path)
            spans.append(Span(first * LEAF_BYTES, data))
        return spans

    def _wait_for(self, step: Coroutine[None, None, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(step, self._loop)
        self._awaited.add(future)
        try:
            if self._is_cancelled:
                future.cancel()
            return future.result()
        except CancelledError:
            raise InterruptedByUserError("stopped while waiting for a host") from None
        finally:
            self._awaited.discard(future)

    async def _read_range(
        self, partner: Partner, stored: StoredId, first_leaf: int, into: memoryview, *, patience: _Patience
    ) -> tuple[memoryview, tuple[bytes, ...]]:
        """Read from a host, which is met and listened to no longer than the person wants to wait."""
        step = self._meet(partner)
        if patience.away_s:  # else others are tried first: the work goes on, and what moves is shown
            step = self._herald.meet(partner, step)
        heard = Heard()

        async def read() -> tuple[memoryview, tuple[bytes, ...]]:
            session = await meet_within(patience.end_s - self._clock.monotonic_s(), step, partner.name)
            heard.begin(lambda: session.received_bytes)
            asking = read_range(partner, stored, first_leaf, into)
            return await while_heard(self._silent_s, asking, heard.count, partner.name)

        return await while_alone(read(), heard.count, partial(self._sound, patience), partner.name)

    def _meet(self, partner: Partner) -> Awaitable[Session]:
        # One call for all that wait for this host: dialled one after the other, each would take its ten seconds.
        meeting = self._meetings.get(partner.agreement)
        if meeting is None or meeting.done():
            meeting = asyncio.ensure_future(partner.session())
            meeting.add_done_callback(_look_at)  # whoever waited for it may have gone on with another host
            self._meetings[partner.agreement] = meeting
        # Dialling takes its own time, and goes on beside this.
        return asyncio.shield(meeting)

    async def _sound(self, patience: _Patience, step: asyncio.Future[T]) -> bool:
        """Ask the others whether they answer; return whether one does before a step is done."""
        for copy, partner in patience.others:
            ask = partial(self._ask_leaf, partner, copy.stored, patience.end_s)
            self._soundings.begin(copy.agreement, ask, self._clock.monotonic_s())
        return await self._soundings.has_answer([copy.agreement for copy, _ in patience.others], unless=step)

    async def _ask_leaf(self, partner: Partner, stored: StoredId, end_s: float) -> None:
        left_s = end_s - self._clock.monotonic_s()
        session = await meet_within(left_s, self._meet(partner), partner.name)
        read = read_range(partner, stored, 0, memoryview(bytearray(LEAF_BYTES)))
        await while_heard(left_s, read, lambda: session.received_bytes, partner.name)

    def _hear_sounding(self, partner: Partner, since_s: float, others: _Others) -> Unavailable | None:
        if not self._soundings.knows(partner.agreement):
            return None
        told = self._soundings.outcome(partner.agreement, since_s, [copy.agreement for copy, _ in others])
        gone = self._wait_for(told)
        if gone is not None:
            self._herald.over(partner.name, is_back=False)
            self._failed_s[partner.agreement] = self._clock.monotonic_s()
        if gone is not None and not isinstance(gone, SilentError):
            self._ears.blame(partner, gone)
        return gone

    @property
    def _silent_s(self) -> float:
        return self._wait_s or math.inf  # asked once: until it is found dead, or has answered


def _look_at(meeting: asyncio.Future[Session]) -> None:
    """Take note of how a dial ended that nobody waits for any more: else the loop complains of it."""
    if not meeting.cancelled():
        meeting.exception()


async def _within(limit_s: float | None, step: Callable[[], Awaitable[T]], name: str) -> T:
    """Return what a step gives, if it does so within a time; else it has ended when this raises, and uses no buffer.

    Raises:
        PeerUnreachable: it did not.

    """
    try:
        async with asyncio.timeout(limit_s):
            return await step()
    except TimeoutError:
        raise SlowError(f"{name} takes much longer than another host that has it") from None


async def read_range(
    partner: Partner, stored: StoredId, first_leaf: int, into: memoryview
) -> tuple[memoryview, tuple[bytes, ...]]:
    """Ask a host for as many leaves of a pack as `into` has room for; the last leaf may be a shorter one.

    Returns the part of `into` that was filled, and the Merkle path, both unverified.

    Raises:
        RefusedError: the host says it has no such pack, or lost it.
        Unavailable: the host can't be reached, or its disk can't.

    """
    session = await partner.session()
    leaves = -(-len(into) // LEAF_BYTES)
    async with session.request(
        GetRange(agreement=partner.agreement, stored=stored, first_leaf=first_leaf, leaves=leaves), bulk=True
    ) as channel:
        answer = await channel.receive(Range, is_read=True)
        if not isinstance(answer, Range) or answer.size > len(into):
            raise ProtocolViolation("the host answered with more bytes than were asked for")
        data = into[: answer.size]
        await channel.receive_into(data)
        return data, answer.path


def check_range(stored: StoredId, pack_bytes: int, first_leaf: int, data: memoryview, path: Sequence[bytes]) -> None:
    """Verify bytes of a host against the stored id.

    Raises:
        IntegrityFault: they are not the bytes that were stored.

    """
    verify_range(stored, pack_bytes, first_leaf, data, path)
