"""What a host signed before it went on as another identity, opened as the word of whoever it was then (ADR 69).

Knows: the chain of revisions, which names each host that an agreement had. Must not know: sessions, what a word means.
"""

from collections.abc import Callable
from typing import TypeVar

from backuppeer.agent.home.deeds import Deeds
from backuppeer.ids import AgreementId, PeerId
from backuppeer.proof.case import open_by_any
from backuppeer.proof.statements import Agreement, HeadReceipt, open_statement, peek_statement

T = TypeVar("T")


def hosts_of(deeds: Deeds, agreement: AgreementId, host: PeerId) -> tuple[PeerId, ...]:
    """Return which identities the host of an agreement had, as far as is known here; the one of now last."""
    before = (PeerId(peek_statement(Agreement, signed).host) for signed in deeds.after(agreement, 0))
    return (*(one for one in dict.fromkeys(before) if one != host), host)


def open_kept(deeds: Deeds, agreement: AgreementId, host: PeerId, open_as: Callable[[PeerId], T]) -> T:
    """Return what opens as a word of a host, or of whom it was before.

    Raises:
        AuthenticationFault: none of them signed it.
        as `open_as`.

    """
    return open_by_any(hosts_of(deeds, agreement, host), open_as)


def open_kept_receipt(deeds: Deeds, agreement: AgreementId, host: PeerId, receipt: bytes) -> HeadReceipt:
    """Return a host's countersignature that is kept here, as `open_kept`."""
    return open_kept(deeds, agreement, host, lambda one: open_statement(HeadReceipt, receipt, one))
