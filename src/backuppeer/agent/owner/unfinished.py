"""What backups that broke off left: known apart from what a head names, so that it can go without a lock (ADR 31).

Knows: the list of the newest head, the fresh packs of the index, where copies of them lie. Must not know: how a host
tells drafts from other packs.
"""

import asyncio
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from itertools import islice

from backuppeer.agent.owner.fetch import Fetch
from backuppeer.agent.owner.heads import Drafts
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import Partner
from backuppeer.errors import IntegrityFault, PeerFault, RefusedError, Unavailable
from backuppeer.ids import LogicalId, StoredId
from backuppeer.limits import CLEAR_S, HEAD_DRAFTS, REMOVAL_PACKS
from backuppeer.repo.head import load_inventory
from backuppeer.shares.copies import Copy
from backuppeer.wire.messages import DraftsAre, FindDrafts


def find_named(vault: Vault, source: Fetch) -> set[LogicalId] | None:
    """Return the packs that the newest head names; None when that can't be told, and so what broke off neither.

    To be asked after the hosts were heard: the snapshots of the index are those of that head then.
    """
    newest, repository = vault.heads.newest(), vault.repository
    if newest is None:
        # A snapshot that no head named, as its backup was killed before: the next head would name it, with its packs.
        return None if repository.index.snapshot_names() else set()

    try:
        return set(load_inventory(newest[0].index, partial(repository.read_blob, source)).packs)
    except (IntegrityFault, Unavailable):
        return None


async def find_withdrawable(partner: Partner, copies: Sequence[Copy]) -> set[StoredId] | None:
    """Return which of its copies a host would erase at once, as it says itself; None: it can't tell, or can't be asked.

    A host that lost its rows, or was given a pack as one that a head names, keeps it for its lock.
    """
    found = set[StoredId]()
    packs = [copy.stored for copy in copies]
    try:
        for at in range(0, len(packs), REMOVAL_PACKS):
            batch = tuple(packs[at : at + REMOVAL_PACKS])
            session = await partner.session()
            async with asyncio.timeout(CLEAR_S):
                async with session.request(FindDrafts(agreement=partner.agreement, packs=batch)) as channel:
                    found.update((await channel.receive(DraftsAre)).packs)
    except (RefusedError, PeerFault, Unavailable, TimeoutError):
        return None  # a host of before does not know the question
    return found.intersection(packs)


def list_drafts(vault: Vault, partner: Partner, named: AbstractSet[LogicalId]) -> Drafts:
    """Return the copies at a host of packs that no head names, as many as go with one head; `named`: by the next."""
    ledger, fresh = vault.repository.ledger, vault.repository.index.turnover.fresh()
    unnamed = [copy for copy in ledger.copies_at(partner.agreement) if copy.logical not in named]
    never_named = (copy.stored for copy in unnamed if copy.logical in fresh)
    return Drafts(
        tuple(copy.stored for copy in unnamed[:HEAD_DRAFTS]),
        tuple(islice(never_named, HEAD_DRAFTS)),
    )
