"""Who audits this home's hosts: one audit of each host at a time, and how each of them stands (ADR 43).

Knows: accounts, what an audit's end means for the account. Must not know: how an audit goes, when it is due by itself.
"""

import asyncio
import random
import secrets
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from backuppeer.agent.audits.accusing import Accuser
from backuppeer.agent.audits.auditing import Audit, Scope
from backuppeer.agent.audits.dossier import Dossier, Outcome
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.home.state import State
from backuppeer.agent.owner.testimony import MuteError, OverBudgetError, StaleHeadError
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.reporter import Reporter
from backuppeer.clock import DAY_S
from backuppeer.errors import BackupPeerError, StoreUnavailable
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import AUDIT_EVERY_S, AUDIT_FIRST_S, PROVEN_WITHIN_DAYS
from backuppeer.shares.accounts import Account, Coverage

_SEED_BYTES = 32


@dataclass(frozen=True, slots=True)
class Record:
    """How a host stands: its account (None: never audited), what was proven lately, what it owes, what is spoiled.

    is_caught: it was caught at something as lately: good audits since don't wash it off, so that a person sees it.
    """

    host: PeerId
    agreement: AgreementId
    account: Account | None = None
    coverage: Coverage = field(default_factory=Coverage)
    owed: int = 0
    spoiled: int = 0
    is_caught: bool = False


class Auditor:
    """Audits hosts, and knows how each stands."""

    def __init__(self, home: Home, keys: HomeKeys, state: State, vault: Vault) -> None:
        self._home, self._keys, self._state, self._vault = home, keys, state, vault
        self._at_work: defaultdict[AgreementId, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def audit(self, partner: Partner, reporter: Reporter, scope: Scope) -> Outcome:
        """Audit one host; whatever ends it early stands in the outcome.

        Raises:
            RefusedError: this home may only read: another machine may have had packs deleted.

        """
        # By a home that only reads, or was taken over, what others had deleted would be taken for lost.
        self._vault.check_writable()
        async with self._at_work[partner.agreement]:
            dossier = await asyncio.to_thread(self._open, partner, reporter)
            try:
                await Audit(dossier).run(scope)
            except MuteError:
                dossier.outcome.is_mute = True
                dossier.save(replace(dossier.account, is_mute=True))
            except OverBudgetError:
                dossier.outcome.is_over_budget = True
            except BackupPeerError as exc:
                dossier.outcome.error = exc
                # A disk that is away, or a newer head or revision than this home knows, is no fault.
                if not isinstance(exc, StoreUnavailable | StaleHeadError):
                    self._vault.blame(partner, exc)
            return dossier.outcome

    def account(self, agreement: AgreementId) -> Account:
        """Return the account of an agreement; a new one, with a seed of its own, if there is none yet.

        Raises:
            NotFoundError: no repository is known yet.
            LocalError: a disk that refuses.

        """
        proven = self._vault.repository.proven
        known = proven.account(agreement)
        if known is None:
            now_ms = self._vault.clock.now_ms()
            # Jitter: of many hosts agreed with on one day, and many owners of one host, not all meet at one hour.
            first_ms = now_ms + 1000 * AUDIT_FIRST_S + int(random.uniform(0, 1000 * AUDIT_EVERY_S))  # noqa: S311 - no secret
            known = Account(
                agreement=agreement,
                # The whole secret of which leaf is asked for when; of no use to anybody but the host it is about.
                seed=secrets.token_bytes(_SEED_BYTES),
                day=now_ms // (1000 * DAY_S) - 1,
                due_ms=first_ms,
            )
            proven.write(known)
        return known

    def put_off(self, agreement: AgreementId, due_ms: int, *, failures: int) -> None:
        """Note when the agent is to audit a host next, and how often in a row it could not."""
        self._vault.repository.proven.write(replace(self.account(agreement), due_ms=due_ms, failures=failures))

    def close_case(self, host: PeerId) -> None:
        """Show no more what a host was caught at last: its person was told that this is over."""
        if not self._vault.exists_repository:
            return
        proven = self._vault.repository.proven
        for agreement, peer, _ in self._state.agreements():
            if peer == host and (account := proven.account(agreement)) is not None:
                proven.write(replace(account, fault="", fault_ms=0))

    def records(self) -> list[Record]:
        """Return how each host stands. Reads no ledger but what is spoiled."""
        agreements = [(agreement, host) for agreement, host, _ in self._state.agreements()]
        if not self._vault.exists_repository:
            return [Record(host, agreement) for agreement, host in agreements]
        repository = self._vault.repository
        since_ms = self._vault.clock.now_ms() - 1000 * DAY_S * PROVEN_WITHIN_DAYS
        records = []
        for agreement, host in agreements:
            account = repository.proven.account(agreement)
            coverage = repository.proven.cover(agreement, since_ms)
            owed, spoiled = len(repository.proven.owed(agreement)), len(repository.ledger.spoiled_at(agreement))
            is_caught = account is not None and account.fault_ms > since_ms
            records.append(Record(host, agreement, account, coverage, owed, spoiled, is_caught))
        return records

    def proven_ms(self, hosts: Sequence[PeerId]) -> int:
        """Return when one of these hosts last showed all that it was asked for; 0: never."""
        if not self._vault.exists_repository:
            return 0
        proven = self._vault.repository.proven
        found = [proven.account(agreement) for agreement, host, _ in self._state.agreements() if host in hosts]
        return max((account.good_ms for account in found if account is not None), default=0)

    def _open(self, partner: Partner, reporter: Reporter) -> Dossier:
        repository, agreements = self._vault.repository, self._state.agreements()
        account = self.account(partner.agreement)
        repository.proven.drop_agreements([agreement for agreement, _, _ in agreements])
        return Dossier(
            partner=partner,
            vault=self._vault,
            keys=self._keys,
            terms=next(signed for agreement, _, signed in agreements if agreement == partner.agreement),
            repository=repository,
            reporter=reporter,
            accuser=Accuser(self._home, repository.proven, partner, self._state.deeds),
            account=account,
            outcome=Outcome(partner),
        )
