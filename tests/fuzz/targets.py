"""What is fuzzed, and which errors may come out: those that blame somebody else, or a newer version, and no other."""

from collections.abc import Callable
from dataclasses import dataclass

from backuppeer.errors import NewerFormatError, PeerFault, UserError
from fuzz import at_rest, in_flight


@dataclass(frozen=True)
class Target:
    """`read`: takes the bytes. `allowed`: what it may raise. `most_bytes`: how long the fuzzer's inputs become.

    body_at, length_at: where a MessagePack body begins that is worth changing value by value, and its length in front.
    """

    read: Callable[[bytes], None]
    allowed: tuple[type[Exception], ...] = (PeerFault, NewerFormatError)
    most_bytes: int = 4096
    body_at: int | None = None
    length_at: int | None = None


TARGETS = {
    "blob": Target(at_rest.read_blob),
    "card": Target(in_flight.read_card, most_bytes=6000, body_at=0),
    "charge": Target(in_flight.read_charge, most_bytes=30_000, body_at=1),
    "hint": Target(at_rest.read_hint, body_at=0),
    "ignore": Target(in_flight.read_ignore, (UserError,), 1024),
    "inventory": Target(at_rest.read_inventory),
    "invite": Target(in_flight.read_invite, (UserError,), 1024),
    "knock": Target(in_flight.read_knock, most_bytes=2900, body_at=1),
    "listing": Target(in_flight.read_listing, most_bytes=2048, body_at=0),
    "note": Target(in_flight.read_note, most_bytes=6000, body_at=0),
    "pack": Target(at_rest.read_pack),
    "removal": Target(in_flight.read_removal, body_at=2),
    "signaling": Target(in_flight.read_signaling, most_bytes=8000, body_at=0),
    "snapshot": Target(at_rest.read_snapshot, body_at=0),
    "spoken": Target(in_flight.read_spoken, most_bytes=5000, body_at=1),
    "statement": Target(in_flight.read_statement, most_bytes=5000, body_at=1),
    "tail": Target(at_rest.read_tail, most_bytes=2048),
    "text": Target(in_flight.read_text, (UserError,), 512),
    "tree": Target(at_rest.read_tree, body_at=0),
    "wire": Target(in_flight.read_wire, body_at=6, length_at=1),
    "worker": Target(in_flight.read_worker, (EOFError,), body_at=4, length_at=0),
}


def feed(target: Target, data: bytes) -> None:
    """Read the bytes; what a target may raise is fine, anything else is a finding."""
    try:
        target.read(data)
    except target.allowed:
        return
