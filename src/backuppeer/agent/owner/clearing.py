"""What hosts hold and no head names any more: they are told to delete it, and to keep it where a head names it again.

Knows: doomed copies in the ledger, the head that each host countersigned last. Must not know: why a pack was dropped,
when a host erases it. A host is asked only under the head that it holds, to delete only under the newest, and never
about a pack that the index has: whatever the ledger says, what is needed stays.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice

from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import Partner
from backuppeer.errors import PeerUnreachable, ProtocolViolation
from backuppeer.host.hold import held_s
from backuppeer.limits import REMOVAL_PACKS
from backuppeer.proof.removals import NO_HEAD, PackDelete, PackRevive, PackWithdraw
from backuppeer.proof.statements import Head, peek_statement, statement_hash
from backuppeer.shares.ledger import Copy
from backuppeer.wire.messages import Deleted, DeletePacks, Revived, RevivePacks, Withdrawn, WithdrawPacks


@dataclass(frozen=True, slots=True)
class Cleared:
    """What one host was told to delete now: `packs` of `size_bytes`, kept by it for `lock_s` seconds.

    `is_doubled`: longer than agreed, as it is a large part of the data (ADR 37).
    """

    packs: int = 0
    size_bytes: int = 0
    lock_s: int = 0
    is_doubled: bool = False


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What one host erased at once: `packs` of `size_bytes`."""

    packs: int = 0
    size_bytes: int = 0


async def withdraw(vault: Vault, partner: Partner) -> Withdrawal:
    """Have a host erase at once what it was sent and no head ever named, among what it was not told of (ADR 31).

    To be asked before the next head is left there: after that it deletes with a lock, whatever that head names.

    Raises:
        BackupPeerError: it can't be reached, or refuses; then `clear_out` tells it later.

    """
    done = Withdrawal()
    pending = await asyncio.to_thread(_find_unwanted, vault, partner)
    if not pending:
        return done
    held = await vault.ask_head(partner)
    head = (statement_hash(held.head), peek_statement(Head, held.head).number) if held.head else NO_HEAD
    for batch in _cut(pending):
        packs = tuple(copy.stored for copy in batch)
        session = await partner.session()
        signed, device_sig = vault.sign_removal(PackWithdraw, batch, head)
        message = WithdrawPacks(agreement=partner.agreement, signed=signed, packs=packs, device_sig=device_sig)
        with vault.asked.one(partner.agreement) as asked:
            async with session.request(message) as channel:
                erased = set((await channel.receive(Withdrawn)).packs)
            asked.is_kept = bool(erased)
        if not erased <= set(packs):
            raise ProtocolViolation("the host erased packs that it was not asked about")
        gone = [copy for copy in batch if copy.stored in erased]
        vault.repository.ledger.forget_copies(gone)
        size_bytes = done.size_bytes + sum(copy.size for copy in gone)
        done = Withdrawal(done.packs + len(gone), size_bytes)
    return done


def _find_unwanted(vault: Vault, partner: Partner) -> list[Copy]:
    """Return the doomed copies that their host was not told of, but for packs that the index has."""
    ledger, index = vault.repository.ledger, vault.repository.index
    return [copy for copy in ledger.doomed_at(partner.agreement, is_told=False) if not index.has_pack(copy.logical)]


async def clear_out(vault: Vault, partner: Partner) -> Cleared:
    """Tell a host that has the newest head what it may delete; one that has another head hears of it later.

    Raises:
        BackupPeerError: it can't be reached, or refuses; what it was not told is told the next time.

    """
    newest, held = vault.heads.newest(), vault.heads.countersigned(partner)
    if newest is None or held is None or held[0] != statement_hash(newest[1]):
        return Cleared()
    await _revive(vault, partner, held)
    return await _delete(vault, partner, held)


def _find_wanted(vault: Vault, partner: Partner) -> list[Copy]:
    """Return the doomed copies of packs that the index has, of which the host was told; others are copies again."""
    ledger, index = vault.repository.ledger, vault.repository.index
    untold = [copy for copy in ledger.doomed_at(partner.agreement, is_told=False) if index.has_pack(copy.logical)]
    if untold:
        ledger.settle(untold, None)
    return [copy for copy in ledger.doomed_at(partner.agreement, is_told=True) if index.has_pack(copy.logical)]


async def _revive(vault: Vault, partner: Partner, head: tuple[bytes, int]) -> None:
    ledger = vault.repository.ledger
    # In a thread: after a large prune this looks up thousands of packs, and the loop has sessions to keep alive.
    for batch in _cut(await asyncio.to_thread(_find_wanted, vault, partner)):
        packs = tuple(copy.stored for copy in batch)
        session = await partner.session()
        signed, device_sig = vault.sign_removal(PackRevive, batch, head)
        message = RevivePacks(agreement=partner.agreement, signed=signed, packs=packs, device_sig=device_sig)
        # Whether it kept the request, or had none of them deleted, its answer does not tell.
        with vault.asked.one(partner.agreement):
            async with session.request(message) as channel:
                kept = set((await channel.receive(Revived)).packs)
        if not kept <= set(packs):
            raise ProtocolViolation("the host revived packs that it was not asked for")
        ledger.settle([copy for copy in batch if copy.stored in kept], None)
        # Erased: the next backup brings what is missing, from another host or from the files.
        ledger.forget_copies([copy for copy in batch if copy.stored not in kept])


async def _delete(vault: Vault, partner: Partner, head: tuple[bytes, int]) -> Cleared:
    ledger = vault.repository.ledger
    cleared = Cleared()
    agreed_s = vault.lock_s(partner)
    pending = await asyncio.to_thread(lambda: list(ledger.doomed_at(partner.agreement, is_told=False)))
    for batch in _cut(pending):
        session = await partner.session()
        signed, device_sig = vault.sign_removal(PackDelete, batch, head)
        packs = tuple(copy.stored for copy in batch)
        message = DeletePacks(agreement=partner.agreement, signed=signed, packs=packs, device_sig=device_sig)
        with vault.asked.one(partner.agreement) as asked:
            async with session.request(message) as channel:
                answer = await channel.receive(Deleted)
            asked.is_kept = answer.packs > 0
        # Twice what was agreed is the most: a host that says more must not fill the ledger with rows that never end.
        lock_s = min(answer.lock_s, held_s(agreed_s, is_doubled=True))
        # 1 at least: 0 would mean that it was not told.
        ledger.settle(batch, max(1, vault.clock.now_ms() + lock_s * 1000))
        size_bytes = cleared.size_bytes + sum(copy.size for copy in batch)
        cleared = Cleared(cleared.packs + len(batch), size_bytes, max(cleared.lock_s, lock_s), lock_s > agreed_s)
    if cleared.is_doubled and len(pending) > REMOVAL_PACKS:
        # What went before the request that was too much is held longer with it.
        ledger.settle(pending, vault.clock.now_ms() + cleared.lock_s * 1000)
    return cleared


def _cut(copies: Sequence[Copy]) -> Iterator[list[Copy]]:
    rest = iter(copies)
    while batch := list(islice(rest, REMOVAL_PACKS)):
        yield batch


@asynccontextmanager
async def limited(most_s: float, problem: str) -> AsyncIterator[None]:
    """Let the block take so long in all.

    Raises:
        PeerUnreachable: it took longer.

    """
    try:
        async with asyncio.timeout(most_s):
            yield
    except TimeoutError as exc:
        raise PeerUnreachable(problem) from exc
