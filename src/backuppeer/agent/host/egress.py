"""How much each owner had sent back today, against what was promised it (ADR 51).

Knows: the promise of an agreement, the day's count. Must not know: what is read, or by whom it is wanted. A promise is
a minimum: up to it an owner is served as any; beyond it, only in the half of the places that newcomers may have, so
that who has had nothing today comes first. Nobody is refused for it, or made slower while nobody else waits.
"""

from backuppeer.host.daily import Counted
from backuppeer.host.store import Store
from backuppeer.ids import AgreementId
from backuppeer.proof.promises import read_promises


class Egress:
    """What was sent under each agreement that promises a budget. `is_beyond` asks no disk."""

    def __init__(self) -> None:
        self._beyond: set[AgreementId] = set()

    def is_beyond(self, agreement: AgreementId) -> bool:
        """Return whether an owner has had today what it was promised for a day."""
        return agreement in self._beyond

    @staticmethod
    def promised_bytes(store: Store, agreement: AgreementId) -> int:
        """Return what is to be sent a day at least, 0 where nothing is promised; asks no disk."""
        lease = store.leases.find(agreement)
        return read_promises(lease.terms.ext).egress_bytes if lease is not None else 0

    def count(self, store: Store, agreement: AgreementId, size_bytes: int) -> None:
        """Count bytes that are about to be sent; call it in a thread.

        Raises:
            StoreUnavailable: the disk refuses.

        """
        promised = self.promised_bytes(store, agreement)
        if promised and store.daily.add(agreement, Counted.SENT, size_bytes).size_bytes > promised:
            self._beyond.add(agreement)
        else:
            self._beyond.discard(agreement)
