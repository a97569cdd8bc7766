"""The rows of `proven`: how audits under an agreement stand, what is owed, what was signed; and their tables.

Knows: fields. Must not know: where they are kept, who fills them.
"""

from dataclasses import dataclass
from typing import Final

from backuppeer.ids import AgreementId, LogicalId, StoredId
from backuppeer.proof.audits import Sample

SCHEMA: Final = (
    """
    CREATE TABLE accounts (
        number INTEGER PRIMARY KEY,
        agreement BLOB NOT NULL UNIQUE,
        seed BLOB NOT NULL,
        day INTEGER NOT NULL,
        bulk_cycle INTEGER NOT NULL DEFAULT -1,
        due_ms INTEGER NOT NULL,
        failures INTEGER NOT NULL DEFAULT 0,
        heard_ms INTEGER NOT NULL DEFAULT 0,
        good_ms INTEGER NOT NULL DEFAULT 0,
        reports INTEGER NOT NULL DEFAULT 0,
        fault TEXT NOT NULL DEFAULT '',
        fault_ms INTEGER NOT NULL DEFAULT 0,
        is_mute INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE packs (
        number INTEGER NOT NULL REFERENCES accounts (number),
        stored BLOB NOT NULL,
        size INTEGER NOT NULL,
        ack INTEGER NOT NULL DEFAULT 0,
        proven_ms INTEGER NOT NULL DEFAULT 0,
        seen INTEGER NOT NULL,
        PRIMARY KEY (number, stored)
    ) WITHOUT ROWID;
    CREATE INDEX packs_by_ack ON packs (ack);
    CREATE TABLE acks (
        ack INTEGER PRIMARY KEY,
        number INTEGER NOT NULL REFERENCES accounts (number),
        head INTEGER NOT NULL,
        signed BLOB NOT NULL,
        packs BLOB NOT NULL
    );
    CREATE TABLE pending (
        number INTEGER NOT NULL REFERENCES accounts (number),
        stored BLOB NOT NULL,
        first_leaf INTEGER NOT NULL,
        leaves INTEGER NOT NULL,
        logical BLOB NOT NULL,
        challenge BLOB NOT NULL,
        first_ms INTEGER NOT NULL,
        last_ms INTEGER NOT NULL,
        times INTEGER NOT NULL,
        is_alone INTEGER NOT NULL,
        PRIMARY KEY (number, stored, first_leaf, leaves)
    ) WITHOUT ROWID;
    CREATE TABLE receipts (
        number INTEGER NOT NULL REFERENCES accounts (number),
        head_number INTEGER NOT NULL,
        receipt BLOB NOT NULL,
        head BLOB NOT NULL,
        authority_grant BLOB NOT NULL,
        PRIMARY KEY (number, head_number, head)
    );
    CREATE TABLE terms (
        number INTEGER NOT NULL REFERENCES accounts (number),
        hash BLOB NOT NULL,
        signed BLOB NOT NULL,
        PRIMARY KEY (number, hash)
    );
    """,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """How audits under one agreement stand. Times in ms, 0 = never; days since 1970.

    seed: 32 secret bytes, of which the plan follows. day: the last whose plan was asked for. bulk_cycle: the last that
    was read in bulk. due_ms: when the agent audits it next; failures: how often in a row it could not. heard_ms: when
    it last answered an audit; good_ms: when it last showed all that it was asked for. reports: the last loss report
    seen. fault, fault_ms: what it was caught at last, and when. is_mute: it does not know audits, being an older
    version.
    """

    agreement: AgreementId
    seed: bytes
    day: int
    bulk_cycle: int = -1
    due_ms: int = 0
    failures: int = 0
    heard_ms: int = 0
    good_ms: int = 0
    reports: int = 0
    fault: str = ""
    fault_ms: int = 0
    is_mute: bool = False


@dataclass(frozen=True, slots=True)
class Owed:
    """A sample that was asked for and not shown.

    challenge: the signed one by which it was asked for first. times: how often it was left out while the host answered.
    is_alone: to be asked for by itself, as a challenge came to nothing as a whole.
    """

    logical: LogicalId
    sample: Sample
    challenge: bytes
    first_ms: int
    last_ms: int
    times: int = 0
    is_alone: bool = False

    @property
    def sample_key(self) -> tuple[bytes, int, int]:
        """What tells it from others under the same agreement."""
        return (self.sample.stored, self.sample.first_leaf, self.sample.leaves)


@dataclass(frozen=True, slots=True)
class Ack:
    """A signed acknowledgement, upon head number `head`, and the packs that it is about."""

    head: int
    signed: bytes
    packs: tuple[StoredId, ...]


@dataclass(frozen=True, slots=True)
class KeptHead:
    """A head with its grant, and the host's countersignature; all signed bytes."""

    number: int
    receipt: bytes
    head: bytes
    grant: bytes


@dataclass(frozen=True, slots=True)
class Coverage:
    """Of the packs under one agreement: how many bytes there are, how many of them were proven lately; and packs."""

    size_bytes: int = 0
    proven_bytes: int = 0
    packs: int = 0
    acked: int = 0
