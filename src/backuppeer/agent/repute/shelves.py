"""The tables of the shelf, and what a row of receipts is (`agent.repute.shelf`).

Knows: columns. Must not know: who fills them, who may see what.
"""

from enum import IntEnum
from typing import Any, Final

from backuppeer.proof.receipts import Receipt, Shown
from backuppeer.proof.statements import peek_statement
from backuppeer.trust.receipts import Month

SCHEMA: Final = (
    """
    CREATE TABLE receipts (
        hash BLOB PRIMARY KEY,
        owner BLOB NOT NULL,
        host BLOB NOT NULL,
        agreement BLOB NOT NULL,
        month INTEGER NOT NULL,
        since_ms INTEGER NOT NULL,
        until_ms INTEGER NOT NULL,
        size_bytes INTEGER NOT NULL,
        kept INTEGER NOT NULL,
        cosigned INTEGER NOT NULL,
        private INTEGER NOT NULL,
        keep INTEGER NOT NULL,
        deliverer BLOB NOT NULL,
        signed BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX receipts_by_agreement ON receipts (agreement, month);
    CREATE INDEX receipts_by_pair ON receipts (owner, host);
    CREATE INDEX receipts_by_deliverer ON receipts (deliverer, until_ms);
    CREATE TABLE gaps (
        agreement BLOB NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        is_whole INTEGER NOT NULL,
        signed BLOB NOT NULL,
        PRIMARY KEY (agreement, first, last)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE vouches (
        voucher BLOB NOT NULL,
        peer BLOB NOT NULL,
        time_ms INTEGER NOT NULL,
        until_ms INTEGER NOT NULL,
        deliverer BLOB NOT NULL,
        signed BLOB NOT NULL,
        PRIMARY KEY (voucher, peer)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX vouches_by_deliverer ON vouches (deliverer);
    CREATE TABLE proofs (
        hash BLOB PRIMARY KEY,
        host BLOB NOT NULL,
        deliverer BLOB NOT NULL,
        bundle BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE asked (
        peer BLOB NOT NULL,
        what INTEGER NOT NULL,
        day INTEGER NOT NULL,
        times INTEGER NOT NULL,
        last_ms INTEGER NOT NULL,
        PRIMARY KEY (peer, what)
    ) STRICT, WITHOUT ROWID;
    """,
    # Those of before have no date, and are heard again.
    """
    DELETE FROM proofs;
    ALTER TABLE proofs ADD COLUMN told_ms INTEGER NOT NULL DEFAULT 0;
    """,
)
ROWS: Final = (
    "SELECT owner, host, agreement, month, hash, since_ms, until_ms, size_bytes, kept, cosigned, signed FROM receipts"
)


class Keep(IntEnum):
    """Whose a receipt is; values are on disk."""

    OTHERS = 0
    HOST = 1
    """This home is the host in it."""
    OWNER = 2


def month_in(row: tuple[Any, ...]) -> Month:
    """Return what a row says."""
    return Month._make(row[:10])


def shown_in(row: tuple[Any, ...]) -> Shown:
    """Return the statement of a row; it was verified before it was put there."""
    return Shown(peek_statement(Receipt, row[10]), bytes(row[10]), bool(row[9]))
