"""What hosts say they hold, compared with what is known here; nothing is written down but whose fault something is.

Knows: heads, lists of packs, the ledger. Must not know: what lies in a pack. Other jobs take what a host tells for the
new truth (`vault.refresh`); a check must first say what is wrong.
"""

import asyncio
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import partial

from backuppeer.agent.owner.deleted import list_deleted
from backuppeer.agent.owner.erased import hear_deletes, say_erased
from backuppeer.agent.owner.losses import measure_named
from backuppeer.agent.owner.rebuild import earn, list_packs
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.peers.retry import Herald, retry
from backuppeer.errors import BackupPeerError, IntegrityFault, PeerFault, PeerUnreachable, RefusedError
from backuppeer.ids import LogicalId, StoredId
from backuppeer.limits import HEAD_RETRY_S, HEAR_S, REFRESH_ROW_S, REFRESH_S
from backuppeer.shares.ledger import Copy


@dataclass(slots=True)
class Stock:
    """What one host showed. `listed`: stored ids of the right length. `faults`: sentences about it.

    `away`: why it could not be asked. `spoiled`: copies that came back wrong and were not replaced. `unknown`: packs
    that it lists and this home does not know. `excused`: how many of the missing somebody with our keys had it delete.
    """

    partner: Partner
    head: int = 0
    listed: set[StoredId] = field(default_factory=set)
    faults: list[tuple[str, str]] = field(default_factory=list)
    missing: list[LogicalId] = field(default_factory=list)
    spoiled: dict[StoredId, LogicalId] = field(default_factory=dict)
    unknown: int = 0
    excused: int = 0
    is_ahead: bool = False
    away: BackupPeerError | None = None

    def has(self, copy: Copy) -> bool:
        """Whether this copy is there, and as far as is known whole."""
        return copy.stored in self.listed and copy.stored not in self.spoiled


async def take_stock(vault: Vault, partner: Partner, on_pack: Callable[[int], None], herald: Herald) -> Stock:
    """Ask a host for its head and for all that it holds; one that can't be asked is told as `away`."""
    stock = Stock(partner)
    try:
        async with asyncio.timeout(HEAR_S):
            await herald.meet(partner, partner.session())
            await _look_at_head(vault, stock, herald)
    except TimeoutError:
        return _blame_away(vault, stock, PeerUnreachable(f"it did not show its head within {HEAR_S:.0f} s"))
    except BackupPeerError as exc:
        return _blame_away(vault, stock, exc)
    try:
        async with asyncio.timeout(REFRESH_S) as patience:
            sizes = await _list_sizes(vault, partner, on_pack, patience)
        lost = await asyncio.to_thread(_compare, vault, stock, sizes)
        if lost and (vault.writer.may_write or not stock.is_ahead):
            await _blame_for(vault, stock, lost)
    except TimeoutError:
        return _blame_away(vault, stock, PeerUnreachable("it tells too slowly what it holds"))
    except BackupPeerError as exc:
        return _blame_away(vault, stock, exc)
    return stock


def _blame_away(vault: Vault, stock: Stock, error: BackupPeerError) -> Stock:
    vault.blame(stock.partner, error)
    stock.away = error
    return stock


async def _list_sizes(
    vault: Vault, partner: Partner, on_pack: Callable[[int], None], patience: asyncio.Timeout
) -> dict[StoredId, int]:
    """Return all that a host lists; what is known here buys it time for more."""
    ledger = vault.repository.ledger
    known = await asyncio.to_thread(lambda: {copy.stored for copy in ledger.copies_at(partner.agreement)})
    sizes: dict[StoredId, int] = {}
    async for rows in list_packs(partner, vault.clock):
        sizes.update((row.stored, row.size) for row in rows)
        earn(patience, REFRESH_ROW_S * sum(row.stored in known for row in rows))
        on_pack(len(sizes))
    return sizes


async def _look_at_head(vault: Vault, stock: Stock, herald: Herald) -> None:
    partner = stock.partner
    promised = vault.heads.promise_of(partner)
    try:
        asking = partial(vault.heads.ask, partner)
        held = await retry(asking, vault.clock, waiting=herald.waiting_for(partner), budget_s=HEAD_RETRY_S)
    except RefusedError as exc:
        stock.faults.append(("head", f"{partner.name} can't show its head: {exc.message}"))
        return
    try:
        # Weighed first: what a newer version wrote breaks no promise.
        stock.head, stock.is_ahead = vault.heads.weigh(held)
        vault.heads.check_promise(partner, held, promised)
    except IntegrityFault as exc:
        vault.blame(partner, exc)
        stock.faults.append(("head", f"{partner.name} was set back: {exc.message}"))
    except BackupPeerError as exc:
        vault.blame(partner, exc)
        stock.faults.append(("head", f"{partner.name}: {exc.message}"))
    if stock.is_ahead:
        # Whether another machine is ahead, or this one was set back, its grant tells (CheckJob).
        vault.writer.see(held.grant)
        text = f"{partner.name} knows a newer state (head {stock.head}) than this home, which has yet to catch up"
        stock.faults.append(("index", text))


def _compare(vault: Vault, stock: Stock, sizes: dict[StoredId, int]) -> list[Copy]:
    """Compare what a host lists with the ledger; return what is missing."""
    ledger, agreement = vault.repository.ledger, stock.partner.agreement
    spoiled = ledger.spoiled_at(agreement)
    known, lost = 0, list[Copy]()
    for copy in ledger.copies_at(agreement):
        if sizes.get(copy.stored) != copy.size:
            stock.missing.append(copy.logical)
            lost.append(copy)
            continue
        known += 1
        stock.listed.add(copy.stored)
        if copy.stored in spoiled:
            stock.spoiled[copy.stored] = copy.logical
    superseded = spoiled.keys() - stock.spoiled.keys()
    stock.unknown = len(sizes) - known - len(superseded & sizes.keys())
    return lost


async def _blame_for(vault: Vault, stock: Stock, lost: Sequence[Copy]) -> None:
    """Write down that packs are gone, but for those that somebody with our keys had the host delete."""
    partner = stock.partner
    excused = set() if stock.is_ahead else await excuse(vault, partner, {copy.stored for copy in lost})
    if excused:
        stock.excused = len(excused)
        stock.faults.append(("packs", say_erased(partner.name, len(excused))))
    rest = [copy for copy in lost if copy.stored not in excused]
    if rest:
        head = None if stock.is_ahead else vault.heads.vouched_head(partner)
        lost_bytes = await asyncio.to_thread(measure_named, vault.repository, head, rest)
        text = f"packs that it had acknowledged are gone: {len(rest)}"
        vault.blame(partner, IntegrityFault(text, lost_bytes=lost_bytes))


async def excuse(vault: Vault, partner: Partner, missing: AbstractSet[StoredId]) -> set[StoredId]:
    """Return those of missing packs that the host shows a signed request to delete for, upon the newest head.

    Raises:
        Unavailable: it went away, or tells too slowly.

    """
    vouched, listed = vault.heads.vouched(partner), set[StoredId]()
    if vouched is None:
        return set()
    try:
        async with asyncio.timeout(REFRESH_S):
            async for page in list_deleted(partner, vault.clock):
                listed |= {row.stored for row in page if row.stored in missing}
    except (RefusedError, PeerFault):
        pass  # it lists nothing that counts
    except TimeoutError as exc:
        raise PeerUnreachable("it tells too slowly what was deleted") from exc
    lock_s = await asyncio.to_thread(vault.lock_s, partner)
    return await hear_deletes(partner, missing, vouched, clock=vault.clock, lock_s=lock_s, listed=listed)
