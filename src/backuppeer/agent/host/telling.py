"""What a partner or a stranger is told of an error of ours: why not, and nothing of this machine.

Knows: whose fault an error is. Must not know: how the words travel. Errors about the disk name folders and repeat the
system's words: those are for our own person and log, so here they become fixed words. What is raised for the other
side's eyes (a refusal, an unknown id, bytes that don't fit) passes as it is.
"""

from typing import Final

from backuppeer.errors import (
    BackupPeerError,
    IntegrityFault,
    NotFoundError,
    ProtocolViolation,
    RefusedError,
    StoreBusy,
    StoreUnavailable,
)
from backuppeer.host.disk import is_of_full_disk
from backuppeer.host.reader import DamagedPackError

STORE_BUSY: Final = "it has too much to do just now"
STORE_AWAY: Final = "its store is away, so it can't take or give data now"
DISK_FULL: Final = "its disk is full, so it can't take data now"
PACK_LOST: Final = "it lost this pack, or its disk spoiled it"
OWN_PROBLEM: Final = "the host has a problem of its own"
_FOR_PEERS: Final = (RefusedError, NotFoundError, IntegrityFault, ProtocolViolation)


def tell_peer(error: BackupPeerError) -> str:
    """Return the words for a peer that asked for what ended with `error`."""
    if isinstance(error, StoreBusy):
        return STORE_BUSY
    if isinstance(error, StoreUnavailable):
        return DISK_FULL if is_of_full_disk(error) else STORE_AWAY
    if isinstance(error, DamagedPackError):
        return PACK_LOST
    return error.message if isinstance(error, _FOR_PEERS) else OWN_PROBLEM


def advise_peer(error: BackupPeerError) -> str:
    """Return the hint that goes with `tell_peer`, '' where ours is for our own person."""
    return error.hint if isinstance(error, _FOR_PEERS) else ""
