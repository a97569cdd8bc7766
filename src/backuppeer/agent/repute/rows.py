"""Who stored with whom, told so that only those learn of it who know both already (ADR 62). Pure.

Knows: salted ids, how a row is recognised. Must not know: sessions, what stands behind a row.

    salted id = first 16 bytes of hash(PARTY, nonce of who asks ‖ salt of who answers ‖ id)
    row       = salted id of the owner ‖ that of the host; of a proof of misbehaviour the host's twice

Rows are in ascending order, and filled up with random ones to a power of two: neither order nor number tells anything.
With a salt of each side nobody can compare what two peers answer, nor prepare a table of all ids beforehand.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar

from backuppeer.crypto.digest import Domain, hash_bytes
from backuppeer.ids import PeerId
from backuppeer.limits import RECEIPT_ROWS, RECEIPT_ROWS_LEAST
from backuppeer.wire.receipts import ROW_BYTES, SALTED_BYTES, NamedRow

T = TypeVar("T")
Pair = tuple[PeerId, PeerId]
_NOISE: Final = None


def salt_id(nonce: bytes, salt: bytes, peer: PeerId) -> bytes:
    """Return the salted id of a peer, 16 bytes. nonce, salt: 32 bytes each."""
    return hash_bytes(Domain.PARTY, nonce + salt + peer)[:SALTED_BYTES]


def lay_out(
    things: Mapping[T, Pair], nonce: bytes, salt: bytes, randomness: Callable[[int], bytes]
) -> tuple[bytes, list[T | None]]:
    """Return rows for at most RECEIPT_ROWS things, and what stands in each row; None: noise."""
    salted: dict[PeerId, bytes] = {}

    def salt_one(peer: PeerId) -> bytes:
        if peer not in salted:
            salted[peer] = salt_id(nonce, salt, peer)
        return salted[peer]

    rows: list[tuple[bytes, T | None]] = [
        (salt_one(owner) + salt_one(host), thing) for thing, (owner, host) in things.items()
    ]
    full = max(RECEIPT_ROWS_LEAST, 1 << max(0, len(rows) - 1).bit_length())
    rows += [(randomness(ROW_BYTES), _NOISE) for _ in range(min(RECEIPT_ROWS, full) - len(rows))]
    rows.sort(key=lambda row: row[0])
    return b"".join(row for row, _ in rows), [thing for _, thing in rows]


def recognise(rows: bytes, known: Iterable[PeerId], nonce: bytes, salt: bytes) -> list[NamedRow]:
    """Return the rows whose two ids are among those known."""
    names = {salt_id(nonce, salt, peer): peer for peer in known}
    found = []
    for number in range(len(rows) // ROW_BYTES):
        row = rows[number * ROW_BYTES : (number + 1) * ROW_BYTES]
        owner, host = names.get(row[:SALTED_BYTES]), names.get(row[SALTED_BYTES:])
        if owner is not None and host is not None:
            found.append(NamedRow(number, owner, host))
    return found


def pick_named(laid: Sequence[T | None], things: Mapping[T, Pair], names: Iterable[NamedRow]) -> list[T]:
    """Return the things whose row was named by both ids; each once."""
    found: dict[T, None] = {}
    for name in names:
        thing = laid[name.row] if name.row < len(laid) else None
        if thing is not None and things[thing] == (name.owner, name.host):
            found[thing] = None
    return list(found)
