"""The far end of the chain: clock, servers, network, peers, backups, as what was told of them reads.

Knows: looks at servers, what the agent tells. Must not know: how either is asked, the terminal. Pure.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from backuppeer.cli.checkup.findings import Finding, State
from backuppeer.cli.probing import describe_probe
from backuppeer.cli.render import escape_line, format_count, format_moment, shorten_id, write_peer
from backuppeer.cli.units import format_duration, format_size
from backuppeer.control.api import SnapshotRow
from backuppeer.control.doctor import NetworkCheck, PeerCheck
from backuppeer.errors import ExitCode
from backuppeer.limits import BACKUP_OLD_S, CLOCK_AGREES_S, CLOCK_SKEW_S

if TYPE_CHECKING:
    from backuppeer.agent.home.sets import BackupSet
    from backuppeer.signaling.probe import Probe

_STEPS: Final = {
    "name": "its name is not found (DNS)",
    "connection": "no connection to it (TCP)",
    "tls": "the connection is not secure (TLS)",
    "protocol": "reached, but it does not speak the protocol",
}
_NATS: Final = {
    "none": "no NAT before this machine: servers see its own address",
    "some": "behind a NAT, of which only one observer could be asked: which kind it is is not known",
    "steady": "behind a NAT that keeps a port: observers at two places see the same one, direct paths are found",
    "symmetric": "behind a symmetric NAT: each observer sees another port, so peers behind a NAT of theirs are reached "
    "by a relay only",
}
_SET_CLOCK: Final = "set this machine's clock: `sudo timedatectl set-ntp true`, or in the system's settings"


def judge_probe(probe: "Probe") -> Finding:
    """Return what a look at a server means; its clock is the clock's matter, unless it is what is wrong."""
    url = escape_line(probe.url)
    if probe.connect_ms is None:
        step = _STEPS.get(probe.step, "")
        text = f"{step}: {escape_line(probe.error)}" if step else escape_line(probe.error)
        code = int(ExitCode.NO_SIGNALING)
        return Finding(link="server", name=url, state=State.BROKEN, text=text, fix=escape_line(probe.hint), code=code)
    text = "; ".join(describe_probe(probe))
    if probe.error:
        return Finding(link="server", name=url, state=State.WARNING, text=text, fix=escape_line(probe.hint))
    return Finding(link="server", name=url, state=State.OK, text=text)


def judge_clock(skews: Sequence[float]) -> Finding:
    """Return what the clocks of others say of ours; skews: theirs less ours, in seconds.

    Ours is wrong by what more than half of all say at least, all to the same side. One clock alone never breaks the
    link: it may be the one that is wrong, and anybody can be made to talk to one liar.
    """
    if not skews:
        return Finding(link="clock", state=State.UNSEEN, text="no server or peer told its time: not compared")
    agreeing = sum(abs(skew) < CLOCK_AGREES_S for skew in skews)
    if 2 * agreeing > len(skews):
        return Finding(link="clock", state=State.OK, text=f"agrees with {_count_clocks(agreeing, len(skews))}")
    ahead, behind = ([s * sign for s in skews if s * sign >= CLOCK_AGREES_S] for sign in (-1, 1))
    side = max(ahead, behind, key=len)
    if 2 * len(side) <= len(skews):
        verb = "agree" if agreeing > 1 else "agrees"
        text = f"clocks disagree: {agreeing or 'none'} of {len(skews)} others {verb} with this machine's"
        fix = f"if it is this one that is wrong: {_SET_CLOCK}"
        return Finding(link="clock", state=State.WARNING, text=text, fix=fix)
    off_s = sorted(side, reverse=True)[len(skews) // 2]
    way = "behind" if side is behind else "ahead"
    text = f"this machine's is {format_duration(off_s)} {way}, by {_count_clocks(len(side), len(skews))}"
    return _judge_offset(text, off_s, is_alone=len(side) == 1)


def _judge_offset(text: str, off_s: float, *, is_alone: bool) -> Finding:
    if off_s < CLOCK_SKEW_S:
        text = f"{text}; up to {format_duration(CLOCK_SKEW_S)} are borne, but times shown are wrong"
        return Finding(link="clock", state=State.WARNING, text=text, fix=_SET_CLOCK)
    if is_alone:
        text, fix = f"{text}: one alone may be the wrong one", f"if it is this one that is wrong: {_SET_CLOCK}"
        return Finding(link="clock", state=State.WARNING, text=text, fix=fix)
    text = f"{text}: offers and requests are not taken"
    return Finding(link="clock", state=State.BROKEN, text=text, fix=_SET_CLOCK, code=1)


def _count_clocks(some: int, count: int) -> str:
    told = format_count(count, "other clock")
    return told if some == count else f"{some} of {told}"


def judge_network(found: NetworkCheck) -> Finding:
    """Return what lies between this machine and others."""
    if not found.looked:
        return Finding(link="network", state=State.NONE, text="this home stays on this machine alone (BACKUPPEER_BIND)")
    relay = f"the relay of {escape_line(found.relays[0])} lets it in" if found.relays else "no relay lets it in"
    if not found.nat:
        text = f"no observer told how it sees this machine; {relay}"
        return Finding(link="network", state=State.UNSEEN, text=text)
    text = f"{_NATS.get(found.nat, escape_line(found.nat))}; {relay}"
    if found.nat == "symmetric" and not found.relays:
        fix = "use a server that has one: `backup-peer config servers test` says which do"
        return Finding(link="network", state=State.BROKEN, text=text, fix=fix, code=int(ExitCode.UNREACHABLE))
    return Finding(link="network", state=State.WARNING if found.nat == "symmetric" else State.OK, text=text)


def judge_peer(row: PeerCheck) -> Finding:
    """Return how the link to one peer is: the first thing that is wrong with it, or what is well."""
    name, typed = escape_line(row.alias) or shorten_id(row.peer_id), write_peer(row.peer_id, row.alias)
    state, text, fix, code = _judge_host(row, typed) if row.role == "host" else _judge_owner(row, typed)
    return Finding(link="peer", name=name, state=state, text=text, fix=fix, code=int(code))


_Judgement = tuple[State, str, str, int]


def _judge_host(row: PeerCheck, typed: str) -> _Judgement:
    audit = row.audit
    if row.differs:
        text = "somebody else seems to be in its place" + (f": {escape_line(row.error)}" if row.error else "")
        fix = f"send it nothing, and ask its person by another way; `backup-peer peers verify {typed}` compares"
        return State.BROKEN, text, fix, ExitCode.AUTHENTICATION
    if row.left_alone:
        text = f"not asked: {escape_line(row.error)}, and it is left alone for a while"
        return State.UNSEEN, text, "the next command that needs it goes there at once, as `backup-peer backup` does", 0
    if not row.reached:
        seen = f"; last seen {format_moment(row.last_seen)}" if row.last_seen else "; never seen yet"
        fix = escape_line(row.hint) or f"is its machine on, and online? `backup-peer peers show {typed}` tells more"
        return State.BROKEN, f"{escape_line(row.error)}{seen}", fix, row.code or ExitCode.UNREACHABLE
    if audit is not None and audit.state == "caught":
        text = f"there, but caught {format_moment(audit.fault_time)}: {escape_line(audit.fault)}"
        return State.BROKEN, text, "`backup-peer repair` brings what it lacks to others", ExitCode.INTEGRITY
    path = "by a relay" if row.path == "relayed" else escape_line(row.path)
    well = f"there, {path}, answers in {row.rtt_ms:.0f} ms; {_say_identity(row)}; {_say_room(row)}; {_say_proof(row)}"
    return _warn_host(row, typed, well) or (State.OK, well, "", 0)


def _warn_host(row: PeerCheck, typed: str, well: str) -> _Judgement | None:
    if row.ends:
        by = "you end the agreement" if row.ended_by_us else "it ends the agreement"
        other = f"`backup-peer browse` finds another host, `backup-peer peers replace {typed} OTHER` brings all there"
        fix = f"`backup-peer peers renew {typed}` takes that back" if row.ended_by_us else other
        return State.WARNING, f"{well}; {by}, all is kept until {format_moment(row.ends)}", fix, 0
    if row.agreed_bytes and row.used_bytes >= row.agreed_bytes * 95 // 100:
        return State.WARNING, f"{well}; nearly full", f"`backup-peer peers resize {typed} SIZE` asks for more", 0
    if row.room_bytes == 0:
        return State.WARNING, f"{well}; it may get no more now", f"`backup-peer peers show {typed}` says why", 0
    if row.audit is not None and row.audit.owed:
        fix = f"`backup-peer audit --now {typed}` asks again"
        return State.WARNING, f"{well}; it owes {format_count(row.audit.owed, 'answer')}", fix, 0
    if not row.verified:
        return State.WARNING, well, f"`backup-peer peers verify {typed}` compares the safety words", 0
    return None


def _judge_owner(row: PeerCheck, typed: str) -> _Judgement:
    if row.differs:
        fix = f"ask its person by another way; `backup-peer peers verify {typed}` compares"
        return State.BROKEN, "somebody else seems to be in its place", fix, ExitCode.AUTHENTICATION
    kept = f"you keep {format_size(row.used_bytes)} of {format_size(row.agreed_bytes)} for it"
    if row.reached:
        return State.OK, f"connected; {kept}", "", 0
    seen = f"last seen {format_moment(row.last_seen)}" if row.last_seen else "never seen yet"
    return State.NONE, f"{kept}; {seen}, it comes when it needs you", "", 0


def _say_identity(row: PeerCheck) -> str:
    return "safety words compared" if row.verified else "safety words never compared"


def _say_room(row: PeerCheck) -> str:
    until = f" until {format_moment(row.until)[:10]}" if row.until else ""
    return f"{format_size(row.used_bytes)} of {format_size(row.agreed_bytes)} used, agreed{until}"


def _say_proof(row: PeerCheck) -> str:
    if row.audit is None or row.audit.state == "never":
        return "not audited yet"
    if row.audit.state == "deaf":
        return "too old to be audited"
    return f"last proof {format_moment(row.audit.proven)}" if row.audit.proven else "showed a part of what it keeps"


def judge_read(snapshots: Sequence[SnapshotRow], *, hosts: int, now_s: float) -> Iterator[Finding]:
    """Return how old the newest snapshot is in a home that only reads: another machine makes them, if any does."""
    if not snapshots and not hosts:
        yield Finding(link="backups", state=State.NONE, text="nothing is backed up from here")
        return
    whole = [row for row in snapshots if not row.missing]
    newest = max(whole, key=lambda row: row.time, default=None)
    text = "this home restores, and makes no backups"
    if newest is not None:
        age = format_duration(max(0.0, now_s - datetime.fromisoformat(newest.time).timestamp()))
        text = f"{text}; newest known here {format_moment(newest.time)}, {age} ago"
        if newest.incomplete:
            text, fix = f"{text}; a part of it is at no host", "`backup-peer check` says what"
            yield Finding(link="backups", state=State.BROKEN, text=text, fix=fix, code=int(ExitCode.INTEGRITY))
            return
    fix = "`backup-peer recover --take-over` makes this the machine that makes them" if hosts else ""
    yield Finding(link="backups", state=State.NONE, text=text, fix=fix)


def judge_backups(
    snapshots: Sequence[SnapshotRow], sets: "Mapping[str, BackupSet]", *, hosts: int, now_s: float
) -> Iterator[Finding]:
    """Return how old the newest snapshot of each set is, and how many hosts hold it. hosts: that are agreed with."""
    for name, wanted in sets.items():
        yield _judge_set(name, [row for row in snapshots if row.set == name], wanted, now_s)
    loose = [row for row in snapshots if row.set not in sets]
    if loose:
        yield _judge_set("", loose, None, now_s)
    if not sets and not loose:
        text = "nothing is backed up from here"
        if hosts:
            fix = "`backup-peer backup PATH` makes the first snapshot"
            yield Finding(link="backups", state=State.WARNING, text=text, fix=fix)
        else:
            yield Finding(link="backups", state=State.NONE, text=text)


def _judge_set(name: str, rows: Sequence[SnapshotRow], wanted: "BackupSet | None", now_s: float) -> Finding:
    """Judge the newest of the snapshots of a set, or (None) of those of no set."""
    called, typed = name or "paths in no set", shlex.quote(name)
    again = f"`backup-peer backup --set {typed}`" if name else "`backup-peer backup PATH`"
    newest = max((row for row in rows if not row.missing), key=lambda row: row.time, default=None)
    if newest is None:
        return Finding(
            link="backups", name=called, state=State.WARNING, text="no snapshot yet", fix=f"{again} makes the first"
        )
    age_s = max(0.0, now_s - datetime.fromisoformat(newest.time).timestamp())
    hosts = format_count(len(newest.peers), "host")
    text = f"newest {format_moment(newest.time)}, {format_duration(age_s)} ago, at {hosts}"
    copies, schedule = (wanted.copies, wanted.schedule) if wanted is not None else (1, "")
    state, fix, code = State.OK, "", ExitCode.DONE
    if newest.incomplete:
        state, code, text = State.BROKEN, ExitCode.INTEGRITY, f"{text}; a part of it is at no host"
        fix = "`backup-peer check` says what, `backup-peer repair` mends it"
    elif len(newest.peers) < copies:
        state, code, text = State.BROKEN, ExitCode.INCOMPLETE, f"{text}, not {copies} as it is to be"
        fix = f"{again} again when more hosts are there"
    elif age_s > BACKUP_OLD_S and not schedule:
        state, text = State.WARNING, f"{text}; no schedule makes the next"
        by_itself = '; `schedule = "daily 03:00"` in its settings has it done by itself'
        fix = f"{again} makes one now{by_itself if name else ''}"
    return Finding(link="backups", name=called, state=state, text=text, fix=fix, code=int(code))
