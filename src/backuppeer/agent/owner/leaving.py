"""What a backup makes of hosts whose agreement ends (ADR 45).

Knows: notices. Must not know: sessions, packs. Where our own person ended it nothing new goes. A host that ends it
still takes what comes, until all is over; but its copy is none to rely on.
"""

import shlex
from collections.abc import Sequence

from backuppeer.agent.home.deeds import Deeds
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.partners import Partner
from backuppeer.clock import format_time
from backuppeer.control.saving import LeftOut
from backuppeer.errors import NotFoundError, RefusedError
from backuppeer.ids import AgreementId, format_peer_id


def choose_staying(deeds: Deeds, partners: Sequence[Partner]) -> list[Partner]:
    """Return the hosts that new backups go to.

    Raises:
        RefusedError: our own notice stands with all of them.

    """
    staying = _find_staying(deeds, partners)
    if not staying:
        names = list(dict.fromkeys(partner.name for partner in partners))
        renew = " or ".join(f"`backup-peer peers renew {shlex.quote(name)}`" for name in names)
        raise RefusedError(
            f"you ended the agreement with {', '.join(names)}: nothing new goes there",
            hint=f"{renew} takes that back, `backup-peer browse` shows other hosts",
        )
    return staying


def describe_hostless(vault: Vault) -> str:
    """Return why there is no host that new backups go to; empty: there is one."""
    try:
        return "" if has_staying(vault.deeds, vault.partners()) else "you ended the agreements with all your hosts"
    except NotFoundError:
        return "no host keeps backups of yours"


def prefer_staying(deeds: Deeds, partners: Sequence[Partner]) -> list[Partner]:
    """Return the hosts that a changed list goes to: those of new backups, but all where there are none.

    What is left of the old ones could not be put in order otherwise until it is gone.
    """
    return _find_staying(deeds, partners) or list(partners)


def has_staying(deeds: Deeds, partners: Sequence[Partner]) -> bool:
    """Whether there is a host that new backups go to."""
    return bool(_find_staying(deeds, partners))


def _find_staying(deeds: Deeds, partners: Sequence[Partner]) -> list[Partner]:
    return [partner for partner in partners if not _is_ended_by_us(deeds, partner.agreement)]


def _is_ended_by_us(deeds: Deeds, agreement: AgreementId) -> bool:
    """Whether our own notice stands, beside one of the host or not."""
    own = deeds.own_notices(agreement)
    return bool(own) and max(own, key=lambda heard: heard.notice.number).notice.ends


def describe_ended(deeds: Deeds, partners: Sequence[Partner], hint: str) -> list[LeftOut]:
    """Return those of the hosts with which our own person ended; `hint`: what else can be done than to renew."""
    staying = _find_staying(deeds, partners)
    return [
        LeftOut(
            peer_id=format_peer_id(partner.peer),
            name=partner.name,
            reason="you ended the agreement with it",
            hint=f"`backup-peer peers renew {shlex.quote(partner.name)}` takes that back"
            + (f"; {hint}" if hint else ""),
        )
        for partner in partners
        if partner not in staying
    ]


def describe_leaving(deeds: Deeds, partners: Sequence[Partner]) -> list[LeftOut]:
    """Return those of the hosts whose agreement ends, and why their copy does not count."""
    return [
        LeftOut(
            peer_id=format_peer_id(partner.peer),
            name=partner.name,
            reason=f"it ends its agreement with you, and keeps all until {format_time(end.until_ms)[:10]} at least",
            hint="`backup-peer browse` shows who offers space",
        )
        for partner in partners
        if (end := deeds.ending(partner.agreement)) is not None
    ]
