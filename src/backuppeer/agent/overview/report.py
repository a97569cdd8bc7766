"""The report of a week: what was backed up and proven, what is kept for others, how hosts do, what needs attention.

Knows: which part tells what. Must not know: how it is worded (`wording`), where it goes.
"""

import shutil
import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import structlog

from backuppeer.agent.agent import Agent
from backuppeer.agent.home.home import Home
from backuppeer.agent.host.premises import Premises
from backuppeer.agent.notifications.trouble import Trouble
from backuppeer.agent.owner.set_hosts import read_sets
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.names import name_of
from backuppeer.backup.browse import list_snapshots
from backuppeer.clock import DAY_S, format_time
from backuppeer.control.reporting import Attention, Report, ReportedHost, ReportedSet
from backuppeer.errors import BackupPeerError
from backuppeer.ids import format_peer_id
from backuppeer.proof.statements import Agreement, peek_statement

_WEEK_MS: Final = 7 * DAY_S * 1000
_Row = TypeVar("_Row")
_log = structlog.get_logger()


def build_report(agent: Agent, troubles: Sequence[Trouble]) -> Report:
    """Return the report of the seven days that end now; reads disks, so in a thread.

    What can't be read is left out, and stands among what needs attention.
    """
    parts, premises, vault = agent.parts, agent.host.premises, agent.owner.vault
    now_ms = parts.clock.now_ms()
    attention = [Attention(text=trouble.text, fix=trouble.fix) for trouble in troubles]
    agreed, used = _measure_hosting(premises)
    return Report(
        machine=socket.gethostname(),
        since=format_time(now_ms - _WEEK_MS),
        until=format_time(now_ms),
        sets=_list_readable(lambda: list_sets(parts.home, vault, now_ms), "backup sets", attention),
        hosts=_list_readable(lambda: _list_hosts(agent), "hosts", attention),
        owners=len(premises.owners()),
        hosted_agreed_bytes=agreed,
        hosted_used_bytes=used,
        home_free_bytes=_measure_free(parts.home.path) or 0,
        store_free_bytes=_measure_free(premises.directory) if premises.directory is not None else None,
        attention=attention,
    )


def list_sets(home: Home, vault: Vault, now_ms: int) -> list[ReportedSet]:
    """Return of each set what was made of it within the week, also of those of which nothing was."""
    listed = list_snapshots(vault.repository.index) if vault.exists_repository else []
    rows = {name: ReportedSet(set=name, made=0) for name in sorted(read_sets(home))}
    for _, snapshot in listed:
        row, time_ms = (
            rows.setdefault(snapshot.set, ReportedSet(set=snapshot.set, made=0)),
            snapshot.time_ns // 1_000_000,
        )
        row.made += now_ms - _WEEK_MS < time_ms <= now_ms
        row.last, row.bytes = format_time(time_ms), snapshot.bytes
    return list(rows.values())


def _list_hosts(agent: Agent) -> Iterable[ReportedHost]:
    state, vault = agent.parts.state, agent.owner.vault
    accounts = {record.agreement: record.account for record in agent.owner.auditor.records()}
    for agreement, host, signed in state.agreements():
        trust, level = agent.parts.standing.trust(host)
        copies = vault.repository.ledger.copies_at(agreement) if vault.exists_repository else ()
        account = accounts.get(agreement)
        yield ReportedHost(
            peer_id=format_peer_id(host),
            name=name_of(state, host),
            trust=round(trust, 2),
            trust_level=level.value,
            agreed_bytes=peek_statement(Agreement, signed).size_bytes,
            used_bytes=sum(copy.size for copy in copies),
            proven=format_time(account.good_ms) if account is not None and account.good_ms else "",
        )


def _list_readable(list_rows: Callable[[], Iterable[_Row]], what: str, attention: list[Attention]) -> list[_Row]:
    try:
        return list(list_rows())
    except BackupPeerError as exc:
        _log.warning("left out of the report", part=what, reason=exc.message)
        text = f"what this home keeps of its {what} can't be read: they are left out here"
        attention.append(Attention(text=text, fix="`backup-peer doctor` says what is broken"))
        return []


def _measure_hosting(premises: Premises) -> tuple[int, int]:
    """Return the bytes that were agreed with owners, and those that they use; 0 while the store is away."""
    try:
        totals = premises.open().totals() if premises.directory is not None else None
    except BackupPeerError:
        return 0, 0  # that stands among what needs attention
    return (totals.agreed_bytes, totals.used_bytes) if totals is not None else (0, 0)


def _measure_free(place: Path) -> int | None:
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return None
