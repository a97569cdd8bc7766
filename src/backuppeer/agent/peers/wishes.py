"""What a request is called: the same with who asks and with who is asked, so that both can speak of it.

Knows: what both know of it. Must not know: who decides. The owner draws 16 random bytes for each wish and sends them
in its knock; the name is a hash of them, of both peers and of what is wanted. So nobody can give a wish the name of
somebody else's, nor another wish the name of one that a person has seen.
"""

import struct
from dataclasses import replace
from typing import Final

from backuppeer.agent.home.records import Direction, RequestRecord, RequestState
from backuppeer.crypto.digest import Domain, hash_bytes
from backuppeer.ids import PeerId
from backuppeer.proof.promises import read_promises, write_promises
from backuppeer.proof.revisions import Wish
from backuppeer.signaling.knock import Knock

SEED: Final = "request"
"""The field of a knock's `ext` that brings it."""
INVITE: Final = "invite"
"""The field that brings the name of an invite, 8 bytes, and the proof that its sender bears it, 32 (ADR 75)."""
_SEED_BYTES: Final = 16
_NAME_BYTES: Final = 16


def fields_of(record: RequestRecord) -> dict[str, bytes]:
    """Return `ext` for the knock of an own request: its seed and what it promises; a wish for nothing has neither."""
    return {SEED: bytes.fromhex(record.request), **write_promises(record.promises)} if record.request else {}


def wish_of_knock(knock: Knock) -> Wish:
    """Return what a knock asks for."""
    return Wish(knock.size_bytes, knock.term_s, knock.lock_s, read_promises(knock.ext))


def take_up(record: RequestRecord, *, is_auto: bool, is_owed: bool, fitting: Wish | None) -> RequestRecord:
    """Return a new request as it is from the start: accepted, with an offer of other terms, or waiting for a person.

    is_auto: the policy gives space for the terms `fitting`, None: for any. is_owed: it was promised in return.
    """
    if is_owed or (is_auto and fitting in {None, record.wish}):
        return replace(record, state=RequestState.ACCEPTED)
    return replace(record, state=RequestState.OFFERED, offer=fitting) if is_auto else record


def name_asked(knock: Knock) -> str:
    """Return what a wish of somebody else's is called: 32 hex digits, empty if its owner sent no seed."""
    seed = knock.ext.get(SEED, b"")
    if len(seed) != _SEED_BYTES:
        return ""
    return _name(PeerId(knock.owner), PeerId(knock.recipient), seed, wish_of_knock(knock))


def name_of_request(own: PeerId, record: RequestRecord) -> str:
    """Return what a request is called for people: here and, if both sides know how, at the other end."""
    if record.direction is Direction.IN:
        return record.request
    return _name(own, record.peer, bytes.fromhex(record.request), record.wish)


def _name(owner: PeerId, host: PeerId, seed: bytes, wish: Wish) -> str:
    # What is not promised is no part of it: so peers of before give the same names.
    *older, availability = wish.promises
    promised = struct.pack(">3Q", *older) if any(wish.promises) else b""
    promised += struct.pack(">Q", availability) if availability else b""
    said = struct.pack(">3Q", wish.size_bytes, wish.term_s, wish.lock_s) + promised
    return hash_bytes(Domain.REQUEST, owner + host + seed + said)[:_NAME_BYTES].hex()
