"""Agreements that a notice has ended, erased to the last pack and then let go of (ADR 45).

Knows: which are over, the order of the steps. Must not know: who gave notice, clocks. Over → all packs due → the sweep
erases them in its batches → none left and none arriving → marked as ended, durably → no agreement any more. Killed
anywhere in between, the next look goes on: an agreement counts until its mark is there.
"""

from backuppeer.host.graveyard import Graveyard
from backuppeer.host.leases import Lease, Leases
from backuppeer.host.marker import Presence
from backuppeer.host.notices import Notices
from backuppeer.host.quota import Quota
from backuppeer.host.removals import Removals


class Endings:
    """Ends agreements of one store. Made by `open_store`; one thread at a time."""

    def __init__(
        self, notices: Notices, removals: Removals, *, leases: Leases, quota: Quota, presence: Presence
    ) -> None:
        self._notices, self._leases, self._quota, self._presence = notices, leases, quota, presence
        self._lock = removals.lock
        self._graveyard: Graveyard = removals.graveyard

    def doom(self) -> None:
        """Let the next sweep erase everything of the agreements that are over.

        Raises:
            StoreUnavailable: the disk is gone.

        """
        self._presence.check()
        for agreement in self._notices.list_over():
            # Notice and lock are over, and who gave it signed it: nothing is owed any more. Under the lock of the
            # removals, so that no revive comes in between.
            with self._lock:
                self._graveyard.doom(agreement)

    def finish(self) -> list[Lease]:
        """Let go of the agreements of which nothing is left, and return them.

        Raises:
            StoreUnavailable: the disk refuses.

        """
        ended = []
        for agreement in self._notices.list_over():
            lease, usage = self._leases.get(agreement), self._quota.usage(agreement)
            # Nothing new is reserved since it is over: so what is empty now stays so.
            if not (usage.used_bytes or usage.reserved_bytes or usage.packs):
                self._leases.end(agreement)
                self._notices.forget(agreement)
                ended.append(lease)
        return ended
