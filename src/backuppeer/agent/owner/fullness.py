"""What can be done about a host that is full of work which came to nothing.

Knows: which packs no head names, what a host says it would erase at once. Must not know: how it is asked to.
"""

import shlex
from collections.abc import Sequence

from backuppeer.agent.owner.unfinished import find_withdrawable
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.channel import FULL_HINT
from backuppeer.agent.peers.partners import Partner
from backuppeer.agent.peers.room import say_span
from backuppeer.errors import ExposedError, RefusedError
from backuppeer.shares.copies import Copy
from backuppeer.sizes import format_size


async def advise_full(vault: Vault, error: RefusedError, partners: Sequence[Partner]) -> RefusedError:
    """Return a refusal with what can be done now: when a host is full of work that came to nothing, that can go."""
    fresh, is_capped = vault.repository.index.turnover.fresh(), isinstance(error, ExposedError)
    if not fresh or not (is_capped or error.hint == FULL_HINT):
        return error
    left = [
        (partner, [copy for copy in vault.repository.ledger.copies_at(partner.agreement) if copy.logical in fresh])
        for partner in partners
    ]
    partner, copies = max(left, key=lambda each: sum(copy.size for copy in each[1]))
    if is_capped:
        return ExposedError(error.message, hint=_advise_prune(copies, partner.name, error.hint))
    found = await find_withdrawable(partner, copies)
    at_once = None if found is None else sum(copy.size for copy in copies if copy.stored in found)
    freed = _say_freed(sum(copy.size for copy in copies), at_once, partner.name, say_span(vault.lock_s(partner)))
    return RefusedError(
        error.message,
        hint=f"`backup-peer prune` frees {freed}, all that no finished backup needs; "
        "then back up less (--exclude, fewer folders), ask for more with "
        f"`backup-peer peers resize {shlex.quote(partner.name)} SIZE`, or agree with a further host, "
        "see `backup-peer browse`",
    )


def advise_capped(vault: Vault, partner: Partner, hint: str) -> str:
    """Return the hint for a host that is at its cap, with what a prune frees there, once a backup stands without it."""
    fresh = vault.repository.index.turnover.fresh()
    copies = vault.repository.ledger.copies_at(partner.agreement) if fresh else ()
    return _advise_prune([copy for copy in copies if copy.logical in fresh], partner.name, hint)


def _advise_prune(copies: Sequence[Copy], name: str, hint: str) -> str:
    if not copies:
        return hint
    freed = format_size(sum(copy.size for copy in copies))
    return f"`backup-peer prune` frees {freed} at {name}, which no finished backup needs; or {hint}"


def _say_freed(size_bytes: int, at_once: int | None, name: str, lock: str) -> str:
    if at_once is None:
        return f"{format_size(size_bytes)} at {name}, at once or after its lock of {lock}"
    if at_once == size_bytes:
        return f"{format_size(size_bytes)} at {name} at once"
    now = f"{format_size(at_once)} at {name} at once and " if at_once else ""
    return f"{now}{format_size(size_bytes - at_once)} {'' if at_once else f'at {name} '}after its lock of {lock}"
