"""Audits that the agent makes by itself: each host about once a day, when it can be reached (DESIGN 5; ADR 43).

Knows: when each host is due, and that nothing else is to be held up. Must not know: how a host is audited. Times due
are kept, so a restart neither forgets nor repeats one. A host that is away is dialled after a day, two, four, then once
a week; when it comes by itself, and is due, it is audited then.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Protocol

import structlog

from backuppeer.agent.audits.auditing import Scope
from backuppeer.agent.audits.auditor import Auditor
from backuppeer.agent.audits.dossier import Outcome
from backuppeer.agent.jobs.board import Board
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.reporter import Emit, reporting
from backuppeer.clock import DAY_S
from backuppeer.errors import BackupPeerError, Unavailable
from backuppeer.ids import PeerId
from backuppeer.limits import AUDIT_AWAY_DAYS, AUDIT_CYCLE_DAYS, AUDIT_EVERY_S, AUDIT_LOOK_S
from backuppeer.shares.accounts import Account

_log = structlog.get_logger()
Pick = Callable[[float, float], float]


class _Wanted(Protocol):
    """Whether a person wants the agent to audit by itself."""

    def __call__(self) -> bool: ...


class Rounds:
    """The one round of this home, from the start of the agent to its end. `pick`: jitter, as random.uniform."""

    def __init__(self, vault: Vault, auditor: Auditor, *, is_wanted: _Wanted, pick: Pick = random.uniform) -> None:
        self._vault, self._auditor, self._is_wanted, self._pick = vault, auditor, is_wanted, pick
        self._woken = asyncio.Event()
        self._here: set[PeerId] = set()
        self.board = Board(vault.clock)

    def wake(self, peer: PeerId) -> None:
        """Look now: a peer is in session, and may be due."""
        self._here.add(peer)
        self._woken.set()

    async def run(self) -> None:
        """Audit who is due until cancelled."""
        while True:
            self._woken.clear()  # before the look: who wakes it in its middle may be due
            try:
                await self.look()
            except BackupPeerError as exc:
                _log.info("no audits", reason=exc.message)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), AUDIT_LOOK_S)

    async def look(self) -> list[PeerId]:
        """Audit the hosts that are due, one after the other; return those that were.

        Raises:
            BackupPeerError: a disk that refuses.

        """
        here, self._here = self._here, set()
        if not self._may_look():
            return []
        audited = []
        for partner in self._vault.partners():
            account = self._auditor.account(partner.agreement)
            now_ms = self._vault.clock.now_ms()
            # One that was away is dialled seldom; one that is here is asked as soon as a day is over.
            is_due = now_ms >= account.due_ms or (partner.peer in here and account.failures > 0)
            if is_due and not self._is_busy() and await self._audit(partner):
                audited.append(partner.peer)
        return audited

    def _may_look(self) -> bool:
        vault = self._vault
        if not vault.exists_repository or not vault.writer.may_write or vault.is_unrecovered:
            return False
        return vault.repository.ledger.count() > 0 and self._is_wanted()

    def _is_busy(self) -> bool:
        # A backup or a prune moves the head, and needs the line: it is not to wait for this, so this waits for it.
        return self._vault.busy.locked() or self._vault.pruning.locked()

    async def _audit(self, partner: Partner) -> bool:
        account, now_ms = self._auditor.account(partner.agreement), self._vault.clock.now_ms()
        is_heard = False
        try:
            await partner.session()
            work = partial(self._ask, partner, is_bulk_due=_is_bulk_due(account, now_ms))
            outcome = await self.board.run_alone("audit", partner.name, work)
            is_heard = outcome.error is None or not isinstance(outcome.error, Unavailable)
        except Unavailable as exc:
            self._vault.blame(partner, exc)
        except BackupPeerError as exc:
            _log.info("no audit", peer=partner.name, reason=exc.message)
        self._put_off(partner, now_ms, failures=0 if is_heard else account.failures + 1)
        return is_heard

    async def _ask(self, partner: Partner, emit: Emit, *, is_bulk_due: bool) -> Outcome:
        async with reporting(emit) as reporter:
            outcome = await self._auditor.audit(partner, reporter, Scope.DUE)
            if outcome.error is None and outcome.shown and is_bulk_due:
                await self._auditor.audit(partner, reporter, Scope.BULK)
            return outcome

    def _put_off(self, partner: Partner, now_ms: int, *, failures: int) -> None:
        # Full days with jitter around them, and a minute at least: many owners of one host don't call in step.
        days = 1 if failures == 0 else min(2 ** min(failures - 1, AUDIT_AWAY_DAYS), AUDIT_AWAY_DAYS)
        wait_s = AUDIT_EVERY_S * days * self._pick(0.8, 1.2)
        self._auditor.put_off(partner.agreement, now_ms + int(1000 * wait_s), failures=failures)


def _is_bulk_due(account: Account, now_ms: int) -> bool:
    """Whether the cycle's blocks are to be read: once, from a day on that its seed tells."""
    cycle, turn = divmod(now_ms // (1000 * DAY_S), AUDIT_CYCLE_DAYS)
    return account.bulk_cycle < cycle and turn >= account.seed[0] % AUDIT_CYCLE_DAYS
