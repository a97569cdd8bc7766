"""What an owner with its 24 words lets go early here, and what our person is told of it (ADR 52).

Knows: the store's waivers, words for people. Must not know: sessions, messages. Nobody is asked: it asks nothing of
this host. But it is told, by name: whoever has the words has them by right or by theft, and who did it knows.
"""

from collections.abc import Callable

from backuppeer.agent.home.state import State
from backuppeer.agent.host.premises import Premises
from backuppeer.agent.host.waived import Deed, Waived, Word
from backuppeer.clock import Clock
from backuppeer.errors import NotFoundError
from backuppeer.host.waivers import Freed
from backuppeer.ids import AgreementId, PeerId

OnWaived = Callable[[str], None]
"""(what a person should know: something may be erased now); called in a thread."""


class Waiving:
    """Waivers about this home's agreements as host."""

    def __init__(self, state: State, premises: Premises, clock: Clock) -> None:
        self._premises, self._clock = premises, clock
        self.waived = Waived(state, premises)
        self.on_waived: OnWaived = _ignore

    def take(self, owner: PeerId, agreement: AgreementId, signed: bytes) -> Freed:
        """Do what an owner's authority allows, durably; as `Waivers.take`.

        Raises:
            NotFoundError: there is no such agreement with this owner, nor did this word end one.

        """
        store = self._premises.open()
        lease = store.leases.recall(agreement)
        if lease is None or lease.owner != owner:
            raise NotFoundError("no such agreement with you")
        freed = store.waivers.take(agreement, signed, now_ms=self._clock.now_ms())
        is_end = store.notices.is_over(agreement)
        if freed.packs or is_end:
            self._tell(self._word(owner, agreement, Deed.ENDED if is_end else Deed.PURGED, size_bytes=freed.size_bytes))
        return freed

    def tell_lowered(self, owner: PeerId, agreement: AgreementId, before_s: int, after_s: int) -> None:
        """Tell that an owner lowered its lock."""
        self._tell(self._word(owner, agreement, Deed.LOWERED, before_s=before_s, after_s=after_s))

    def _word(self, owner: PeerId, agreement: AgreementId, deed: Deed, **how: int) -> Word:
        return Word(owner=owner, agreement=agreement, deed=deed, time_ms=self._clock.now_ms(), **how)

    def _tell(self, word: Word) -> None:
        self.waived.add(word)
        self.on_waived(self.waived.say(word))


def _ignore(text: str) -> None:
    del text
