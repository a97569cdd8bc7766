"""Recovery inboxes as clients use them: leave a note, look for notes, each on a socket of its own (ADR 46).

Knows: the client's half of the protocol, how many sockets at once. Must not know: whose inboxes they are, what a note
says. Nothing of two inboxes goes over one socket: what links them is the network address alone.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from backuppeer.crypto.identity import Purpose, SigningKey
from backuppeer.errors import BackupPeerError, PeerFault, Unavailable
from backuppeer.limits import RECOVERY_SOCKETS
from backuppeer.signaling.client import Link, open_link
from backuppeer.signaling.messages import (
    Challenge,
    CloseCode,
    LeaveNote,
    Noted,
    NoteIs,
    OpenNote,
    ProveNote,
    inbox_proof_blob,
)
from backuppeer.signaling.note import sign_deposit
from backuppeer.signaling.servers import authority


async def leave_note(url: str, key: SigningKey, number: int, sealed: bytes) -> None:
    """Leave a sealed note in the inbox of `key`; `number`: ms since 1970, above that of the note before.

    Raises:
        Unavailable: the server can't be reached, keeps no notes (a version of before), or wants no more of them.
        ProtocolViolation: it does not keep to the protocol.

    """
    async with _asking(url) as link:
        await link.ask(LeaveNote(*sign_deposit(key, number, sealed)), Noted)


async def find_note(url: str, key: SigningKey) -> bytes:
    """Return what lies in the inbox of `key`: a sealed note, or random bytes of that length.

    Raises:
        as `leave_note`.

    """
    async with _asking(url) as link:
        challenge = await link.ask(OpenNote(key.public), Challenge)
        proof = inbox_proof_blob(challenge.nonce, authority(url), key.public)
        found = await link.ask(ProveNote(key.sign(Purpose.RECOVERY_INBOX, proof)), NoteIs)
        return found.sealed


async def find_notes(url: str, keys: Sequence[SigningKey]) -> Mapping[bytes, bytes]:
    """Look into many inboxes at one server; return what lies in each, by its name.

    A server that can't be asked for the first one is asked for no other. They are asked for in random order, so that
    which of them are whose slot does not show in it.

    Raises:
        as `leave_note`: for the first, or for most of the others.

    """
    order = list(keys)
    random.SystemRandom().shuffle(order)
    found = {order[0].public: await find_note(url, order[0])} if order else {}
    places = asyncio.Semaphore(RECOVERY_SOCKETS)
    failures: list[BackupPeerError] = []

    async def look(key: SigningKey) -> None:
        async with places:
            try:
                found[key.public] = await find_note(url, key)
            except (Unavailable, PeerFault) as exc:
                failures.append(exc)

    await asyncio.gather(*(look(key) for key in order[1:]))
    if len(failures) > len(order) // 2:
        raise failures[0]
    return found


@asynccontextmanager
async def _asking(url: str) -> AsyncIterator[Link]:
    try:
        async with open_link(url) as link:
            yield link
    except Unavailable as exc:
        if f"closed the connection: {CloseCode.MALFORMED}" in exc.message:
            raise Unavailable(f"{url} keeps no notes: it is of an older version") from exc
        raise
