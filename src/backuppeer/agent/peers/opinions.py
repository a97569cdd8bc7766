"""What peers think of this home as a host, and what they are told of them (`reputation --me`).

Knows: scores, their reasons, how often one is told. Must not know: what a command shows. A peer's words are its own:
printable, short, and shown as said by it.
"""

import asyncio
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from backuppeer.agent.home.state import State
from backuppeer.agent.peers.channel import Channel
from backuppeer.agent.peers.session import Session
from backuppeer.agent.repute.shelf import Asked, Shelf
from backuppeer.agent.repute.standing import Standing
from backuppeer.clock import Clock
from backuppeer.errors import RefusedError
from backuppeer.ids import PeerId
from backuppeer.limits import OPINION_ASK_S, OPINION_REASON_CHARS, OPINION_REASONS
from backuppeer.wire.receipts import AskOpinion, OpinionIs

_ANSWERS: Final = "peers.opinions"


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a peer says of this home. trust: 0..1; level, reasons: its own words, printable."""

    trust: float
    level: str
    reasons: tuple[str, ...] = ()


class Opinions:
    """Tells peers what this home thinks of them as hosts."""

    def __init__(self, standing: Standing, shelf: Shelf, clock: Clock) -> None:
        self._standing, self._shelf, self._clock = standing, shelf, clock
        self.explain: Callable[[PeerId], Iterable[str]] = standing.caps
        """Why a peer has the score that it has, in sentences or clauses."""

    async def answer(self, peer: PeerId, channel: Channel) -> None:
        """Tell a peer its score, once an hour.

        Raises:
            RefusedError: it asked within the hour.

        """
        now_ms = self._clock.now_ms()
        times, last_ms = self._shelf.asked(peer, Asked.OPINION, now_ms)
        if times and now_ms - last_ms < OPINION_ASK_S * 1000:
            raise RefusedError("you were told within the hour", hint="ask again later")
        self._shelf.note_asked(peer, Asked.OPINION, now_ms)
        await channel.send(await asyncio.to_thread(self._form, peer))

    def _form(self, peer: PeerId) -> OpinionIs:
        trust, level = self._standing.trust(peer)
        # The peer reads it, to whom "you" is another one.
        told = [text.replace("you blocked it", "it is blocked here") for text in self.explain(peer)]
        reasons = [make_printable(text)[:OPINION_REASON_CHARS] for text in told]
        return OpinionIs(permille=round(trust * 1000), level=level.value, reasons=tuple(reasons[:OPINION_REASONS]))


class Told(msgspec.Struct, frozen=True):
    """An opinion that a peer told at `time_ms`, as it is kept."""

    time_ms: int
    said: Opinion


class Answers:
    """The last answer of each partner: whoever asks twice within the hour is shown it again."""

    def __init__(self, state: State) -> None:
        self._state = state

    def read(self) -> dict[PeerId, Told]:
        """Return the last answers by partner; none that this version can't read."""
        try:
            kept = msgspec.msgpack.decode(self._state.setting(_ANSWERS) or b"\x80", type=dict[bytes, Told])
        except msgspec.MsgspecError:
            return {}
        return {PeerId(peer): told for peer, told in kept.items()}

    def keep(self, answers: Mapping[PeerId, Told]) -> None:
        """Keep these, and no others.

        Raises:
            LocalError: a disk that refuses.

        """
        self._state.put_setting(_ANSWERS, msgspec.msgpack.encode(dict(answers)))


async def ask_opinion(session: Session) -> Opinion:
    """Return what the peer of a session thinks of this home as a host.

    Raises:
        RefusedError: it told within the hour, or its version doesn't.
        PeerFault: it answers something else.
        PeerUnreachable: it went away.

    """
    async with session.request(AskOpinion()) as channel:
        said = await channel.receive(OpinionIs)
    return Opinion(said.permille / 1000, make_printable(said.level), tuple(map(make_printable, said.reasons)))


_MARKS: Final = frozenset({"Mn", "Me"})
"""Categories of characters that take no place of their own: many of them on one reach into the lines around."""


def make_printable(text: str) -> str:
    """Return a text without what would move the cursor, hide something or stack up: each such character as a "?"."""
    composed = unicodedata.normalize("NFC", text)
    return "".join(c if c.isprintable() and unicodedata.category(c) not in _MARKS else "?" for c in composed)
