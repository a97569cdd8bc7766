"""What an owner with its 24 words lets go early here, and what our person is told of it (ADR 52).

Knows: the store's waivers, words for people. Must not know: sessions, messages. Nobody is asked: it asks nothing of
this host. But it is told, by name: whoever has the words has them by right or by theft, and who did it knows.
"""

from collections.abc import Callable

from backuppeer.agent.home.state import State
from backuppeer.agent.host.premises import Premises
from backuppeer.agent.peers.names import name_of
from backuppeer.agent.peers.room import say_span
from backuppeer.clock import Clock
from backuppeer.errors import NotFoundError
from backuppeer.host.quota import format_size
from backuppeer.host.waivers import Freed
from backuppeer.ids import AgreementId, PeerId

_ASK = "Unless you know why, ask them by another way"
OnWaived = Callable[[str], None]
"""(what a person should know: something may be erased now); called in a thread."""


class Waiving:
    """Waivers about this home's agreements as host."""

    def __init__(self, state: State, premises: Premises, clock: Clock) -> None:
        self._state, self._premises, self._clock = state, premises, clock
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
            what = "all of its data here" if is_end else "its deleted data"
            name, size = name_of(self._state, owner), format_size(freed.size_bytes)
            self._tell(f"{name} had {what} ({size}) erased at once, with its 24 words. {_ASK}")
        return freed

    def tell_lowered(self, owner: PeerId, before_s: int, after_s: int) -> None:
        """Tell that an owner lowered its lock."""
        name, before, after = name_of(self._state, owner), say_span(before_s), say_span(after_s)
        self._tell(
            f"{name} lowered its lock from {before} to {after}, with its 24 words: what it deletes goes sooner. {_ASK}"
        )

    def _tell(self, text: str) -> None:
        self._premises.note(text)
        self.on_waived(text)


def _ignore(text: str) -> None:
    del text
