"""A store that survived the home of its host: taken up by a home that the words gave back, and what is lost told.

Knows: totals of a store, what lay only in a home. Must not know: how a store is opened; that checks the identity on it.
"""

from typing import Final

from backuppeer.host.store import Store

_LOST: Final = (
    "lost with the former home: the names you gave, requests that waited, what was noted of peers. Owners know again "
    "where this machine is once they have found it"
)
_LISTED: Final = "they find it while it is on offer"
_UNLISTED: Final = (
    "an unlisted slot leads nobody here who knew another place of it. Offer it without --unlisted until they came, or "
    "give each owner an invite (`backup-peer invite create`), for `connect` there"
)


def describe_taken_up(store: Store, *, unlisted: bool) -> list[str]:
    """Return what a person is to know of a store with agreements that this home had not known; nothing for a new one.

    What the disk itself lacks is told by the store when it is opened.
    """
    totals = store.totals()
    if not totals.agreements:
        return []
    owners = len({lease.owner for lease in store.leases.list_all()})
    packs, who = _count(totals.packs, "pack"), _count(owners, "owner")
    return [
        f"took up the store that was here: {packs} of {who} under {_count(totals.agreements, 'agreement')}",
        f"{_LOST}: {_UNLISTED if unlisted else _LISTED}",
    ]


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
