"""All revisions of the agreements in which this home is the owner, as they were co-signed.

Knows: its table, in the database of `state`. Must not know: sessions, what a revision says. The newest of each is kept
by `state` beside it; hosts keep their own chain (`host.leases`).
"""

from collections.abc import Callable
from typing import Any, Final

from backuppeer.ids import AgreementId
from backuppeer.proof.statements import Agreement, peek_statement

DEEDS_SCHEMA: Final = """
    CREATE TABLE revisions(
        agreement BLOB NOT NULL, revision INTEGER NOT NULL, signed BLOB NOT NULL, PRIMARY KEY(agreement, revision)
    ) STRICT;
    INSERT INTO revisions SELECT agreement, 1, signed FROM agreements;
"""
Run = Callable[..., None]
Ask = Callable[..., list[tuple[Any, ...]]]


class Deeds:
    """The chains. Made by `State`."""

    def __init__(self, run: Run, ask: Ask) -> None:
        self._run, self._ask = run, ask

    def keep(self, agreement: AgreementId, signed: bytes) -> None:
        """Keep a co-signed revision.

        Raises:
            ProtocolViolation: it is no agreement.

        """
        revision = peek_statement(Agreement, signed).revision
        self._run("INSERT OR REPLACE INTO revisions VALUES(?,?,?)", agreement, revision, signed)

    def after(self, agreement: AgreementId, revision: int) -> list[bytes]:
        """Return the revisions above a number, ascending; a home that was recovered may lack the first ones."""
        query = "SELECT signed FROM revisions WHERE agreement=? AND revision>? ORDER BY revision"
        return [bytes(row[0]) for row in self._ask(query, agreement, revision)]
