"""How much is read for an owner's audits on one day (DESIGN 5: beyond the budget a host may answer "over budget").

Knows: one table of the catalogue, how much is generous. Must not know: what is asked for. Restores are not counted: an
owner who needs its data may have all of it at once. Kept in the catalogue, so that a restart gives nothing away; lost
with it, which harms nobody.
"""

import sqlite3

from backuppeer.host.catalogue import Catalogue
from backuppeer.ids import AgreementId
from backuppeer.limits import (
    AUDIT_BUDGET_BULK_READS,
    AUDIT_BUDGET_LEAST_BYTES,
    AUDIT_BUDGET_PERMILLE,
    BULK_READ_BYTES,
    BULK_READ_PERCENT,
)


def day_budget(agreed_bytes: int, promised_bytes: int = 0) -> int:
    """Return how many bytes may be read on a day for the audits of an agreement about so many bytes.

    promised_bytes: what the agreement says, 0 for what is usual. Less than a day's plan and one bulk read it is never:
    an owner that can't look would learn of a loss by nothing (ADR 51).
    """
    bulk = min(BULK_READ_BYTES, agreed_bytes * BULK_READ_PERCENT // 100)
    plan = AUDIT_BUDGET_LEAST_BYTES + agreed_bytes * AUDIT_BUDGET_PERMILLE // 1000
    return max(promised_bytes, plan + bulk) if promised_bytes else plan + AUDIT_BUDGET_BULK_READS * bulk


class AuditBudget:
    """What was read on the day of the last audit, for each agreement. Thread-safe."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._run = catalogue.run

    def take(self, agreement: AgreementId, size_bytes: int, *, most_bytes: int, day: int) -> bool:
        """Count bytes about to be read on a day (since 1970) and return True; False, and no count, beyond the most.

        A day that is not the last one begins anew, an earlier one as well: the clock was put right.

        Raises:
            StoreUnavailable: the disk refuses.

        """

        def act(db: sqlite3.Connection) -> bool:
            row = db.execute("SELECT day, bytes FROM audited WHERE agreement = ?", (agreement,)).fetchone()
            read = size_bytes + (int(row[1]) if row and row[0] == day else 0)
            if read > most_bytes:
                return False
            db.execute("INSERT OR REPLACE INTO audited VALUES (?, ?, ?)", (agreement, day, read))
            return True

        return self._run(act)
