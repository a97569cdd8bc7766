"""The tables of `evidence.db`, and who may change what stands in them.

Knows: SQL. Must not know: what follows from a row. Rows are only ever added, and triggers hold everybody to that, with
two exceptions. A window gets up when it was down, never the other way. And the compaction (`trust.compaction`) may put
one row in the place of many, of days that are old: the row of `compaction` says so while it runs, inside its own
transaction, and names the day before which it may. Nobody ever sees that row switched on from outside.
"""

from collections.abc import Sized
from typing import Final

_COMPACTING: Final = "EXISTS (SELECT 1 FROM compaction WHERE is_on AND OLD.day < before_day)"

REMARKABLE: Final = "kind NOT IN (1, 2, 3, 4, 7, 9, 17)"
"""All but what happens every day: contacts, stores, restores, audits, a no that is allowed. An index of these is small.
SQLite takes it for a query that says the same in the same words."""


def among(peers: Sized) -> str:
    """Return the condition that a row is of one of some peers: for one of them SQLite makes it an equality."""
    return f"peer IN ({','.join('?' * len(peers))})"


SCRIPTS: Final = (
    """
    CREATE TABLE observations (
        number INTEGER PRIMARY KEY,
        peer BLOB NOT NULL,
        day INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        time_ms INTEGER NOT NULL,
        size_bytes INTEGER NOT NULL,
        detail TEXT NOT NULL
    );
    CREATE INDEX observations_by_peer ON observations (peer, day, kind);
    CREATE TRIGGER observations_stay BEFORE UPDATE ON observations
        BEGIN SELECT RAISE(ABORT, 'observations are append-only'); END;
    CREATE TRIGGER observations_remain BEFORE DELETE ON observations
        BEGIN SELECT RAISE(ABORT, 'observations are append-only'); END;
    """,
    f"""
    CREATE TABLE compaction (is_on INTEGER NOT NULL, before_day INTEGER NOT NULL);
    INSERT INTO compaction VALUES (0, 0);

    ALTER TABLE observations ADD COLUMN count INTEGER NOT NULL DEFAULT 1;
    DROP INDEX observations_by_peer;
    CREATE INDEX observations_by_peer ON observations (peer, day, kind, size_bytes, count);
    CREATE INDEX observations_of_note ON observations (peer) WHERE {REMARKABLE};
    DROP TRIGGER observations_stay;
    DROP TRIGGER observations_remain;
    CREATE TRIGGER observations_stay BEFORE UPDATE ON observations WHEN NOT {_COMPACTING}
        BEGIN SELECT RAISE(ABORT, 'observations are append-only'); END;
    CREATE TRIGGER observations_remain BEFORE DELETE ON observations WHEN NOT {_COMPACTING}
        BEGIN SELECT RAISE(ABORT, 'observations are append-only'); END;

    CREATE TABLE windows (
        peer BLOB NOT NULL,
        window INTEGER NOT NULL,
        is_up INTEGER NOT NULL,
        PRIMARY KEY (peer, window)
    ) WITHOUT ROWID;
    INSERT INTO windows SELECT peer, time_ms / 21600000, MAX(kind = 1) FROM observations
        WHERE kind IN (1, 2) AND detail <> 'from a snapshot'
        GROUP BY peer, time_ms / 21600000;
    CREATE TRIGGER windows_stay BEFORE UPDATE ON windows WHEN NEW.is_up < OLD.is_up OR NEW.window <> OLD.window
        BEGIN SELECT RAISE(ABORT, 'windows only get up'); END;
    CREATE TRIGGER windows_remain BEFORE DELETE ON windows
        BEGIN SELECT RAISE(ABORT, 'windows are append-only'); END;

    CREATE TABLE contacts (
        number INTEGER PRIMARY KEY,
        peer BLOB NOT NULL,
        day INTEGER NOT NULL,
        time_ms INTEGER NOT NULL,
        is_made INTEGER NOT NULL,
        is_ours INTEGER NOT NULL,
        path TEXT NOT NULL,
        rtt_us INTEGER NOT NULL,
        sent_bytes INTEGER NOT NULL,
        received_bytes INTEGER NOT NULL,
        length_ms INTEGER NOT NULL,
        busy_ms INTEGER NOT NULL,
        result TEXT NOT NULL
    );
    CREATE INDEX contacts_by_peer ON contacts (peer, day);
    CREATE INDEX contacts_by_day ON contacts (day);
    CREATE TRIGGER contacts_stay BEFORE UPDATE ON contacts
        BEGIN SELECT RAISE(ABORT, 'contacts are append-only'); END;
    CREATE TRIGGER contacts_remain BEFORE DELETE ON contacts WHEN NOT {_COMPACTING}
        BEGIN SELECT RAISE(ABORT, 'contacts are append-only'); END;

    CREATE TABLE contact_days (
        peer BLOB NOT NULL,
        day INTEGER NOT NULL,
        made INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        sent_bytes INTEGER NOT NULL,
        received_bytes INTEGER NOT NULL,
        length_ms INTEGER NOT NULL,
        PRIMARY KEY (peer, day)
    ) WITHOUT ROWID;

    CREATE TABLE tenants (
        peer BLOB NOT NULL,
        day INTEGER NOT NULL,
        deed INTEGER NOT NULL,
        PRIMARY KEY (peer, deed, day)
    ) WITHOUT ROWID;
    """,  # noqa: S608 - a constant
)
"""Script n brings version n to n + 1 (`db`). The windows of a log of before are those of its contacts, as far as their
hours are known."""
