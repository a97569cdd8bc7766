"""The marker that makes a folder a store: without it, or with somebody else's, nothing is read, written or assumed.

Knows: three lines of text. Must not know: packs. An unplugged disk leaves an empty mount point behind; taking that
for an empty store would lose everybody's data, so a store is only ever opened by its marker. The open marker is
locked for the life of the store: two processes must not serve one folder.
"""

import fcntl
import os
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backuppeer.errors import StoreUnavailable, UserError
from backuppeer.host.disk import explain_failure, replace_file
from backuppeer.ids import PeerId, format_peer_id, parse_peer_id

_MAGIC: Final = "backup-peer store"
_VERSION: Final = "1"
_PATTERN: Final = re.compile(rf"{_MAGIC} (\d{{1,9}})\nstore ([0-9a-f]{{32}})\npeer (bp1[0-9a-z]+)\n")
_MARKER_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Marker:
    """Who a store belongs to. `store`: 16 random bytes."""

    store: bytes
    peer: PeerId


def write_marker(path: Path, peer: PeerId) -> Marker:
    """Make the folder of `path` a store of `peer`; durable on return.

    Raises:
        OSError: as the system says; the caller translates.

    """
    marker = Marker(store=secrets.token_bytes(16), peer=peer)
    _write(path, marker)
    return marker


def lock_marker(path: Path, peer: PeerId, former: Collection[PeerId] = ()) -> tuple[Marker, int]:
    """Read the marker, check that it is `peer`'s, lock it, and return it with the descriptor that holds the lock.

    A store of one of `former`, whose heir the peer is, becomes the peer's own, durably: from then on it is none for a
    copy of the home of before (ADR 69).

    Raises:
        StoreUnavailable: no marker, a foreign or damaged one, one of a newer version, or locked by another process.
        OSError: as the system says; the caller translates.

    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise StoreUnavailable(
            f"no store at {path.parent}",
            hint="plug in or mount its disk; if its folder was moved: `backup-peer host --storage SIZE --store DIR`, "
            "with what you offer and where it lies now",
        ) from exc
    try:
        marker = _parse_marker(os.read(descriptor, _MARKER_BYTES), path)
        if marker.peer not in former:
            _check_owner(marker, peer, path)
        # The lock dies with the process, whatever kills it, so nothing stale can keep the store closed.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if marker.peer in former:
            # Under the lock of the file that is replaced: no other process has the store meanwhile.
            _write(path, Marker(marker.store, peer))
    except BlockingIOError as exc:
        os.close(descriptor)
        raise StoreUnavailable(
            f"the store {path.parent} is in use by another process", hint="stop the other agent first"
        ) from exc
    except BaseException:
        os.close(descriptor)
        raise
    if marker.peer in former:
        os.close(descriptor)
        return lock_marker(path, peer)
    return marker, descriptor


class Presence:
    """The locked marker of an open store: tells whether the folder at the store's path is still that very store."""

    def __init__(self, path: Path, descriptor: int) -> None:
        """Take over the descriptor that holds the lock."""
        status = os.fstat(descriptor)
        self._path = path
        self._descriptor = descriptor
        self._identity = (status.st_dev, status.st_ino)

    def check(self) -> None:
        """Return if the store is where it was when it was opened.

        Raises:
            StoreUnavailable: unplugged, unmounted, moved away, replaced or closed.

        """
        try:
            status = self._path.stat(follow_symlinks=False)
        except OSError as exc:
            raise explain_failure(exc, self._path.parent) from exc
        if self._descriptor < 0 or (status.st_dev, status.st_ino) != self._identity:
            raise StoreUnavailable(
                f"the store {self._path.parent} is not the one that was opened", hint="open it again"
            )

    def close(self) -> None:
        """Give the lock back; again is fine."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


def _write(path: Path, marker: Marker) -> None:
    text = f"{_MAGIC} {_VERSION}\nstore {marker.store.hex()}\npeer {format_peer_id(marker.peer)}\n"
    replace_file(path, text.encode())


def _check_owner(marker: Marker, peer: PeerId, path: Path) -> None:
    if marker.peer != peer:
        raise StoreUnavailable(
            f"the store {path.parent} belongs to another peer, {format_peer_id(marker.peer)}",
            hint="choose another folder with `host --store DIR`; a store of yours from before `recover --new-identity` "
            "opens in the home that went on",
        )


def _parse_marker(data: bytes, path: Path) -> Marker:
    match = _PATTERN.fullmatch(data.decode("ascii", "replace"))
    if match is None:
        raise StoreUnavailable(
            f"{path} is not the marker of a store", hint="restore that file, or choose another folder"
        )
    if match[1] != _VERSION:
        raise StoreUnavailable(
            f"the store {path.parent} has format {match[1]}, this program knows {_VERSION}",
            hint="install the newer backup-peer again; nothing was changed",
        )
    try:
        peer = parse_peer_id(match[3])
    except UserError as exc:
        raise StoreUnavailable(f"{path} names no valid peer", hint="restore that file") from exc
    return Marker(store=bytes.fromhex(match[2]), peer=peer)
