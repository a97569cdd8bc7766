"""Peers that this home's person blocked, and why.

Knows: its table, in the database of `state`. Must not know: what a block means for requests, packs or trust.
"""

from collections.abc import Callable
from typing import Any, Final

from backuppeer.ids import PeerId

BLOCKS_SCHEMA: Final = """
    CREATE TABLE blocks(peer BLOB PRIMARY KEY, reason TEXT NOT NULL, since_ms INTEGER NOT NULL) STRICT;
"""


class Blocks:
    """The list. Made by `State`."""

    def __init__(self, run: Callable[..., None], ask: Callable[..., list[tuple[Any, ...]]]) -> None:
        self._run, self._ask = run, ask
        self._blocked = {PeerId(row[0]) for row in ask("SELECT peer FROM blocks")}
        """Looked into for each row of a market of thousands."""

    def put(self, peer: PeerId, reason: str, now_ms: int) -> None:
        """Block a peer, or give another reason for it."""
        self._run("INSERT OR REPLACE INTO blocks VALUES(?,?,?)", peer, reason, now_ms)
        self._blocked.add(peer)

    def drop(self, peer: PeerId) -> None:
        """Let a peer be as any other again."""
        self._run("DELETE FROM blocks WHERE peer=?", peer)
        self._blocked.discard(peer)

    def reason(self, peer: PeerId) -> str | None:
        """Return why a peer is blocked, in the person's words, which may be none; None: it is not."""
        rows = self._ask("SELECT reason FROM blocks WHERE peer=?", peer)
        return str(rows[0][0]) if rows else None

    def __contains__(self, peer: PeerId) -> bool:
        return peer in self._blocked
