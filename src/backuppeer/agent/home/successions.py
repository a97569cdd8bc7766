"""Successions of identities that this home follows, as they were signed, and what contradicts them (ADR 69).

Knows: its table, in the database of `state`. Must not know: who may enter (`repute.heirs`), what follows for scores.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from backuppeer.ids import PeerId

SEEN: Final = "succession.seen"
"""The setting that holds the signed succession by which another home goes on in place of this one."""
SUCCESSIONS_SCHEMA: Final = """
    CREATE TABLE successions(
        old BLOB PRIMARY KEY, new BLOB NOT NULL, authority BLOB NOT NULL, generation INTEGER NOT NULL,
        signed BLOB NOT NULL, since_ms INTEGER NOT NULL,
        rival BLOB NOT NULL DEFAULT x'', rival_signed BLOB NOT NULL DEFAULT x'',
        contested_ms INTEGER NOT NULL DEFAULT 0, settled_ms INTEGER NOT NULL DEFAULT 0
    ) STRICT;
"""
_COLUMNS: Final = "old,new,authority,generation,signed,since_ms,rival,rival_signed,contested_ms,settled_ms"


class Heir(NamedTuple):
    """`old` goes on as `new` by `signed`, of `authority` and for `generation`; followed since `since_ms`.

    rival: another identity that the same authority named heir of the same one, or of one generation, by `rival_signed`;
    empty: nobody. contested_ms: when that was heard; settled_ms: when a person had it out.
    """

    old: PeerId
    new: PeerId
    authority: bytes
    generation: int
    signed: bytes
    since_ms: int
    rival: bytes = b""
    rival_signed: bytes = b""
    contested_ms: int = 0
    settled_ms: int = 0

    @property
    def is_contested(self) -> bool:
        """Whether two heirs are named, and no person had that out: neither gets anything new."""
        return self.contested_ms > 0 and not self.settled_ms


class Successions:
    """The table. Made by `State`."""

    def __init__(self, run: Callable[..., None], ask: Callable[..., list[tuple[Any, ...]]]) -> None:
        self._run, self._ask = run, ask
        self._kept: list[Heir] | None = None

    def list_all(self) -> list[Heir]:
        """Return all, in the order in which they were followed."""
        # Of each of a market of thousands is asked whether it is in doubt.
        kept = self._kept
        if kept is None:
            rows = self._ask(f"SELECT {_COLUMNS} FROM successions ORDER BY rowid")  # noqa: S608 - a constant
            self._kept = kept = [_heir_of(row) for row in rows]
        return kept

    def find(self, old: PeerId) -> Heir | None:
        """Return who goes on for an identity; None: nobody is followed as that."""
        return next((heir for heir in self.list_all() if heir.old == old), None)

    def newest(self, peer: PeerId) -> PeerId:
        """Return who goes on for a peer now; itself if nobody does."""
        heirs = {heir.old: heir.new for heir in self.list_all()}
        while peer in heirs:
            peer = heirs[peer]
        return peer

    def list_contested(self) -> list[tuple[Heir, PeerId]]:
        """Return the successions that nobody had out yet, each with who goes on now for the heir that is followed."""
        return [(heir, self.newest(heir.new)) for heir in self.list_all() if heir.is_contested]

    def reload(self) -> None:
        """Read the table again when it is asked for next: what was written may have been taken back."""
        self._kept = None

    def put(self, heir: Heir) -> None:
        """Keep a succession; the identity has no heir yet."""
        values = tuple(heir)
        self._run(f"INSERT INTO successions({_COLUMNS}) VALUES({','.join('?' * len(values))})", *values)
        self.reload()

    def contest(self, old: PeerId, rival: PeerId, signed: bytes, now_ms: int) -> None:
        """Keep what contradicts the succession of an identity; nothing of it is settled by that."""
        query = "UPDATE successions SET rival=?, rival_signed=?, contested_ms=?, settled_ms=0 WHERE old=?"
        self._run(query, rival, signed, now_ms, old)
        self.reload()

    def settle(self, peer: PeerId, now_ms: int) -> None:
        """Note that a person had it out about a peer that is the heir that is followed, or goes on for it."""
        for heir, newest in self.list_contested():
            if peer == newest:
                self._run("UPDATE successions SET settled_ms=? WHERE old=?", now_ms, heir.old)
        self.reload()


def _heir_of(row: tuple[Any, ...]) -> Heir:
    return Heir(PeerId(row[0]), PeerId(row[1]), *row[2:])
