"""What a request is called: the same with who asks and with who is asked, so that both can speak of it.

Knows: what both know of it. Must not know: who decides. The owner draws 16 random bytes for each wish and sends them
in its knock; the name is a hash of them, of both peers and of what is wanted. So nobody can give a wish the name of
somebody else's, nor another wish the name of one that a person has seen.
"""

import struct
from typing import Final

from backuppeer.agent.home.records import Direction, RequestRecord
from backuppeer.crypto.digest import Domain, hash_bytes
from backuppeer.ids import PeerId
from backuppeer.signaling.knock import Knock

SEED: Final = "request"
"""The field of a knock's `ext` that brings it."""
_SEED_BYTES: Final = 16
_NAME_BYTES: Final = 16


def seed_of(record: RequestRecord) -> dict[str, bytes]:
    """Return the field for the knock of an own request; a wish for nothing has no name."""
    return {SEED: bytes.fromhex(record.request)} if record.request else {}


def name_asked(knock: Knock) -> str:
    """Return what a wish of somebody else's is called: 32 hex digits, empty if its owner sent no seed."""
    seed = knock.ext.get(SEED, b"")
    if len(seed) != _SEED_BYTES:
        return ""
    wish = (knock.size_bytes, knock.term_s, knock.lock_s)
    return _name(PeerId(knock.owner), PeerId(knock.recipient), seed, wish)


def name_of_request(own: PeerId, record: RequestRecord) -> str:
    """Return what a request is called for people: here and, if both sides know how, at the other end."""
    if record.direction is Direction.IN:
        return record.request
    wish = (record.size_bytes, record.term_s, record.lock_s)
    return _name(own, record.peer, bytes.fromhex(record.request), wish)


def _name(owner: PeerId, host: PeerId, seed: bytes, wish: tuple[int, int, int]) -> str:
    return hash_bytes(Domain.REQUEST, owner + host + seed + struct.pack(">3Q", *wish))[:_NAME_BYTES].hex()
