"""Keys of the slot on offer: whose inbox it is, and what opens the knocks in it, for how long (DESIGN 7).

Knows: how they are kept, made anew and erased. Must not know: listings, servers, what a knock says. A listed slot and
an unlisted one share none of them: each knock names its key, and each inbox its slot.
"""

from typing import Final

from backuppeer.agent.home.state import State
from backuppeer.agent.peers.offers import Offer
from backuppeer.clock import Clock
from backuppeer.crypto.envelope import EnvelopeKey
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import PeerFault
from backuppeer.limits import ENVELOPE_KEY_KEPT_S, ENVELOPE_KEY_LIFE_S
from backuppeer.signaling.knock import read_header
from backuppeer.signaling.listing import envelope_id

_INBOX: Final = "host.inbox"
_HIDDEN_INBOX: Final = "host.inbox.unlisted"
"""Another one: or a server that has seen both would know whose the unlisted slot is."""


class SlotKeys:
    """The keys of one home's slot."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._state, self._clock = state, clock

    def inbox(self, offer: Offer) -> SigningKey:
        """Return the key of the inbox of a slot, made when there is none."""
        name = _HIDDEN_INBOX if offer.unlisted else _INBOX
        seed = self._state.setting(name)
        key = SigningKey.from_seed(seed) if seed else SigningKey.generate()
        if not seed:
            self._state.put_setting(name, key.seed())
        return key

    def envelope(self) -> EnvelopeKey:
        """Return today's key; keys rotate daily and are erased after 48 h, so that old knocks stay closed for ever."""
        self.erase_old()
        now_ms = self._clock.now_ms()
        for _, private, created_ms in self._state.envelope_keys():
            if created_ms > now_ms - ENVELOPE_KEY_LIFE_S * 1000:
                return EnvelopeKey.from_private_bytes(private)
        key = EnvelopeKey.generate()
        self._state.put_envelope_key(envelope_id(key.public), key.private_bytes(), now_ms)
        return key

    def name(self, offer: Offer) -> bytes:
        """Return what tells where a slot can be knocked at from where it could before: inbox and key."""
        return self.inbox(offer).public + envelope_id(self.envelope().public)

    def find(self, sealed: bytes) -> EnvelopeKey:
        """Return the key that a sealed knock names.

        Raises:
            ProtocolViolation: it has a wrong length.
            PeerFault: the key is none of ours, or no more.

        """
        wanted = read_header(sealed).envelope_id
        for key_id, private, _ in self._state.envelope_keys():
            if key_id == wanted:
                return EnvelopeKey.from_private_bytes(private)
        raise PeerFault("a knock for a key that is erased or was never ours")

    def forget_hidden(self) -> None:
        """Have the next unlisted slot be another one, for a server too."""
        self._state.put_setting(_HIDDEN_INBOX, b"")

    def erase_old(self) -> None:
        """Erase keys that are 48 h old."""
        now_ms = self._clock.now_ms()
        # Made while the clock was ahead: else it would be today's key, and kept, until that day has passed.
        self._state.date_back_envelope_keys(now_ms, to_ms=now_ms - ENVELOPE_KEY_LIFE_S * 1000)
        self._state.erase_envelope_keys(now_ms - ENVELOPE_KEY_KEPT_S * 1000)

    def erase_all(self) -> None:
        """Erase all keys: nobody opens what was sealed to the slot that is left."""
        self.erase_old()  # dates back those from the future
        self._state.erase_envelope_keys(self._clock.now_ms() + 1)
