"""All revisions of the agreements in which this home is the owner, and the notices that end them, as they were signed.

Knows: its tables, in the database of `state`. Must not know: sessions, what a revision says. The newest of each is kept
by `state` beside it; hosts keep their own chain (`host.leases`).
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from backuppeer.ids import AgreementId, PeerId
from backuppeer.proof.notices import Notice
from backuppeer.proof.statements import Agreement, peek_statement

DEEDS_SCHEMA: Final = """
    CREATE TABLE revisions(
        agreement BLOB NOT NULL, revision INTEGER NOT NULL, signed BLOB NOT NULL, PRIMARY KEY(agreement, revision)
    ) STRICT;
    INSERT INTO revisions SELECT agreement, 1, signed FROM agreements;
    CREATE TABLE notices(
        agreement BLOB NOT NULL, party BLOB NOT NULL, signed BLOB NOT NULL, until_ms INTEGER NOT NULL,
        told INTEGER NOT NULL, PRIMARY KEY(agreement, party)
    ) STRICT;
"""
_SENT, _TOLD, _UNSENT = range(3)
"""What `notices.told` says."""
Run = Callable[..., None]
Ask = Callable[..., list[tuple[Any, ...]]]


class Heard(NamedTuple):
    """The last notice of one side.

    `until_ms`: until when all is kept at least; `told`: whether the host has said that it has it; `sent`: whether it
    may have it all the same, as its answer may be lost.
    """

    notice: Notice
    signed: bytes
    until_ms: int
    told: bool
    sent: bool = True


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

    def is_own(self, agreement: AgreementId, party: PeerId) -> bool:
        """Return whether a party of an agreement is this home, under whichever of its names (ADR 69).

        Whoever is not the host is: a home that was recovered may lack the revisions that name all it was.
        """
        return party not in {peek_statement(Agreement, signed).host for signed in self.after(agreement, 0)}

    def put_notice(self, agreement: AgreementId, heard: Heard) -> None:
        """Keep the last notice of a side: of an owner that went on as another, in place of what it gave as before."""
        if self.is_own(agreement, heard.notice.party):
            for before in self.own_notices(agreement):
                self.drop_notice(agreement, before.notice.party)
        # "Perhaps heard" is 0, as homes of before wrote it for all that was untold.
        told = _TOLD if heard.told else _SENT if heard.sent else _UNSENT
        row = (agreement, heard.notice.party, heard.signed, heard.until_ms, told)
        self._run("INSERT OR REPLACE INTO notices VALUES(?,?,?,?,?)", *row)

    def drop_notice(self, agreement: AgreementId, party: PeerId) -> None:
        """Forget the last notice of a side, of which nobody has heard."""
        self._run("DELETE FROM notices WHERE agreement=? AND party=?", agreement, party)

    def notices(self, agreement: AgreementId) -> list[Heard]:
        """Return the last notice of each side that gave one, be it that it was taken back."""
        rows = self._ask("SELECT signed,until_ms,told FROM notices WHERE agreement=? ORDER BY until_ms", agreement)
        return [
            Heard(peek_statement(Notice, signed), bytes(signed), until_ms, told == _TOLD, told != _UNSENT)
            for signed, until_ms, told in rows
        ]

    def own_notices(self, agreement: AgreementId) -> list[Heard]:
        """Return what this home gave last, of `notices`."""
        return [heard for heard in self.notices(agreement) if self.is_own(agreement, heard.notice.party)]

    def ending(self, agreement: AgreementId) -> Heard | None:
        """Return the notice that ends an agreement, the soonest of two; None: it goes on."""
        return next((heard for heard in self.notices(agreement) if heard.notice.ends), None)
