"""The guest's side of a spoken code: find who waits at the number, say the words once, be handed an invite (ADR 76).

Knows: the exchange, servers. Must not know: what is asked for with the invite. A code is tried once, at the first
server where somebody waits under its number: another try would be another guess, and there is only one.
"""

import asyncio
from typing import Final

from backuppeer.agent.peers.delivering import do_unseen
from backuppeer.clock import Clock
from backuppeer.crypto.envelope import EnvelopeKey
from backuppeer.crypto.identity import Purpose, SigningKey, verify_signature
from backuppeer.crypto.spoken import Exchange
from backuppeer.errors import (
    AuthenticationFault,
    IntegrityFault,
    PeerFault,
    PeerUnreachable,
    Unavailable,
    UserError,
)
from backuppeer.ids import PEER_ID_BYTES, PeerId
from backuppeer.limits import SPOKEN_REPLY_S
from backuppeer.signaling.invite import Invite, parse_invite
from backuppeer.signaling.nameplate import (
    Plate,
    Reply,
    SpokenCode,
    Word,
    open_plate,
    open_spoken_reply,
    seal_word,
    transcript_of,
)
from backuppeer.signaling.pool import Pool
from backuppeer.signaling.postbox import find_note
from backuppeer.signaling.servers import authority

_SIGNATURE_BYTES: Final = 64
_AGAIN: Final = "ask for a new code"
_BURNT: Final = "the words are not those of the code: it is burnt now, and nothing was given"


class Saying:
    """Spoken codes that this home was told."""

    def __init__(self, identity: SigningKey, clock: Clock) -> None:
        self._identity, self._clock = identity, clock

    async def say(self, code: SpokenCode, servers: list[str]) -> Invite:
        """Return the invite that the host hands over; its host has proven to be who it says, and to know the words.

        Raises:
            AuthenticationFault: the words are others, or somebody stands between; the code is burnt.
            PeerUnreachable: nobody waits at the number, or did not answer.
            NoSignaling: the server went away.

        """
        url, plate = await self._find(code, servers)
        context, inbox, key = code.context(authority(url)), SigningKey.generate(), EnvelopeKey.generate()
        exchange = Exchange(code.words, context, is_host=False)
        shared = exchange.finish(plate.message)
        open_word = Word(message=exchange.message, confirmation=b"", inbox=inbox.public, key=key.public)
        transcript = transcript_of(plate, open_word, context)
        me = PeerId(self._identity.public)
        mine = me + self._identity.sign(Purpose.SPOKEN, b"guest" + transcript)
        word = Word(
            message=exchange.message, confirmation=shared.seal(mine, transcript), inbox=inbox.public, key=key.public
        )
        reply = await self._ask(url, plate, word, inbox=inbox, key=key)
        if not reply.confirmation:
            raise AuthenticationFault(_BURNT, hint=_AGAIN)
        try:
            return _read_invite(shared.open(reply.confirmation, transcript + me), transcript + me)
        except (AuthenticationFault, UserError) as exc:
            raise AuthenticationFault(_BURNT, hint=_AGAIN) from exc

    async def _find(self, code: SpokenCode, servers: list[str]) -> tuple[str, Plate]:
        failures: list[Unavailable | PeerFault] = []
        for url in servers:
            inbox = code.place.inbox(authority(url))
            try:
                plate = open_plate(await find_note(url, inbox), code.place, inbox.public, now_ms=self._clock.now_ms())
            except IntegrityFault:
                continue  # nothing lies there
            except (Unavailable, PeerFault) as exc:
                failures.append(exc)
                continue
            if plate is not None:
                return url, plate
        why = f": {failures[0].message}" if failures else ""
        raise PeerUnreachable(
            f"nobody waits under the number {code.number}{why}",
            hint="a code is good for ten minutes and one try, at a server that both use: ask for a new one",
        )

    async def _ask(self, url: str, plate: Plate, word: Word, *, inbox: SigningKey, key: EnvelopeKey) -> Reply:
        answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        async def hear(sealed: bytes, server: str) -> None:
            del server
            reply = open_spoken_reply(sealed, key, inbox.public)
            if not answered.done():
                answered.set_result(reply)

        async with Pool([url], clock=self._clock) as pool:
            await pool.open_inbox(inbox, hear)
            # Anybody who knows the number can fill that inbox, so that words cost work there.
            await pool.deposit([url], plate.inbox, seal_word(word, plate), on_work=do_unseen)
            try:
                async with asyncio.timeout(SPOKEN_REPLY_S):
                    return await answered
            except TimeoutError as exc:
                raise PeerUnreachable("the other machine did not answer; the code is over", hint=_AGAIN) from exc


def _read_invite(plain: bytes, signed: bytes) -> Invite:
    """Return the invite of a host that signed for it.

    Raises:
        AuthenticationFault: the host did not sign, or the invite is another's.
        UserError: it is no invite.

    """
    host, rest = PeerId(plain[:PEER_ID_BYTES]), plain[PEER_ID_BYTES:]
    if len(rest) < _SIGNATURE_BYTES:
        raise AuthenticationFault("a confirmation names nobody")
    verify_signature(host, Purpose.SPOKEN, b"host" + signed, rest[:_SIGNATURE_BYTES])
    invite = parse_invite(rest[_SIGNATURE_BYTES:].decode("ascii", "replace"))
    if invite.host != host:
        raise AuthenticationFault("the invite is to the slot of another peer")
    return invite
