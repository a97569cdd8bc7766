"""Which hosts get new data: none that was caught lying, or that lost what it was given (DESIGN 5, ADR 53).

Knows: how a host stands, what there is to do about it. Must not know: sessions. A host that gets nothing new is heard
and read all the same, after the others.
"""

import asyncio
from enum import Enum

from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import Partner
from backuppeer.errors import AuthenticationFault, RefusedError
from backuppeer.trust.conduct import Bar
from backuppeer.trust.evidence import Kind


class Purpose(Enum):
    """What a job meets hosts for."""

    NEW = "new"
    """To give them what they never had."""
    HEAL = "heal"
    """To give them again what they lost, as a person said."""
    UNDO = "undo"
    """To have them keep what they have."""


_REFUSED = {
    Purpose.NEW: {Bar.LIED, Bar.LOST, Bar.DOUBTED, Bar.SUCCEEDED},
    Purpose.HEAL: {Bar.LIED, Bar.DOUBTED, Bar.SUCCEEDED},
    Purpose.UNDO: set[Bar](),
}


def find_refusal(
    vault: Vault, partner: Partner, purpose: Purpose = Purpose.NEW
) -> RefusedError | AuthenticationFault | None:
    """Return why a host gets nothing of a job, and what a person can do about it; None: it may.

    An AuthenticationFault: it may be another than a person takes it for.
    """
    bar = vault.standing.bar(partner.peer)
    if bar not in _REFUSED[purpose]:
        return None
    why, hint = "; ".join(vault.standing.caps(partner.peer)), vault.standing.advice(partner.peer, partner.name)
    return AuthenticationFault(why, hint=hint) if bar is Bar.DOUBTED else RefusedError(why, hint=hint)


async def note_whole(vault: Vault, partner: Partner) -> None:
    """Note that a host which failed has again all that it should, if it has: an audit may clear it from now on."""
    conduct = vault.standing.conduct(partner.peer)
    if not conduct.failed_ms or conduct.is_healed:
        return
    if not await asyncio.to_thread(vault.owed.lacking_at, partner.agreement):
        vault.saw(partner, Kind.HEALED)


def note_cleared(vault: Vault, partner: Partner) -> None:
    """Note that an audit found nothing amiss at a host; what it lost and was sent again stands against it no more."""
    if vault.standing.conduct(partner.peer).is_healed:
        vault.saw(partner, Kind.CLEARED)
