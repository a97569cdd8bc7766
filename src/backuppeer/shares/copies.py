"""One copy of a pack with one host: the fact that ledger keeps and placement decides upon.

Knows: nothing but its fields. Must not know: where it is kept.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from backuppeer.errors import LocalError
from backuppeer.ids import AgreementId, LogicalId, StoredId

HEADER_BYTES: Final = 64
PAGE_ROWS: Final = 512
"""Rows that one question to the ledger is about."""
_ID_BYTES: Final = 16
_STORED_BYTES: Final = 32


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


def cut_pages(logicals: Iterable[LogicalId]) -> Iterator[list[LogicalId]]:
    """Yield the ids in order, PAGE_ROWS at a time; reads them lazily."""
    rest = iter(logicals)
    while page := list(islice(rest, PAGE_ROWS)):
        yield page


def check_copy(copy: Copy) -> Copy:
    """Return a copy whose ids and header have the right lengths.

    Raises:
        LocalError: they don't.

    """
    lengths = (len(copy.logical), len(copy.agreement), len(copy.stored), len(copy.header))
    if lengths != (_ID_BYTES, _ID_BYTES, _STORED_BYTES, HEADER_BYTES) or copy.size < 1:
        raise LocalError(f"a copy with ids and header of {lengths} bytes and a pack of {copy.size}")
    return copy
