"""What hosts hold and no head names any more: they are told to delete it, and to keep it where a head names it again.

Knows: doomed copies in the ledger, the head that each host countersigned last. Must not know: why a pack was dropped,
when a host erases it. A host is asked only under the newest head, and never about a pack that the index has: whatever
the ledger says, what is needed stays.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import Partner
from backuppeer.errors import ProtocolViolation
from backuppeer.limits import REMOVAL_PACKS
from backuppeer.proof.removals import PackDelete, PackRevive
from backuppeer.proof.statements import statement_hash
from backuppeer.shares.ledger import Copy
from backuppeer.wire.messages import Deleted, DeletePacks, Revived, RevivePacks


@dataclass(frozen=True, slots=True)
class Cleared:
    """What one host was told to delete now: `packs` of `size_bytes`, kept by it for `lock_s` seconds."""

    packs: int = 0
    size_bytes: int = 0
    lock_s: int = 0


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
        message = RevivePacks(
            agreement=partner.agreement, signed=vault.sign_removal(PackRevive, batch, head), packs=packs
        )
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
    pending = await asyncio.to_thread(lambda: list(ledger.doomed_at(partner.agreement, is_told=False)))
    for batch in _cut(pending):
        session = await partner.session()
        message = DeletePacks(
            agreement=partner.agreement,
            signed=vault.sign_removal(PackDelete, batch, head),
            packs=tuple(copy.stored for copy in batch),
        )
        async with session.request(message) as channel:
            answer = await channel.receive(Deleted)
        # What was agreed is the most: a host that says more must not fill the ledger with rows that never end.
        lock_s = min(answer.lock_s, vault.lock_s(partner))
        # 1 at least: 0 would mean that it was not told.
        ledger.settle(batch, max(1, vault.clock.now_ms() + lock_s * 1000))
        size_bytes = cleared.size_bytes + sum(copy.size for copy in batch)
        cleared = Cleared(cleared.packs + len(batch), size_bytes, lock_s)
    return cleared


def _cut(copies: Sequence[Copy]) -> Iterator[list[Copy]]:
    rest = iter(copies)
    while batch := list(islice(rest, REMOVAL_PACKS)):
        yield batch
