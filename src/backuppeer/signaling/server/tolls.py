"""How often one network, one key and one inbox may be heard, at all nodes of a service together.

Knows: rates, opaque names. Must not know: addresses (the door turns one into a name by a key of the day), messages.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from backuppeer.signaling.server.caps import Caps
from backuppeer.signaling.server.engine import Engine

NameNetwork = Callable[[bytes], bytes]
"""Return the name of the network that a connection comes from, under this key."""
_NAME_BYTES: Final = 16


class Tolls:
    """Asks the engine's buckets, by the rates of the caps."""

    def __init__(self, engine: Engine, caps: Caps) -> None:
        self._engine = engine
        self._network_rates = {
            "publish": caps.network_publishes,
            "deposit": caps.network_deposits,
            "browse": caps.network_pages,
            "inbox": caps.network_inboxes,
        }
        self._key_rate, self._inbox_rate = caps.key_publishes, caps.inbox_deposits

    async def admits_network(self, kind: str, name_network: NameNetwork) -> bool:
        """Take a token of a network for one publish, deposit, browse or inbox; False when it has none.

        Raises:
            Unavailable: the store that nodes share is gone.

        """
        network = name_network(await self._engine.network_key())
        return await self._engine.spend(_name(kind, network), self._network_rates[kind])

    async def admits_key(self, peer: bytes) -> bool:
        """Take a token of a key that publishes.

        Raises:
            Unavailable: the store that nodes share is gone.

        """
        return await self._engine.spend(_name("key", peer), self._key_rate)

    async def admits_inbox(self, inbox: bytes) -> bool:
        """Take a token of an inbox that is written to.

        Raises:
            Unavailable: the store that nodes share is gone.

        """
        return await self._engine.spend(_name("into", inbox), self._inbox_rate)


def _name(kind: str, of: bytes) -> bytes:
    return blake2b(of, digest_size=_NAME_BYTES, person=kind.encode()).digest()
