"""Hosts that lack a part of what they should hold: said until it is mended (`status`).

Knows: the ledger, what was agreed. Must not know: sessions. A host that was away is brought up by the next backup; one
that has no room for that stays behind until a person acts.
"""

import shlex
from typing import Final

from backuppeer.agent.home.state import State
from backuppeer.agent.owner.set_hosts import Sets, is_left_aside
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.names import name_of
from backuppeer.ids import AgreementId, PeerId
from backuppeer.proof.statements import Agreement, peek_statement
from backuppeer.sizes import format_free, format_size

_NO_SETS: Final[Sets] = {}


def describe_lacking(vault: Vault, state: State, sets: Sets = _NO_SETS) -> list[str]:
    """Return a line for each host that goes on with us and lacks packs which others hold, and one for broken work.

    Nothing of hosts whose lists were never read to their end, and nothing in a home that may only read.
    """
    if vault.repository_id is None or not vault.repository.index.snapshots():
        return []
    if not vault.writer.may_write:
        return []  # nothing that a person could do about it here, and this home need not know all that hosts have
    read = [(a, host, signed) for a, host, signed in state.agreements() if a not in vault.unread]
    going_on = [(a, host, signed) for a, host, signed in read if state.deeds.ending(a) is None]
    lines = [_describe_unfinished(vault)]
    for agreement, host, signed in going_on:
        is_aside = is_left_aside(sets, state, host)
        terms = peek_statement(Agreement, signed)
        lines.append(_describe(vault, agreement, host, name_of(state, host), terms, is_aside=is_aside))
    return [line for line in lines if line]


def _describe_unfinished(vault: Vault) -> str:
    """Return how much of what hosts hold no head names; "" while something writes, whose work this may be."""
    fresh = set() if vault.busy.locked() else vault.repository.index.turnover.fresh()
    size_bytes = sum(vault.repository.ledger.sizes(fresh).values())
    if not size_bytes:
        return ""
    return (
        f"{format_size(size_bytes)} at your hosts is of backups that broke off: the same backup again goes on from it, "
        "`backup-peer prune` frees it, and says before what of it goes at once"
    )


def _describe(
    vault: Vault, agreement: AgreementId, host: PeerId, name: str, terms: Agreement, *, is_aside: bool
) -> str:
    ledger, lacking = vault.repository.ledger, vault.owed.measure_lacking(agreement)
    if not lacking:
        return ""
    said = f"{name} lacks {format_size(lacking)} of your backups"
    if vault.standing.bar(host) is not None:
        return f"{said} and gets no new data: {vault.standing.advice(host, name)}"
    if (exposed := vault.exposing.find_refusal(host, lacking, name=name)) is not None:
        return f"{exposed.message}: {exposed.hint}"
    used = sum(copy.size for copy in ledger.copies_at(agreement))
    used += sum(copy.size for copy in ledger.doomed_at(agreement))
    room = max(0, terms.size_bytes - used)
    if room >= lacking:
        if is_aside:
            return f"{said}: `backup-peer backup --to {shlex.quote(name)}` brings it up, as no set names it"
        return f"{said}: `backup-peer backup` brings it up"
    return (
        f"{said} and has {format_free(room)} free, so its copy is none: ask for more with "
        f"`backup-peer peers resize {shlex.quote(name)} SIZE`, "
        "or free room: `backup-peer forget`, then `backup-peer prune`"
    )
