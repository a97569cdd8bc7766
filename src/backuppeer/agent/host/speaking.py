"""The host's side of a spoken code: wait at a number, take one guess, hand the invite to who guessed right (ADR 76).

Knows: the exchange, one server. Must not know: what the invite gives, terminals. All of it lives in memory: a code that
is not said within SPOKEN_S, or whose agent ends, is over. One answer is taken, right or wrong; another is a new code.
"""

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import structlog

from backuppeer.clock import Clock
from backuppeer.crypto.envelope import EnvelopeKey
from backuppeer.crypto.identity import Purpose, SigningKey, verify_signature
from backuppeer.crypto.spoken import Exchange, SharedKey, pick_words
from backuppeer.errors import (
    AuthenticationFault,
    IntegrityFault,
    NoSignaling,
    PeerFault,
    PeerUnreachable,
    ProtocolViolation,
    Unavailable,
)
from backuppeer.ids import PEER_ID_BYTES, PeerId
from backuppeer.limits import NAMEPLATE_TRIES, NAMEPLATES, NOTE_BYTES, SPOKEN_S
from backuppeer.signaling.nameplate import (
    Plate,
    Reply,
    SpokenCode,
    Word,
    open_plate,
    open_word,
    seal_plate,
    seal_spoken_reply,
    transcript_of,
)
from backuppeer.signaling.pool import Pool
from backuppeer.signaling.postbox import find_note, leave_note
from backuppeer.signaling.servers import authority

_log = structlog.get_logger()
_SECOND_MS: Final = 1000
_AGAIN: Final = "make another: `backup-peer invite create --spoken`"
OnCode = Callable[[SpokenCode], Awaitable[None]]
"""Called once somebody can say the code."""


class Speaking:
    """Spoken codes of one host."""

    def __init__(self, identity: SigningKey, clock: Clock) -> None:
        self._identity, self._clock = identity, clock

    async def hand_over(self, invite: str, servers: list[str], on_code: OnCode) -> PeerId:
        """Wait until the code is said, hand over the text of an invite, and return to whom: a proven identity.

        Raises:
            AuthenticationFault: other words were said; the code is burnt, and nothing was handed over.
            PeerUnreachable: nobody said it in time.
            NoSignaling: no server, or no free number.

        """
        for url in servers:
            try:
                code = await self._find_free(url)
            except (Unavailable, PeerFault) as exc:
                _log.info("no place for a spoken code", server=url, reason=exc.message[:200])
                continue
            async with Pool([url], clock=self._clock) as pool:
                return await self._attend(pool, url, code, invite=invite, on_code=on_code)
        raise NoSignaling("no signaling server has a place for a spoken code", hint="check addresses and network")

    async def _find_free(self, url: str) -> SpokenCode:
        """Return a code whose number nobody waits at, a short one if there is one.

        Raises:
            Unavailable: the server can't be asked, or all that were looked at are taken.
            ProtocolViolation: it does not keep to the protocol.

        """
        for attempt in range(NAMEPLATE_TRIES):
            most = min(NAMEPLATES, 10 ** (1 + attempt * 4 // NAMEPLATE_TRIES) - 1)
            code = SpokenCode(1 + secrets.randbelow(most), pick_words())
            inbox = code.place.inbox(authority(url))
            found = await find_note(url, inbox)
            try:
                taken = open_plate(found, code.place, inbox.public, now_ms=self._clock.now_ms())
            except (IntegrityFault, ProtocolViolation):
                taken = None
            if taken is None:
                return code
        raise Unavailable(f"{url} has no free number")

    async def _attend(self, pool: Pool, url: str, code: SpokenCode, *, invite: str, on_code: OnCode) -> PeerId:
        inbox, key = SigningKey.generate(), EnvelopeKey.generate()
        heard: asyncio.Future[Word] = asyncio.get_running_loop().create_future()

        async def hear(sealed: bytes, server: str) -> None:
            del server
            word = open_word(sealed, key, inbox.public)
            if not heard.done():  # one guess: what comes after the first is not even looked at
                heard.set_result(word)

        context = code.context(authority(url))
        exchange = Exchange(code.words, context, is_host=True)
        expires_ms = self._clock.now_ms() + SPOKEN_S * _SECOND_MS
        plate = Plate(message=exchange.message, inbox=inbox.public, key=key.public, expires_ms=expires_ms)
        await pool.open_inbox(inbox, hear)
        place = await self._hang_up(url, code, plate)
        try:
            await on_code(code)
            async with asyncio.timeout(SPOKEN_S):
                word = await heard
        except TimeoutError as exc:
            raise PeerUnreachable(f"nobody said the code within {SPOKEN_S // 60} minutes", hint=_AGAIN) from exc
        finally:
            with suppress(Unavailable, PeerFault):
                await leave_note(url, *place, os.urandom(NOTE_BYTES))
        return await self._answer(
            pool, url, word, exchange, transcript=transcript_of(plate, word, context), said=invite
        )

    async def _hang_up(self, url: str, code: SpokenCode, plate: Plate) -> tuple[SigningKey, int]:
        """Leave a plate at its number; return where it is taken down, and with which number of a deposit.

        Raises:
            Unavailable: it does not lie there then: somebody else was faster, or keeps the number for nothing.

        """
        inbox, number = code.place.inbox(authority(url)), self._clock.now_ms() // _SECOND_MS * _SECOND_MS
        sealed = seal_plate(plate, code.place, inbox.public)
        await leave_note(url, inbox, number, sealed)
        if await find_note(url, inbox) != sealed:
            raise Unavailable(f"{url} did not keep the number", hint="try again: another one is tried")
        return inbox, number + 1

    async def _answer(
        self, pool: Pool, url: str, word: Word, exchange: Exchange, *, transcript: bytes, said: str
    ) -> PeerId:
        try:
            shared = exchange.finish(word.message)
            guest = _read_guest(shared, word, transcript)
        except (AuthenticationFault, ProtocolViolation) as exc:
            with suppress(Unavailable):  # then the guest waits in vain; ours is told all the same
                await self._reply(pool, url, word, b"")
            raise AuthenticationFault(
                "other words were said than the code's: it is burnt, and nothing was given", hint=_AGAIN
            ) from exc
        signature = self._identity.sign(Purpose.SPOKEN, b"host" + transcript + guest)
        mine = self._identity.public + signature + said.encode("ascii")
        await self._reply(pool, url, word, shared.seal(mine, transcript + guest))
        return guest

    async def _reply(self, pool: Pool, url: str, word: Word, confirmation: bytes) -> None:
        with suppress(PeerFault):  # a key that nothing can be sealed to is the guest's own
            await pool.deposit([url], word.inbox, seal_spoken_reply(Reply(confirmation=confirmation), word))


def _read_guest(shared: SharedKey, word: Word, transcript: bytes) -> PeerId:
    """Return who confirmed the key, and proved to be it.

    Raises:
        AuthenticationFault: nobody did.

    """
    plain = shared.open(word.confirmation, transcript)
    guest = PeerId(plain[:PEER_ID_BYTES])
    if len(guest) != PEER_ID_BYTES:
        raise ProtocolViolation("a confirmation names nobody")
    verify_signature(guest, Purpose.SPOKEN, b"guest" + transcript, plain[PEER_ID_BYTES:])
    return guest
