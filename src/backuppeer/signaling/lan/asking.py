"""Questions at a door in the same network: whose offer it has, a knock, a partner's whereabouts.

Knows: TCP, the frames. Must not know: what a knock wants, whether an offer holds. Nothing is sent before the other end
has said that it is a door, and nothing is taken beyond one answer.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from backuppeer.crypto.recognition import CHALLENGE_BYTES, Recognition, make_nonce
from backuppeer.errors import IntegrityFault, ProtocolViolation, Unavailable
from backuppeer.limits import LAN_ANSWER_S, LAN_CONNECT_S
from backuppeer.signaling.lan.frames import (
    ANSWER_BYTES,
    HELLO_BYTES,
    Kind,
    Sought,
    pack_question,
    pack_sought,
    read_hello,
    unpack_text,
)
from backuppeer.signaling.lan.multicast import Place


async def fetch_listing(place: Place) -> bytes:
    """Return the signed listing that a door shows; empty: none. Nothing of it is verified.

    Raises:
        Unavailable: nobody there, or no answer in time.
        ProtocolViolation: what answers is no door.

    """
    return unpack_text(await _ask(place, lambda _: pack_question(Kind.LISTING)))


async def knock_at(place: Place, sealed: bytes) -> bytes:
    """Leave KNOCK_BYTES sealed bytes at a door, and return its sealed reply.

    Raises:
        Unavailable: nobody there, or no reply: a door says nothing to a knock that it can't open.
        ProtocolViolation: what answers is no door.

    """
    return await _ask(place, lambda _: pack_question(Kind.KNOCK, sealed))


async def seek_at(place: Place, recognition: Recognition) -> bytes | None:
    """Return the partner's signed binding if it is its door; None: somebody else's.

    Raises:
        Unavailable: nobody there, or no answer in time.
        ProtocolViolation: what answers is no door.

    """
    nonce, said = make_nonce(), bytearray(CHALLENGE_BYTES)

    def ask(challenge: bytes) -> bytes:
        said[:] = challenge
        return pack_question(Kind.SEEK, pack_sought(Sought(nonce, recognition.tag(challenge, nonce))))

    answer = await _ask(place, ask)
    try:
        return unpack_text(recognition.open(answer, bytes(said), nonce))
    except IntegrityFault:
        return None


async def _ask(place: Place, make: Callable[[bytes], bytes]) -> bytes:
    """Return ANSWER_BYTES to the question that is made of a door's challenge, at the first address that answers."""
    failure: Unavailable | ProtocolViolation = Unavailable("it announced no address that may be dialled")
    for address in place.addresses:
        try:
            return await _ask_at(address, place.port, make)
        except (Unavailable, ProtocolViolation) as exc:
            failure = exc
    raise failure


async def _ask_at(address: str, port: int, make: Callable[[bytes], bytes]) -> bytes:
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(LAN_CONNECT_S):
            reader, writer = await asyncio.open_connection(address, port, limit=ANSWER_BYTES)
            challenge = read_hello(await reader.readexactly(HELLO_BYTES))
        async with asyncio.timeout(LAN_ANSWER_S):
            writer.write(make(challenge))
            await writer.drain()
            return await reader.readexactly(ANSWER_BYTES)
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as exc:
        raise Unavailable(f"no answer at {address}") from exc
    finally:
        if writer is not None:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
