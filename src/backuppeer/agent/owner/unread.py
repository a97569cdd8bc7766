"""Hosts whose list of packs was never read to its end here: they may hold more than the ledger says.

Knows: one setting of the home. Must not know: sessions, packs. A recovery, or a restore after the index was lost, goes
on without a host that is slow or away; what is said and tried of such a host later hangs on this.
"""

from collections.abc import Iterable
from typing import Final

from backuppeer.agent.home.rows import KeptRows
from backuppeer.agent.home.state import State
from backuppeer.ids import AgreementId

_UNREAD: Final = "hosts.unread"
_ID_BYTES: Final = 16


class Unread:
    """The agreements with such hosts."""

    def __init__(self, state: State) -> None:
        self._rows = KeptRows(state, _UNREAD, _ID_BYTES)

    def __contains__(self, agreement: AgreementId) -> bool:
        return agreement in self._all()

    def add(self, agreements: Iterable[AgreementId]) -> None:
        """Note hosts before their lists are read anew."""
        self._rows.write(self._all() | set(agreements))

    def discard(self, agreement: AgreementId) -> None:
        """Note that a host's list was read to its end."""
        known = self._all()
        if agreement in known:
            self._rows.write(known - {agreement})

    def _all(self) -> set[AgreementId]:
        return set(map(AgreementId, self._rows.read()))
