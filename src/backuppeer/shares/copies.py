"""One copy of a pack with one host: the fact that ledger keeps and placement decides upon.

Knows: nothing but its fields. Must not know: where it is kept.
"""

from dataclasses import dataclass, field
from typing import Final

from backuppeer.ids import AgreementId, LogicalId, StoredId

HEADER_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of a pack. `size`: bytes of the whole pack; `header`: its 64 clear bytes.

    `is_last`: deleted at its host, or known to have come back wrong: read when there is no other. Said by a look-up.
    """

    logical: LogicalId
    agreement: AgreementId
    stored: StoredId
    size: int
    header: bytes
    is_last: bool = field(default=False, compare=False)
