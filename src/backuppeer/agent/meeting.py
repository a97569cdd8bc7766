"""The hosts of one job, heard side by side: first the heads of all, then what each holds.

Knows: who was heard in full, who could not be. Must not know: what the job does. Heads are taken over only when
all have answered, in the order of the hosts: which history is adopted must not hang on who answers first (ADR 0011).
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from backuppeer.agent.losses import Witnesses
from backuppeer.agent.partners import Partner
from backuppeer.agent.reporter import Reporter
from backuppeer.agent.vault import Vault
from backuppeer.errors import BackupPeerError, PeerUnreachable
from backuppeer.ids import AgreementId
from backuppeer.limits import HEAR_S
from backuppeer.wire.messages import HeadIs

T = TypeVar("T")
OnFailure = Callable[[Partner, BackupPeerError], None]


class Meeting:
    """What hosts said in this job. `held`: the head of each that was heard; `listed`: those that told all they hold."""

    def __init__(self, vault: Vault, reporter: Reporter, on_failure: OnFailure) -> None:
        self._vault, self._reporter, self._on_failure = vault, reporter, on_failure
        self.held: dict[AgreementId, HeadIs] = {}
        self.listed: set[AgreementId] = set()
        self._counts: dict[AgreementId, int] = {}

    async def hear(self, partners: Sequence[Partner]) -> list[Partner]:
        """Ask hosts for their heads, adopt the newest, and return the hosts that could be heard."""
        answers = await asyncio.gather(*(self._try(partner, self._ask(partner)) for partner in partners))
        for partner, held in zip(partners, answers, strict=True):
            if held is None:
                continue
            try:
                self._vault.take_head(partner, held, self._reporter)
            except BackupPeerError as exc:
                self._on_failure(partner, exc)
            else:
                self.held[partner.agreement] = held
        return [partner for partner in partners if partner.agreement in self.held]

    async def refresh(self, partners: Sequence[Partner], *, on_failure: OnFailure | None = None) -> list[Partner]:
        """Read what hosts hold, and return those that could be asked."""
        self._reporter.begin("reading directories", unit="pack")
        told = await asyncio.gather(*(self._try(partner, self._refresh(partner), on_failure) for partner in partners))
        return [partner for partner, is_told in zip(partners, told, strict=True) if is_told is not None]

    def witnesses(self) -> Witnesses:
        """Return who told all, and who may have more, among all our hosts."""
        everybody = self._vault.partners()
        return Witnesses(
            heard=[partner.name for partner in everybody if partner.agreement in self.listed],
            away=[partner.name for partner in everybody if partner.agreement not in self.listed],
        )

    async def _ask(self, partner: Partner) -> HeadIs:
        try:
            async with asyncio.timeout(HEAR_S):
                return await self._vault.ask_head(partner)
        except TimeoutError as exc:
            raise PeerUnreachable(f"it did not show its head within {HEAR_S:.0f} s") from exc

    async def _refresh(self, partner: Partner) -> bool:
        def count(packs: int) -> None:
            self._counts[partner.agreement] = packs
            self._reporter.update(files=sum(self._counts.values()))

        is_all = await self._vault.refresh(partner, self._reporter, count)
        if is_all:
            self.listed.add(partner.agreement)
        return is_all

    async def _try(
        self, partner: Partner, step: Coroutine[Any, Any, T], on_failure: OnFailure | None = None
    ) -> T | None:
        """Return what a step gives; None when it failed, which holds up nobody else."""
        try:
            return await step
        except BackupPeerError as exc:
            (on_failure or self._on_failure)(partner, exc)
            return None
