"""What `peers replace` would do: looked at before a person is asked, and nothing is changed by it.

Knows: which two hosts may be meant, what the new one lacks and has room for. Must not know: how packs are copied.
What would be refused after the question is refused here.
"""

import asyncio
import shlex
from collections.abc import Sequence
from typing import Final, NamedTuple

from backuppeer.agent.owner.admission import find_refusal
from backuppeer.agent.owner.copying import ask_usage
from backuppeer.agent.owner.ending import Ended, Ending
from backuppeer.agent.owner.meeting import Meeting
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.peers.room import say_room
from backuppeer.agent.reporter import Reporter
from backuppeer.errors import BackupPeerError, NotFoundError, PeerUnreachable, RefusedError, UserError
from backuppeer.ids import LogicalId, PeerId
from backuppeer.sizes import format_size

_GB: Final = 10**9
_LEAST_GB: Final = 10


class Outlook(NamedTuple):
    """What would be done: packs that there are, those to be copied, what the new host has free, and the old one's end.

    `ended.told` is false unless notice was given before.
    """

    packs: int
    size_bytes: int
    copy_packs: int
    copy_bytes: int
    free_bytes: int
    ended: Ended
    is_ended: bool


def choose_hosts(vault: Vault, old: PeerId, new: PeerId) -> tuple[Partner, Partner]:
    """Return the host to leave and the host that is to have everything.

    Raises:
        NotFoundError: one of them keeps no backups of ours.
        UserError: both are the same.
        RefusedError: the new one's own agreement ends, or it gets no new data.
        AuthenticationFault: its safety words differed.

    """
    partners = {partner.peer: partner for partner in vault.partners()}
    if old == new:
        raise UserError("a host can't take its own place", hint="name the host to leave, then the one to have all")
    if old not in partners:
        raise NotFoundError(
            f"{vault.name(old)} keeps no backups of yours, so nobody takes its place",
            hint="`backup-peer peers` shows your hosts",
        )
    if new not in partners:
        name = vault.name(new)
        ask = f"`backup-peer connect {shlex.quote(name)} --storage {_size_for(vault)}`"
        raise NotFoundError(f"{name} keeps no backups of yours yet", hint=f"ask it first: {ask}")
    if vault.deeds.ending(partners[new].agreement) is not None:
        name = partners[new].name
        raise RefusedError(
            f"the agreement with {name} ends: nothing is moved there",
            hint=f"who gave notice takes it back: `backup-peer peers renew {shlex.quote(name)}`; or name another host",
        )
    if (why := find_refusal(vault, partners[new])) is not None:
        raise type(why)(f"{partners[new].name}: {why.message}; nothing is moved there", hint=why.hint)
    return partners[old], partners[new]


async def plan_replace(
    vault: Vault, ending: Ending, reporter: Reporter, *, old: PeerId, new: PeerId, is_asked: bool = False
) -> Outlook:
    """Hear both hosts, and say what would be copied, whether it fits, and until when the old one would keep all.

    `is_asked`: the new one was asked for other terms, and has not answered.

    Raises:
        as `choose_hosts`; RefusedError: the new one has no room for all of it.
        PeerUnreachable: the new host can't be reached, or the old one, which alone has something that is needed.

    """
    leaving, staying = choose_hosts(vault, old, new)
    vault.check_writable()
    failures = await _hear(vault, reporter, [staying, leaving])
    if staying.peer in failures:
        raise failures[staying.peer]
    ledger, packs = vault.repository.ledger, await asyncio.to_thread(vault.owed.packs)
    lacking = await asyncio.to_thread(vault.owed.lacking_at, staying.agreement)
    if leaving.peer in failures:
        await asyncio.to_thread(_check_had_elsewhere, vault, leaving, lacking)
    copy_bytes = await asyncio.to_thread(ledger.measure, lacking)
    usage = await ask_usage(staying)
    if copy_bytes > usage.free_bytes:
        raise RefusedError(
            f"{staying.name} has no room for all of it: it lacks {format_size(copy_bytes)}, and has "
            f"{say_room(usage, vault.clock.now_ms())}",
            hint=_advise(
                staying.name, usage.size_bytes + (copy_bytes - usage.free_bytes) * 21 // 20, is_asked=is_asked
            ),
        )
    return Outlook(
        len(packs),
        await asyncio.to_thread(ledger.measure, packs),
        len(lacking),
        copy_bytes,
        usage.free_bytes,
        ending.foresee(old),
        is_ended=ending.is_ended_by_us(old),
    )


def _advise(name: str, size_bytes: int, *, is_asked: bool) -> str:
    """Return how to come by room; `size_bytes`: a little more than is lacking, for what is packed anew meanwhile."""
    if is_asked:
        return f"{name} has not answered your request yet: run the same again when it has; see `backup-peer requests`"
    return f"ask for more: `backup-peer peers resize {shlex.quote(name)} {_in_gb(size_bytes)}`; or name another host"


async def _hear(vault: Vault, reporter: Reporter, partners: Sequence[Partner]) -> dict[PeerId, BackupPeerError]:
    """Bring ledger and index in line with what hosts hold; return who could not be heard, and why."""
    failures: dict[PeerId, BackupPeerError] = {}

    def fail(partner: Partner, error: BackupPeerError) -> None:
        vault.blame(partner, error)
        failures.setdefault(partner.peer, error)

    await reporter.state("connecting", f"connecting to {', '.join(partner.name for partner in partners)}")
    meeting = Meeting(vault, reporter, fail)
    await meeting.refresh(await meeting.hear(partners))
    losses = await vault.ensure_whole(patient=False)
    if losses.hides_snapshots or not losses.is_list_read:
        raise meeting.witnesses().explain(losses)
    return failures


def _check_had_elsewhere(vault: Vault, leaving: Partner, lacking: Sequence[LogicalId]) -> None:
    """Refuse to begin what can't be ended while the host to be left is away.

    Raises:
        PeerUnreachable: it alone has a pack that is to be copied.

    """
    ledger = vault.repository.ledger
    alone = sum(all(copy.agreement == leaving.agreement for copy in ledger.whole_copies_of(pack)) for pack in lacking)
    if alone:
        raise PeerUnreachable(
            f"{leaving.name} can't be reached, and has packs that no other host has: {alone}; nothing was changed",
            hint=f"run the same again when {leaving.name} is back; `backup-peer status` shows who is there",
        )


def _size_for(vault: Vault) -> str:
    """Return the space to ask a new host for: at least what there is."""
    if not vault.exists_repository:
        return f"{_LEAST_GB}GB"
    return _in_gb(max(_LEAST_GB * _GB, vault.repository.ledger.measure(vault.owed.packs()) * 21 // 20))


def _in_gb(size_bytes: int) -> str:
    return f"{-(-size_bytes // _GB)}GB"
