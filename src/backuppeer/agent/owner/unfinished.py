"""What backups that broke off left: known apart from what a head names, so that it can go without a lock (ADR 31).

Knows: the list of the newest head, the fresh packs of the index, where copies of them lie. Must not know: how a host
tells drafts from other packs.
"""

from collections.abc import Set as AbstractSet
from functools import partial
from itertools import islice

from backuppeer.agent.owner.fetch import Fetch
from backuppeer.agent.owner.heads import Drafts
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import Partner
from backuppeer.errors import IntegrityFault, Unavailable
from backuppeer.ids import LogicalId
from backuppeer.limits import HEAD_DRAFTS
from backuppeer.repo.head import load_inventory


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


def list_drafts(vault: Vault, partner: Partner, named: AbstractSet[LogicalId]) -> Drafts:
    """Return the copies at a host of packs that no head names, as many as go with one head; `named`: by the next."""
    ledger, fresh = vault.repository.ledger, vault.repository.index.turnover.fresh()
    unnamed = [copy for copy in ledger.copies_at(partner.agreement) if copy.logical not in named]
    never_named = (copy.stored for copy in unnamed if copy.logical in fresh)
    return Drafts(
        tuple(copy.stored for copy in unnamed[:HEAD_DRAFTS]),
        tuple(islice(never_named, HEAD_DRAFTS)),
    )
