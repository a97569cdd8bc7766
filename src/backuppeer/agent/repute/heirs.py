"""Who goes on as whom in the eyes of this home, and what goes over to an heir (ADR 69, "Viewers").

Knows: signed successions, the table of them, what a person said of a peer. Must not know: sessions, agreements: whoever
calls `take` names the authority that an agreement of this home with the old identity names. To anybody else a
succession proves nothing.

    goes over      evidence, good and bad (`trust.lines`), blocks with reasons, caps, names, doubts, sets' hosts
    does not       the mark of a friend: the words that were compared are of two ids
    contradiction  two heirs by one authority of one identity, or of one generation: the first stays, gets nothing new,
                   and an alarm stands until a person had it out; the second is not followed
"""

import threading
from collections.abc import Callable
from typing import Final

import structlog

from backuppeer.agent.home.identity_alarms import carry_doubts, contested_ms
from backuppeer.agent.home.state import State
from backuppeer.agent.home.successions import Heir
from backuppeer.agent.repute.exposing import carry_cap
from backuppeer.clock import Clock
from backuppeer.crypto.digest import Buffer
from backuppeer.errors import AuthenticationFault, ProtocolViolation
from backuppeer.ids import PeerId, shorten_peer_id
from backuppeer.limits import SUCCESSION_STEPS, SUCCESSIONS_TOLD
from backuppeer.proof.statements import peek_statement
from backuppeer.proof.succession import Succession, open_succession
from backuppeer.trust.lines import Lines

_log = structlog.get_logger()
_TWO_HEIRS: Final = "its authority has named two heirs: neither gets anything new"


class Heirs:
    """The successions that this home follows. Thread-safe. lines: those of `EvidenceLog`, which are filled here."""

    def __init__(self, state: State, lines: Lines, clock: Clock) -> None:
        self._state, self._lines, self._clock = state, lines, clock
        self._lock = threading.Lock()
        self.on_followed: Callable[[PeerId, PeerId], None] = _ignore
        """Called with (old, new) once a succession is durable; set by who has the settings of this home."""
        for heir in state.successions.list_all():
            lines.follow(heir.old, heir.new)

    def take(self, signed: Buffer, authority: bytes) -> Heir:
        """Follow a succession, durably; the same one again changes nothing and gives the same.

        authority: 32 bytes, that an agreement of this home with the old identity names.

        Raises:
            AuthenticationFault: by another authority, not signed as it should be, or it contradicts one that is known:
                that stays as it was, nothing new goes to its heir, and an alarm stands.
            ProtocolViolation: malformed, the old identity has an heir by another authority, or it leads in a circle
                or further than SUCCESSION_STEPS.
            LocalError: a disk that refuses; nothing was changed.

        """
        said = open_succession(signed, authority)
        with self._lock:
            known = self._find_known(said, bytes(signed))
            if known is not None:
                return known
            heir = self._follow(said, bytes(signed))
        _log.warning("an identity goes on as another", old=shorten_peer_id(heir.old), new=shorten_peer_id(heir.new))
        self.on_followed(heir.old, heir.new)
        return heir

    def heir_of(self, peer: PeerId) -> Heir | None:
        """Return the succession of an identity that is followed; None: there is none."""
        return self._state.successions.find(peer) if self._lines.heir(peer) is not None else None

    def newest(self, peer: PeerId) -> PeerId:
        """Return who goes on for a peer now; itself if nobody does."""
        return self._lines.newest(peer)

    def is_contested(self, peer: PeerId) -> bool:
        """Return whether a peer is one of two heirs, or goes on for one, and no person had that out yet."""
        return contested_ms(self._state, peer) > 0

    def line_of(self, peer: PeerId) -> tuple[PeerId, ...]:
        """Return a peer and all whose heir it is, itself first."""
        return self._lines.of(peer)

    def was_friend(self, peer: PeerId) -> PeerId | None:
        """Return the identity with which a person compared words whose heir a peer is; None: nobody, or it did anew."""
        records = [self._state.peer(one) for one in self._lines.of(peer)]
        if records[0] is not None and records[0].is_verified:
            return None
        return next((record.peer for record in records if record is not None and record.is_verified), None)

    def list_all(self) -> list[Heir]:
        """Return all successions that are followed, oldest first."""
        return self._state.successions.list_all()

    def shareable(self) -> dict[bytes, tuple[PeerId, PeerId]]:
        """Return what was signed, of SUCCESSIONS_TOLD at most, the newest first, each with whom it is for.

        It proves something to whoever has an agreement with the first that names the second, an authority.
        """
        found: dict[bytes, tuple[PeerId, PeerId]] = {}
        for heir in reversed(self.list_all()):
            for signed in (heir.signed, heir.rival_signed):
                if signed and len(found) < SUCCESSIONS_TOLD:
                    said = peek_statement(Succession, signed)
                    found[signed] = (PeerId(said.old), PeerId(said.authority))
        return found

    def _find_known(self, said: Succession, signed: bytes) -> Heir | None:
        """Return the same succession if it is followed.

        Raises:
            AuthenticationFault: another one is, by the same authority.
            ProtocolViolation: another one is, by another authority.

        """
        rivals = []
        for heir in self._state.successions.list_all():
            is_same = heir.authority == said.authority and (heir.old, heir.new) == (said.old, said.new)
            if is_same:
                return heir
            is_meant = heir.old == said.old or heir.generation == said.generation
            if heir.authority == said.authority and heir.new != said.new and is_meant:
                rivals.append(heir)
            elif heir.old == said.old:
                raise ProtocolViolation("an identity has an heir by another authority already")
        for heir in rivals:
            if (heir.rival, heir.contested_ms > 0) != (said.new, True):
                self._state.successions.contest(heir.old, said.new, signed, self._clock.now_ms())
                _log.error("two heirs are named", old=shorten_peer_id(heir.old), new=shorten_peer_id(heir.new))
        if rivals or self.is_contested(PeerId(said.old)):
            raise AuthenticationFault(_TWO_HEIRS, hint="`backup-peer status` says more")
        return None

    def _follow(self, said: Succession, signed: bytes) -> Heir:
        old, new, now_ms = PeerId(said.old), PeerId(said.new), self._clock.now_ms()
        if new in self._lines.of(old):
            raise ProtocolViolation("successions that lead in a circle")
        if self._lines.steps(old) + 1 + len(self._lines.heirs(new)) > SUCCESSION_STEPS:
            raise ProtocolViolation(f"more than {SUCCESSION_STEPS} successions, one after the other")
        heir = Heir(old, new, bytes(said.authority), said.generation, signed, now_ms)
        try:
            with self._state.together():
                self._state.successions.put(heir)
                self._carry_over(old, new, now_ms)
        finally:
            self._state.successions.reload()
        self._lines.follow(old, new)
        return heir

    def _carry_over(self, old: PeerId, new: PeerId, now_ms: int) -> None:
        state, known, own = self._state, self._state.peer(old), self._state.peer(new)
        if known is not None:
            is_named = own is not None and own.alias != ""
            if not is_named:
                state.unname(old)
            state.call(new, known.alias, min(now_ms, known.first_seen_ms))
        reason = state.blocks.reason(old)
        if reason is not None and new not in state.blocks:
            state.blocks.put(new, reason, now_ms)
        carry_cap(state, old, new)
        carry_doubts(state, old, new)


def _ignore(old: PeerId, new: PeerId) -> None:
    del old, new
