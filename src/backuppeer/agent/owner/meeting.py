"""The hosts of one job, heard side by side: first the heads of all, then what each holds.

Knows: who was heard in full, who could not be. Must not know: what the job does. Heads are taken over only when
all have answered, in the order of the hosts: which history is adopted must not hang on who answers first (ADR 0011).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from backuppeer.agent.brake import brake_of_job
from backuppeer.agent.owner.losses import Losses, Witnesses
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.peers.retry import Herald
from backuppeer.agent.reporter import Reporter
from backuppeer.errors import BackupPeerError, PeerUnreachable, Unavailable
from backuppeer.ids import AgreementId
from backuppeer.limits import HEAR_S, RETRY_BUDGET_S, SILENT_LEAST_S, WITNESS_S
from backuppeer.wire.messages import HeadIs

T = TypeVar("T")
_Answer = tuple[HeadIs, bytes | None]
"""The head that a host showed, and what it had promised when it was asked."""
OnFailure = Callable[[Partner, BackupPeerError], None]


class Meeting:
    """What hosts said in this job.

    `held`: the head of each that was heard. `listed`: those that told all they hold. `away`: those not reached.
    """

    def __init__(self, vault: Vault, reporter: Reporter, on_failure: OnFailure, *, wait_s: float | None = None) -> None:
        """`wait_s`: how long a person waits for hosts that are away; None: as everywhere."""
        self._vault, self._reporter, self._on_failure = vault, reporter, on_failure
        self._wait_s, self._hear_s = wait_s, HEAR_S if wait_s is None else min(HEAR_S, max(SILENT_LEAST_S, wait_s))
        self.held: dict[AgreementId, HeadIs] = {}
        self.listed: set[AgreementId] = set()
        self.away: set[AgreementId] = set()
        self._late: set[AgreementId] = set()
        self._counts: dict[AgreementId, int] = {}
        self._copies, self._on_s = False, 0.0
        self._began_s = self._waited_s = 0.0
        self._herald = Herald(reporter.say_state, vault.clock)

    async def hear(self, partners: Sequence[Partner], *, rest_s: float | None = None) -> list[Partner]:
        """Ask hosts for their heads, adopt the newest, and return the hosts that could be heard.

        `rest_s`: how long the others are waited for once one has answered; None: each for HEAR_S.
        """
        await brake_of_job().held()
        self._began_s = asyncio.get_running_loop().time()
        answers = await self._gather_heads(partners, rest_s)
        self._waited_s += asyncio.get_running_loop().time() - self._began_s
        for partner, answer in zip(partners, answers, strict=True):
            if answer is None:
                continue
            held, promised = answer
            try:
                self._vault.take_head(partner, held, promised, self._reporter)
            except BackupPeerError as exc:
                self._on_failure(partner, exc)
            else:
                self.held[partner.agreement] = held
        return [partner for partner in partners if partner.agreement in self.held]

    async def refresh(self, partners: Sequence[Partner], *, on_failure: OnFailure | None = None) -> list[Partner]:
        """Read what hosts hold, and return those that could be asked."""
        await brake_of_job().held()
        self._reporter.begin("reading directories", unit="pack")
        told = await asyncio.gather(*(self._try(partner, self._refresh(partner), on_failure) for partner in partners))
        return [partner for partner, is_told in zip(partners, told, strict=True) if is_told is not None]

    async def mend(self, partners: Sequence[Partner], *, copies: bool = False, on_s: float = 0.0) -> Losses:
        """Hear hosts, and read what they hold until nothing of the newest head is missing; return what is.

        Hosts are not waited for longer than they are needed: one that is slow must not hold up a restore. `copies`: a
        host is needed until those heard are known to have every pack. `on_s`: for how long the others are read on then.
        """
        self._copies, self._on_s = copies, on_s
        if not self._vault.is_whole() or not self._vault.repository.ledger.count():
            self._vault.unread.add(partner.agreement for partner in partners)
        self._reporter.begin("reading directories", unit="pack")
        is_whole = await self._read_until_whole(partners, rest_s=WITNESS_S)
        if self._late and not is_whole:
            late = [partner for partner in partners if partner.agreement in self._late]
            self._late.clear()
            await self._read_until_whole(late, rest_s=None)
        # One patience for all of it: who was waited for while heads were asked for is not waited for all over again.
        patience_s = RETRY_BUDGET_S if self._wait_s is None else self._wait_s
        return await self._vault.ensure_whole(wait_s=max(0.0, patience_s - self._waited_s))

    async def _read_until_whole(self, partners: Sequence[Partner], *, rest_s: float | None) -> bool:
        await self.hear(partners, rest_s=rest_s)
        if self._copies and self._vault.is_whole() and await asyncio.to_thread(self._have_copies):
            return True
        gone = self.away | self._late
        tasks = [
            asyncio.create_task(self._try(partner, self._refresh(partner)))
            for partner in partners
            if partner.agreement not in gone
        ]
        async with _ending(tasks):
            for told in asyncio.as_completed(tasks):
                await told
                if await self._vault.ensure_whole(patient=False):
                    continue
                if not self._copies or await asyncio.to_thread(self._have_copies):
                    await asyncio.wait(tasks, timeout=self._on_s)
                    return True
        return False

    def _have_copies(self) -> bool:
        """Whether the hosts that were heard are known to have every pack, each or together."""
        vault, ledger = self._vault, self._vault.repository.ledger
        missing = iter(vault.owed.packs() if vault.heads.newest() else vault.repository.index.packs())
        for agreement in self.held.keys() - self.away:
            missing = ledger.lacking_at(agreement, missing)
        return next(missing, None) is None

    def witnesses(self) -> Witnesses:
        """Return who told all, and who may have more, among all our hosts."""
        everybody = self._vault.partners()
        return Witnesses(
            heard=[partner.name for partner in everybody if partner.agreement in self.listed],
            away=[partner.name for partner in everybody if partner.agreement not in self.listed],
        )

    async def _gather_heads(self, partners: Sequence[Partner], rest_s: float | None) -> list[_Answer | None]:
        tasks = [asyncio.create_task(self._try(partner, self._ask_unheld(partner))) for partner in partners]
        async with _ending(tasks):
            for answer in asyncio.as_completed(tasks):
                if await answer is not None:
                    break
            late = (await asyncio.wait(tasks, timeout=rest_s))[1] if tasks else set()
            self._late |= {partner.agreement for task, partner in zip(tasks, partners, strict=True) if task in late}
            self._herald.give_up()
            return [None if task in late else task.result() for task in tasks]

    async def _ask_unheld(self, partner: Partner) -> _Answer:
        """Ask a host for its head; who was not reached while the job was paused is asked anew when it goes on."""
        brake = brake_of_job()
        while True:
            try:
                return await brake.run(lambda: self._ask(partner))
            except Unavailable:
                if not brake.is_on:
                    raise

    async def _ask(self, partner: Partner) -> _Answer:
        self._began_s = asyncio.get_running_loop().time()  # anew after a pause, which is no waiting for hosts
        try:
            async with asyncio.timeout(self._hear_s):
                promised = self._vault.heads.promise_of(partner)
                asking = self._vault.ask_head(partner, self._herald.waiting_for(partner))
                return await self._herald.meet(partner, asking), promised
        except TimeoutError as exc:
            raise PeerUnreachable(f"it did not show its head within {self._hear_s:.0f} s") from exc

    async def _refresh(self, partner: Partner) -> bool:
        def count(packs: int) -> None:
            self._counts[partner.agreement] = packs
            self._reporter.update(files=sum(self._counts.values()))

        is_all = await self._vault.refresh(partner, self._reporter, count)
        if is_all:
            self.listed.add(partner.agreement)
            self._vault.unread.discard(partner.agreement)
        return is_all

    async def _try(
        self, partner: Partner, step: Coroutine[Any, Any, T], on_failure: OnFailure | None = None
    ) -> T | None:
        """Return what a step gives; None when it failed, which holds up nobody else."""
        try:
            return await step
        except BackupPeerError as exc:
            self._fail(partner, exc, on_failure)
            return None

    def _fail(self, partner: Partner, error: BackupPeerError, on_failure: OnFailure | None = None) -> None:
        if isinstance(error, Unavailable):
            self.away.add(partner.agreement)
        (on_failure or self._on_failure)(partner, error)


@asynccontextmanager
async def _ending(tasks: Sequence[asyncio.Task[Any]]) -> AsyncIterator[None]:
    """Leave no task behind, however the block ends."""
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
