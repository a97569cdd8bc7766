"""What others say of hosts, asked for and told in sessions (ADR 62, docs/protocol.md "Receipts").

Knows: the three turns of the exchange, what is checked before it is kept. Must not know: how receipts are made,
what they are worth. Nothing is kept that was not verified here. What does not hold is the fault of who shows it; what
others signed and contradicts itself is not.

A succession (ADR 69) is told as a receipt is, in a row of the old identity and the authority: whoever has no agreement
that names both can't even read for whom it is.
"""

import asyncio
import random
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import structlog

from backuppeer.agent.home.state import State
from backuppeer.agent.peers.channel import Channel
from backuppeer.agent.peers.session import Session
from backuppeer.agent.repute.convicts import Convicts, Proof
from backuppeer.agent.repute.heirs import Heirs
from backuppeer.agent.repute.rows import Pair, lay_out, pick_named, recognise
from backuppeer.agent.repute.shelf import Asked, Shelf, Taken
from backuppeer.clock import Clock
from backuppeer.errors import AuthenticationFault, PeerFault, ProtocolViolation, RefusedError
from backuppeer.ids import PeerId, shorten_peer_id
from backuppeer.limits import (
    PROOFS_SHOWN,
    RECEIPT_ANSWERS_A_DAY,
    RECEIPT_ASK_S,
    RECEIPT_ROWS,
    RECEIPTS_NAMED,
    SUCCESSION_STEPS,
    WORD_BYTES,
)
from backuppeer.proof.receipts import Receipt, Vouch, is_vouch, open_receipt, open_vouch
from backuppeer.proof.statements import peek_statement
from backuppeer.proof.succession import Succession, is_succession, open_succession
from backuppeer.trust.receipts import find_fault, is_current, word_of
from backuppeer.wire.receipts import AskReceipts, NamedRow, NameReceipts, ReceiptsAre, ReceiptsShown

_log = structlog.get_logger()
_FRAME_ROOM: Final = 192 * 1024
"""Of a frame, for statements: 64 of the longest would not fit."""


@dataclass(slots=True)
class Outcome:
    """What came of asking a peer. refused: what is not kept, by reason."""

    recognised: int = 0
    kept: int = 0
    convicted: int = 0
    refused: list[str] = field(default_factory=list)


class Exchange:
    """Both sides of the exchange."""

    def __init__(
        self, shelf: Shelf, state: State, clock: Clock, *, own: PeerId, convicts: Convicts, heirs: Heirs
    ) -> None:
        self._shelf, self._state, self._clock, self._own = shelf, state, clock, own
        self._convicts, self._heirs = convicts, heirs
        self.named: Callable[[], Iterable[Pair]] = tuple
        """The other sides of agreements, each with the authority that they name; set by who has agreements."""
        self.is_shared: Callable[[], bool] = lambda: True
        """Whether whom it knows and receipts in which it is the owner are shown; set by who knows the settings."""

    async def ask(self, session: Session) -> Outcome | None:
        """Ask a peer what it has heard, once a day; None: it was asked already.

        Raises:
            PeerFault: it shows what does not hold, or what was not named.
            RefusedError: it says no, or knows no receipts.
            PeerUnreachable: it went away.

        """
        now_ms = self._clock.now_ms()
        _, last_ms = self._shelf.asked(session.peer, Asked.OF_PEER, now_ms)
        if now_ms - last_ms < RECEIPT_ASK_S * 1000:
            return None
        self._shelf.note_asked(session.peer, Asked.OF_PEER, now_ms)
        nonce = secrets.token_bytes(32)
        async with session.request(AskReceipts(nonce=nonce)) as channel:
            told = await channel.receive(ReceiptsAre)
            names = await asyncio.to_thread(self._choose, told, nonce)
            await channel.send(NameReceipts(names=tuple(names)))
            shown = await channel.receive(ReceiptsShown)
            bundles = [await _receive(channel, size) for size in shown.proofs]
        outcome = await asyncio.to_thread(self._take_all, session.peer, names, shown.statements, bundles)
        outcome.recognised = len(names)
        _log.info(
            "heard what a peer says of hosts",
            peer=shorten_peer_id(session.peer),
            recognised=outcome.recognised,
            kept=outcome.kept,
            refused=outcome.refused[:4],
        )
        return outcome

    async def answer(self, peer: PeerId, channel: Channel, message: AskReceipts) -> None:
        """Tell a peer what this home knows of pairs that it knows, too.

        Raises:
            RefusedError: it asked in this session already, or often enough today.
            PeerFault: it names rows in another form.
            PeerUnreachable: it went away.

        """
        if not channel.spend():
            raise RefusedError("you asked for receipts in this session already", hint="ask again in another one")
        now_ms = self._clock.now_ms()
        if self._shelf.asked(peer, Asked.BY_PEER, now_ms)[0] >= RECEIPT_ANSWERS_A_DAY:
            raise RefusedError("you asked for receipts often enough today", hint="ask again tomorrow")
        self._shelf.note_asked(peer, Asked.BY_PEER, now_ms)
        things = await asyncio.to_thread(self._gather, peer, now_ms)
        salt = secrets.token_bytes(32)
        rows, laid = await asyncio.to_thread(lay_out, things, message.nonce, salt, secrets.token_bytes)
        await channel.send(ReceiptsAre(salt=salt, rows=rows))
        named = await channel.receive(NameReceipts)
        picked = pick_named(laid, things, named.names)
        statements = _fit(thing for thing in picked if isinstance(thing, bytes))
        known = [thing for thing in picked if isinstance(thing, Proof)][:PROOFS_SHOWN]
        proofs = [bundle for bundle in await asyncio.to_thread(self._convicts.load, known) if bundle]
        await channel.send(ReceiptsShown(statements=tuple(statements), proofs=tuple(map(len, proofs))))
        for bundle in proofs:
            await channel.send_raw(bundle)

    def _gather(self, asker: PeerId, now_ms: int) -> dict[bytes | Proof, Pair]:
        """Return what may be shown, with the pair that each is about; own first, of others any."""
        things: dict[bytes | Proof, Pair] = {}
        for host, proof in self._convicts.known(is_own_shown=self.is_shared()):
            if host != asker:
                things[proof] = (host, host)
        for vouch, signed in self._shelf.vouches():
            # Those that were taken back, too: who heard of the word before hears of that by any way.
            if word_of(vouch, now_ms) is not None or vouch.until_ms <= vouch.time_ms:
                things[signed] = (PeerId(vouch.voucher), PeerId(vouch.peer))
        for month, signed in self._shelf.shareable(is_own_shown=self.is_shared()):
            if is_current(month, now_ms):
                things[signed] = (month.owner, month.host)
        heirs = self._heirs.shareable()
        found = self._pick(things, RECEIPT_ROWS - len(heirs))
        for signed, pair in heirs.items():
            found[signed] = pair
        return found

    def _pick(self, things: dict[bytes | Proof, Pair], most: int) -> dict[bytes | Proof, Pair]:
        if len(things) <= most:
            return things
        own = [thing for thing, pair in things.items() if self._own in pair][:most]
        others = [thing for thing, pair in things.items() if self._own not in pair]
        return {thing: things[thing] for thing in own + random.sample(others, most - len(own))}

    def _choose(self, told: ReceiptsAre, nonce: bytes) -> list[NamedRow]:
        """Return the rows to name: of pairs of which nothing is known first, none about this home itself.

        Of proofs as many as are shown at once, each of a host of which none is here: they crowd out no receipts.
        """
        found = self._recognise(told, nonce)
        pairs = {(month.owner, month.host) for month in self._shelf.months()}
        random.shuffle(found)
        convicted = self._convicts.hosts()
        accused = {name.host: name for name in found if name.owner == name.host and name.host not in convicted}
        proofs = list(accused.values())[:PROOFS_SHOWN]
        words = [name for name in found if name.owner != name.host]
        words.sort(key=lambda name: (name.owner, name.host) in pairs)
        first = [*self._recognise_heirs(told, nonce)[:SUCCESSION_STEPS], *proofs]
        return [*first, *words[: RECEIPTS_NAMED - len(first)]]

    def _recognise_heirs(self, told: ReceiptsAre, nonce: bytes) -> list[NamedRow]:
        """Return the rows of partners with their authorities; none if whom this home knows is not to be seen."""
        named = {(one, authority) for party, authority in self.named() for one in self._heirs.line_of(party)}
        ids = {one for pair in named for one in pair} if self.is_shared() else set()
        return [name for name in recognise(told.rows, ids, nonce, told.salt) if (name.owner, name.host) in named]

    def _recognise(self, told: ReceiptsAre, nonce: bytes) -> list[NamedRow]:
        """Return the rows of pairs that this home knows; if it shares nothing, of those that it may be seen to know.

        A name tells that it is known, and rows are made as easily of guesses as of receipts. So who does not share
        names none but hosts on offer and those of whom it was told, and no host by itself that is not on offer.
        """
        heard, is_shared = set(self._state.heard()), self.is_shared()
        known = heard | self._shelf.parties(are_own=is_shared)
        known |= {record.peer for record in self._state.peers()} if is_shared else set()
        found = recognise(told.rows, known - {self._own}, nonce, told.salt)
        return [name for name in found if is_shared or name.owner != name.host or name.host in heard]

    def _take_all(
        self, peer: PeerId, names: Iterable[NamedRow], statements: Iterable[bytes], bundles: Iterable[bytes]
    ) -> Outcome:
        outcome, pairs = Outcome(), {(name.owner, name.host) for name in names}
        self._shelf.forget_old(self._clock.now_ms())
        for signed in statements:
            try:
                taken = self._take(peer, pairs, signed)
            except AuthenticationFault as exc:
                # It has proven who it is, and shows what nobody signed: no stranger's fault.
                raise ProtocolViolation(f"it showed a forged word on a host: {exc.message}") from exc
            outcome.kept += taken.is_kept
            outcome.refused += [taken.reason] if taken.reason else []
        hosts = {host for owner, host in pairs if owner == host}
        for bundle in bundles:
            outcome.convicted += self._convicts.convict(bundle, deliverer=peer, hosts=hosts)
        return outcome

    def _take(self, peer: PeerId, pairs: set[Pair], signed: bytes) -> Taken:
        now_ms = self._clock.now_ms()
        if is_succession(signed):
            return self._take_succession(pairs, signed)
        if is_vouch(signed):
            vouch: Vouch = open_vouch(signed)
            _check_named((PeerId(vouch.voucher), PeerId(vouch.peer)), pairs)
            fault = _find_fault(vouch, signed, now_ms)
            taken = Taken(is_kept=False, reason=fault) if fault else self._shelf.take_vouch(vouch, signed, peer)
            return _name(taken, vouch.voucher, vouch.peer)
        shown = open_receipt(signed)
        _check_named((PeerId(shown.said.owner), PeerId(shown.said.host)), pairs)
        fault = _find_fault(shown.said, signed, now_ms)
        taken = Taken(is_kept=False, reason=fault) if fault else self._shelf.take(shown, peer)
        return _name(taken, shown.said.owner, shown.said.host)

    def _take_succession(self, pairs: set[Pair], signed: bytes) -> Taken:
        """Follow a succession whose authority an agreement of ours names; what contradicts another one is no lie here.

        Raises:
            PeerFault: it is not signed as it should be, or was not asked for.

        """
        said = peek_statement(Succession, signed)
        old, authority = PeerId(said.old), PeerId(said.authority)
        _check_named((old, authority), pairs)
        open_succession(signed, authority)
        if dict(self.named()).get(PeerId(said.new), authority) != authority:
            fault = "the heir is known by another authority"
            return _name(Taken(is_kept=False, reason=fault), old, said.new)
        is_new = self._heirs.heir_of(old) is None
        try:
            self._heirs.take(signed, authority)
        except PeerFault as exc:
            return _name(Taken(is_kept=False, reason=exc.message), old, said.new)
        return Taken(is_kept=is_new)


def _check_named(pair: Pair, pairs: set[Pair]) -> None:
    if pair not in pairs:
        raise ProtocolViolation("it showed a word on a host that was not asked for")


def _find_fault(said: Receipt | Vouch, signed: bytes, now_ms: int) -> str:
    too_long = f"it is longer than {WORD_BYTES} bytes" if len(signed) > WORD_BYTES else ""
    return too_long or find_fault(said, now_ms)


def _name(taken: Taken, owner: bytes, host: bytes) -> Taken:
    """Return what became of a word, the reason with the pair that it is about."""
    pair = f"{shorten_peer_id(PeerId(owner))} → {shorten_peer_id(PeerId(host))}"
    return taken._replace(reason=f"{pair}: {taken.reason}") if taken.reason else taken


def _fit(statements: Iterable[bytes]) -> list[bytes]:
    """Return as many statements as one frame holds."""
    fitting, room = [], _FRAME_ROOM
    for signed in statements:
        room -= len(signed) + 8
        if room < 0:
            break
        fitting.append(signed)
    return fitting


async def _receive(channel: Channel, size: int) -> bytes:
    data = bytearray(size)
    await channel.receive_into(memoryview(data))
    return bytes(data)
