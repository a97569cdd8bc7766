"""Trouble of an owner: backups that fail or are not made, hosts that lie, lose or leave, copies that lack.

Knows: what the owner's parts tell. Must not know: whether and how it is told. Reasons of single failures stay in
`status`: they may name files.
"""

import shlex
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from backuppeer.agent.audits.auditor import Record
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.identity_alarms import list_alarms
from backuppeer.agent.home.state import State
from backuppeer.agent.notifications.trouble import Trouble
from backuppeer.agent.overview.hosted import digest_text
from backuppeer.agent.owner.announcing import describe_seen
from backuppeer.agent.owner.ending import ending_hosts
from backuppeer.agent.owner.set_hosts import Sets
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.misbinding import say_alarm
from backuppeer.agent.peers.names import name_of
from backuppeer.agent.peers.session import Session
from backuppeer.agent.recovery.reminding import is_near_end, say_term
from backuppeer.clock import HOUR_S, format_time
from backuppeer.control.scheduling import OverdueSet, ScheduledSet
from backuppeer.errors import BackupPeerError, ExitCode
from backuppeer.ids import PeerId
from backuppeer.limits import HOME_FULL_BYTES, HOME_LOW_BYTES, NOTIFY_AWAY_S, NOTIFY_FAILURES
from backuppeer.proof.statements import Agreement, peek_statement
from backuppeer.sizes import format_free
from backuppeer.wire.messages import HeadIs

_NEARLY_FULL_PERCENT: Final = 95
_COPIES_GRACE_S: Final = 6 * HOUR_S
"""A host that was just agreed with, or is being brought up, lacks much for a while."""
_AWAY_GRACE_S: Final = 12 * HOUR_S
"""After this machine itself was off for days, there is time to meet them all."""
_AT_ONCE: Final = frozenset({ExitCode.AUTHENTICATION, ExitCode.INTEGRITY})
_WHY: Final = {
    ExitCode.INCOMPLETE: "not all of it reached the hosts",
    ExitCode.UNREACHABLE: "no host was reached",
    ExitCode.AUTHENTICATION: "a host could not prove to be it",
    ExitCode.REFUSED: "the hosts took no more, or it was refused here",
    ExitCode.NO_SIGNALING: "no signaling server was reached",
    ExitCode.INTEGRITY: "something was wrong, missing or rolled back",
}
_BACK: Final = "if that was not you, see docs/recovery.md; `backup-peer status` says more"


def find_failing(rows: Iterable[ScheduledSet]) -> Iterator[Trouble]:
    """Yield sets whose backups by schedule fail again and again."""
    for row in rows:
        if row.failures >= NOTIFY_FAILURES or (row.failures and row.code in _AT_ONCE):
            yield Trouble(
                key=f"failing:{row.set}",
                stage=str(row.code),
                text=f"the backup of {row.set} failed {_times(row.failures)}, last at {row.failed}: "
                f"{_WHY.get(ExitCode(row.code), 'something went wrong on that machine')}",
                fix=f"`backup-peer backup --set {shlex.quote(row.set)}` shows what stands in the way",
            )


def find_overdue(rows: Iterable[OverdueSet]) -> Iterator[Trouble]:
    """Yield sets that were not backed up for too long."""
    for row in rows:
        name = f"the set {row.set}" if row.set else "this machine"
        last = f"last on {row.last[:10]}" if row.last else "and never yet"
        typed = f"backup --set {shlex.quote(row.set)}" if row.set else "backup PATH"
        span = f"{row.days} days" if row.days != 1 else "a day"
        yield Trouble(
            key=f"overdue:{row.set}",
            text=f"{name} was not backed up for {span if row.days else 'hours'}, {last}",
            fix=f"`backup-peer {typed}` makes a backup, or shows what stands in the way",
        )


def find_liars(records: Iterable[Record], state: State) -> Iterator[Trouble]:
    """Yield hosts that were caught, or came to have lost something."""
    for record in records:
        name = name_of(state, record.host)
        if record.is_caught and record.account is not None and record.account.fault:
            yield Trouble(
                key=f"caught:{record.host.hex()}",
                stage=str(record.account.fault_ms),
                text=f"{name} was caught on {format_time(record.account.fault_ms)[:10]}: {record.account.fault}",
                fix="`backup-peer repair` brings what it lacks to others; it gets nothing new meanwhile",
            )
        elif record.spoiled:
            yield Trouble(
                key=f"lost:{record.host.hex()}",
                stage=str(record.spoiled.bit_length()),
                text=f"{name} has lost or damaged {record.spoiled} {'packs' if record.spoiled > 1 else 'pack'}",
                fix="`backup-peer repair` sends them again, or to others",
            )


def find_lacking(vault: Vault, state: State, sets: Sets) -> Iterator[Trouble]:
    """Yield that fewer hosts than wanted have all of the backups, and which hosts are nearly full."""
    if not vault.exists_repository or not vault.writer.may_write or not vault.repository.index.snapshots():
        return
    leaving = ending_hosts(state)
    keepers = [h for h in vault.complete_hosts() if h not in leaving and vault.standing.bar(h) is None]
    wanted = max((kept.copies for kept in sets.values()), default=1)
    if len(keepers) < wanted:
        staying = {h for _, h, _ in state.agreements() if h not in leaving and vault.standing.bar(h) is None}
        finds = "`backup-peer browse` finds another host"
        have = f"only at {len(keepers)} of {wanted} hosts" if keepers else "at no host"
        yield Trouble(
            key="copies",
            stage=str(len(keepers)),
            text=f"the backups are whole {have}",
            # Of those that end their agreement, and of too few, no backup makes enough.
            fix=finds
            if len(staying) < wanted
            else f"`backup-peer backup` brings hosts up that lack something; {finds}",
            grace_s=_COPIES_GRACE_S,
        )
    for agreement, host, signed in state.agreements():
        size = peek_statement(Agreement, signed).size_bytes
        used = sum(copy.size for copy in vault.repository.ledger.copies_at(agreement))
        if host not in leaving and used * 100 >= size * _NEARLY_FULL_PERCENT:
            name = name_of(state, host)
            yield Trouble(
                key=f"room:{agreement.hex()}",
                text=f"the space that {name} gives you is nearly full",
                fix=f"`backup-peer peers resize {shlex.quote(name)} SIZE` asks for more; `backup-peer forget` "
                "and `backup-peer prune` make room",
            )


def find_home_disk(home: Home) -> Iterator[Trouble]:
    """Yield that the disk of the home is nearly full: then no backup can write down what it did."""
    try:
        free = shutil.disk_usage(home.path).free
    except OSError:
        return
    if free < HOME_LOW_BYTES:
        yield Trouble(
            key="home-disk",
            stage="full" if free < HOME_FULL_BYTES else "low",
            text=f"the disk on which Backup Peer keeps its books has {format_free(free)} left",
            fix="free some space: without it backups end",
            grace_s=HOUR_S,
        )


def find_endings(state: State, now_ms: int) -> Iterator[Trouble]:
    """Yield agreements that a host ends, and those whose term is nearly over."""
    for agreement, host, signed in state.agreements():
        name, ending = name_of(state, host), state.deeds.ending(agreement)
        terms = peek_statement(Agreement, signed)
        if ending is not None and not state.deeds.is_own(agreement, ending.notice.party):
            yield Trouble(
                key=f"ending:{agreement.hex()}",
                stage=str(ending.until_ms),
                text=f"{name} ends its agreement: it keeps all until {format_time(ending.until_ms)[:10]} at least",
                fix="have your backups elsewhere by then: `backup-peer browse` finds a host",
            )
        elif ending is None and is_near_end(terms, now_ms):
            yield Trouble(
                key=f"term:{agreement.hex()}",
                stage=str(terms.revision),
                text=say_term(terms, name, now_ms),
                fix=f"`backup-peer peers renew {shlex.quote(name)}`",
            )


def find_away(state: State, met: Collection[PeerId], now_ms: int) -> Iterator[Trouble]:
    """Yield hosts that were not met for long. met: those in session now."""
    for agreement, host, _ in state.agreements():
        record = state.peer(host)
        seen_ms = record.last_seen_ms if record is not None else 0
        # Met when the clock was ahead: when that was can't be known, so the days are counted from the first look on.
        is_dated = seen_ms <= now_ms
        if seen_ms and host not in met and (now_ms - seen_ms >= 1000 * NOTIFY_AWAY_S or not is_dated):
            name = name_of(state, host)
            since = f"since {format_time(seen_ms)[:10]}" if is_dated else "for days"
            yield Trouble(
                key=f"away:{agreement.hex()}",
                text=f"{name} was not there {since}: nothing is backed up to it meanwhile",
                fix=f"ask its person; `backup-peer peers show {shlex.quote(name)}` says more",
                grace_s=_AWAY_GRACE_S if is_dated else NOTIFY_AWAY_S,
            )


def find_doubts(state: State) -> Iterator[Trouble]:
    """Yield alarms about who is who that nobody has seen here."""
    for alarm in list_alarms(state):
        if not alarm.is_seen:
            yield Trouble(
                key=f"identity:{alarm.peer.hex()}:{alarm.sort}",
                stage=str(alarm.time_ms),
                text=say_alarm(state, alarm).removeprefix("ALARM: "),
            )


def find_successors(vault: Vault, state: State, sessions: Sequence[Session]) -> Iterator[Trouble]:
    """Yield that another machine makes these backups, or knows newer ones than this home."""
    if vault.writer.own is not None and (why := vault.writer.describe()):
        yield Trouble(key="writer", stage=digest_text(why), text=why)
    for text in describe_seen(state):
        yield Trouble(key="succession", text=text)
    if vault.exists_repository and not vault.busy.locked():
        names = [name_of(state, session.peer) for session in sessions if _shows_newer(vault, session)]
        if names:
            yield Trouble(
                key="newer-head",
                text=f"{names[0]} knows of newer backups than this machine: it was set back to an older state, or "
                "another one makes them, too",
                fix=f"`backup-peer backup` takes over what hosts know; {_BACK}",
                grace_s=HOUR_S,
            )


def _shows_newer(vault: Vault, session: Session) -> bool:
    """Whether a host showed a newer head when this session began; what is wrong with one is told where it is used."""
    for shown in session.hello.heads:
        with suppress(BackupPeerError):
            if vault.heads.weigh(HeadIs(head=shown.head, grant=shown.grant))[1]:
                return True
    return False


def _times(count: int) -> str:
    return f"{count} times in a row" if count > 1 else "once"
