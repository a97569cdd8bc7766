"""One copy of a pack with one host: the fact that ledger keeps and placement decides upon.

Knows: nothing but its fields. Must not know: where it is kept.
"""

from dataclasses import dataclass
from typing import Final

from backuppeer.ids import AgreementId, LogicalId, StoredId

HEADER_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of a pack. `size`: bytes of the whole pack; `header`: its 64 clear bytes."""

    logical: LogicalId
    agreement: AgreementId
    stored: StoredId
    size: int
    header: bytes
