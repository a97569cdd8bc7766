"""One `audit --now` or `--bulk`: hosts audited side by side, and what came of it.

Knows: which hosts, how outcomes are told. Must not know: how one host is audited. A host that is slow or away holds up
no other.
"""

import asyncio
from collections.abc import Sequence

from backuppeer.agent.audits.auditing import Scope
from backuppeer.agent.audits.auditor import Auditor, Record
from backuppeer.agent.audits.dossier import Outcome
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.peers.retry import Herald
from backuppeer.agent.reporter import Reporter, beating
from backuppeer.clock import format_time
from backuppeer.control.auditing import AuditedHost, AuditRequest, AuditResult
from backuppeer.control.proven import AuditRow
from backuppeer.control.saving import LeftOut
from backuppeer.errors import BackupPeerError, NotFoundError
from backuppeer.ids import format_peer_id


class AuditJob:
    """One run."""

    def __init__(self, vault: Vault, auditor: Auditor, request: AuditRequest, reporter: Reporter) -> None:
        self._vault, self._auditor, self._request, self._reporter = vault, auditor, request, reporter
        reporter.traffic_bytes = vault.traffic_bytes

    async def run(self) -> AuditResult:
        """Audit.

        Raises:
            NotFoundError: no host is agreed, or one named is not.
            RefusedError: this home may only read.

        """
        partners = self._vault.partners(self._request.peers)
        self._vault.check_writable()
        await self._reporter.state("connecting", f"connecting to {', '.join(p.name for p in partners)}")
        self._reporter.begin("auditing", unit="sample")
        scope = Scope.BULK if self._request.bulk else Scope.NOW
        async with beating(self._reporter):
            herald = Herald(self._reporter.say_state, self._vault.clock)
            outcomes = await asyncio.gather(*(self._audit(partner, scope, herald) for partner in partners))
            herald.give_up()
        hosts = [self._describe(outcome) for outcome in outcomes]
        return AuditResult(
            hosts=hosts,
            asked=sum(host.asked for host in hosts),
            shown=sum(host.shown for host in hosts),
            shown_bytes=sum(host.shown_bytes for host in hosts),
            left_out=_leave_out(outcomes),
            seconds=self._reporter.seconds,
        )

    async def _audit(self, partner: Partner, scope: Scope, herald: Herald) -> Outcome:
        try:
            await herald.meet(partner, partner.session())
        except BackupPeerError as exc:
            self._vault.blame(partner, exc)
            return Outcome(partner, error=exc)
        return await self._auditor.audit(partner, self._reporter, scope)

    def _describe(self, outcome: Outcome) -> AuditedHost:
        partner = outcome.partner
        return AuditedHost(
            peer_id=format_peer_id(partner.peer),
            alias=self._vault.alias(partner.peer),
            asked=outcome.asked,
            shown=outcome.shown,
            shown_bytes=outcome.shown_bytes,
            acknowledged=outcome.acked,
            owed=len(self._vault.repository.proven.owed(partner.agreement)),
            lost=outcome.lost,
            wrong=outcome.wrong,
            over_budget=outcome.is_over_budget,
            deaf=outcome.is_mute,
            skipped=outcome.skipped,
            faults=outcome.faults,
            proofs=[str(path) for path in outcome.proofs],
        )


def _leave_out(outcomes: Sequence[Outcome]) -> list[LeftOut]:
    return [
        LeftOut(
            peer_id=format_peer_id(outcome.partner.peer),
            name=outcome.partner.name,
            reason=outcome.error.message,
            hint=outcome.error.hint,
        )
        for outcome in outcomes
        if outcome.error is not None
    ]


def describe_hosts(vault: Vault, auditor: Auditor, names: Sequence[str]) -> list[AuditRow]:
    """Return how hosts stand, those named or all.

    Raises:
        NotFoundError: no host is agreed, or one named is not.

    """
    wanted = {partner.peer for partner in vault.partners(names)}
    return [describe_record(vault, record) for record in auditor.records() if record.host in wanted]


def describe_all(vault: Vault, auditor: Auditor) -> list[AuditRow]:
    """Return how all hosts stand; none when none is agreed, or no repository is known."""
    try:
        return describe_hosts(vault, auditor, ())
    except NotFoundError:
        return []


def describe_record(vault: Vault, record: Record) -> AuditRow:
    """Return how a host stands, as people are shown it."""
    row = AuditRow(peer_id=format_peer_id(record.host), alias=vault.alias(record.host), state=_name_state(record))
    row.stored_bytes, row.proven_bytes = record.coverage.size_bytes, record.coverage.proven_bytes
    row.packs, row.acknowledged = record.coverage.packs, record.coverage.acked
    row.owed, row.spoiled = record.owed, record.spoiled
    if record.account is not None:
        row.audited, row.proven = _moment(record.account.heard_ms), _moment(record.account.good_ms)
        row.next = _moment(record.account.due_ms)
        row.fault, row.fault_time = record.account.fault, _moment(record.account.fault_ms)
    return row


def _name_state(record: Record) -> str:
    account = record.account
    if record.is_caught:
        return "caught"
    if account is not None and account.is_mute:
        return "deaf"
    if record.owed:
        return "owing"
    return "proven" if account is not None and account.heard_ms else "never"


def _moment(time_ms: int) -> str:
    return format_time(time_ms) if time_ms else ""
