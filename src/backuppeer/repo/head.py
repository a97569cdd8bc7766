"""The inventory: which snapshots and packs a repository consists of, and the head that commits to it.

Knows: root and piece encoding, how the next head follows from the last. Must not know: device keys, hosts, signing
(proof.statements does that). The inventory lies in blobs of kind INDEX: a root, which a head names by blob id, and
lists of logical pack ids in the order of their creation; a new pack changes the last list only.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from backuppeer.crypto.keys import RepositoryKeys
from backuppeer.errors import IntegrityFault, LocalError
from backuppeer.ids import BlobId, LogicalId, SnapshotId
from backuppeer.limits import BLOB_PLAIN_BYTES, INVENTORY_PIECES, INVENTORY_SNAPSHOTS, TAKE_OVER_STEP
from backuppeer.proof.merkle import root_of_set
from backuppeer.proof.statements import ZERO_HASH, Head, WriterGrant
from backuppeer.repo.blob import BlobKind
from backuppeer.repo.tree import check_version, cut_ids, decode_id_list, encode_id_list

Buffer = bytes | bytearray | memoryview
VERSION: Final = 1
LOGICAL_BYTES: Final = 16
_ID_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Inventory:
    """What is alive: snapshots in order of time, packs in order of creation, those that hold the inventory included."""

    snapshots: tuple[SnapshotId, ...]
    packs: tuple[LogicalId, ...]


class IndexRoot(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The blob that a head's `index` names: msgpack [1, [snapshots, pieces]], both joined 32-byte ids."""

    v: int
    body: tuple[
        Annotated[bytes, Meta(max_length=INVENTORY_SNAPSHOTS * _ID_BYTES)],
        Annotated[bytes, Meta(max_length=INVENTORY_PIECES * _ID_BYTES)],
    ]


@dataclass(frozen=True, slots=True)
class EncodedInventory:
    """The blobs of an inventory, all of kind INDEX; `index` is the blob id of `root`."""

    index: BlobId
    root: bytes
    pieces: tuple[bytes, ...]


_decoder: Final = msgspec.msgpack.Decoder(IndexRoot)


def encode_inventory(keys: RepositoryKeys, inventory: Inventory) -> EncodedInventory:
    """Return the inventory as blobs; pieces first into a pack, then the root.

    Raises:
        LocalError: more snapshots or packs than one root holds, or an id of another length.

    """
    _check_ids(inventory)
    pieces = tuple(encode_id_list(part) for part in cut_ids(b"".join(inventory.packs), LOGICAL_BYTES))
    if len(pieces) > INVENTORY_PIECES or len(inventory.snapshots) > INVENTORY_SNAPSHOTS:
        raise LocalError("the repository has more snapshots or packs than an inventory holds")
    piece_ids = b"".join(keys.blob_id(BlobKind.INDEX, piece) for piece in pieces)
    root = msgspec.msgpack.encode(IndexRoot(VERSION, (b"".join(inventory.snapshots), piece_ids)))
    return EncodedInventory(keys.blob_id(BlobKind.INDEX, root), root, pieces)


def _check_ids(inventory: Inventory) -> None:
    if any(len(s) != _ID_BYTES for s in inventory.snapshots) or any(len(p) != LOGICAL_BYTES for p in inventory.packs):
        raise LocalError("an inventory holds ids of a wrong length")
    if len(set(inventory.snapshots)) < len(inventory.snapshots) or len(set(inventory.packs)) < len(inventory.packs):
        raise LocalError("an inventory names a snapshot or pack twice")


def decode_root(data: Buffer) -> tuple[tuple[SnapshotId, ...], tuple[BlobId, ...]]:
    """Return the snapshots and the blob ids of the pieces that a root names.

    Raises:
        IntegrityFault: not a root of version 1, too many or malformed ids.

    """
    if len(data) > BLOB_PLAIN_BYTES:
        raise IntegrityFault(f"an inventory of {len(data)} bytes is over the limit")
    check_version(data, "inventory")
    try:
        snapshots, pieces = _decoder.decode(data).body
    except msgspec.MsgspecError as exc:
        raise IntegrityFault(f"an inventory can't be decoded: {exc}") from exc
    if len(snapshots) % _ID_BYTES or len(pieces) % _ID_BYTES:
        raise IntegrityFault("an inventory has ids that are not 32 bytes")
    return tuple(map(SnapshotId, _split(snapshots, _ID_BYTES))), tuple(map(BlobId, _split(pieces, _ID_BYTES)))


def decode_pack_list(data: Buffer) -> tuple[LogicalId, ...]:
    """Return the logical ids of one piece.

    Raises:
        IntegrityFault: not a piece.

    """
    return tuple(map(LogicalId, _split(decode_id_list(data, LOGICAL_BYTES), LOGICAL_BYTES)))


def load_inventory(index: BlobId, fetch: Callable[[BlobId], bytes]) -> Inventory:
    """Return the inventory whose root has the blob id `index`; `fetch` gives checked plaintext of INDEX blobs.

    Raises:
        IntegrityFault: root or pieces are malformed, or name something twice.

    """
    snapshots, pieces = decode_root(fetch(index))
    packs = tuple(pack for piece in pieces for pack in decode_pack_list(fetch(piece)))
    inventory = Inventory(snapshots, packs)
    if len(set(packs)) < len(packs) or len(set(snapshots)) < len(snapshots):
        raise IntegrityFault("an inventory names a snapshot or pack twice")
    return inventory


def _split(joined: bytes, id_bytes: int) -> Iterable[bytes]:
    return (joined[i : i + id_bytes] for i in range(0, len(joined), id_bytes))


def plan_head(
    previous: Head | None,
    previous_hash: bytes,
    *,
    grant: WriterGrant,
    index: BlobId,
    inventory: Inventory,
    time_ms: int,
) -> Head:
    """Return the head that the granted device signs next; `previous_hash` is `statement_hash` of `previous`.

    None for `previous` starts a repository. Another writer begins TAKE_OVER_STEP higher: the one before it may have
    gone on, at hosts that could not be heard, and a host takes no number below the one it has. `index`: blob id of the
    encoded inventory's root. The time ascends from head to head whatever the clock does: a head that is not later than
    another can't descend from it.

    Raises:
        LocalError: the previous head is of another repository or a higher epoch: this device must not write.

    """
    roots = root_of_set(inventory.snapshots), root_of_set(inventory.packs)
    return _follow(previous, previous_hash, grant=grant, said=(index, *roots), time_ms=time_ms)


def plan_return(previous: Head, previous_hash: bytes, *, grant: WriterGrant, said: Head, time_ms: int) -> Head:
    """Return the head after `previous` that says again what the earlier head `said` did.

    Signing is never undone: two heads of one number are two histories. What follows may say the old thing again.

    Raises:
        LocalError: as for `plan_head`.

    """
    again = said.index, said.snapshots_root, said.packs_root
    return _follow(previous, previous_hash, grant=grant, said=again, time_ms=time_ms)


def _follow(
    previous: Head | None, previous_hash: bytes, *, grant: WriterGrant, said: tuple[BlobId, bytes, bytes], time_ms: int
) -> Head:
    """Return the next head; `said`: index, root of the snapshots, root of the packs."""
    if previous is not None and (previous.repository != grant.repository or previous.epoch > grant.epoch):
        raise LocalError("the last head belongs to another repository or a newer writer")
    index, snapshots_root, packs_root = said
    step = 1 if previous is None or previous.epoch == grant.epoch else TAKE_OVER_STEP
    return Head(
        repository=grant.repository,
        epoch=grant.epoch,
        device=grant.device,
        number=step + (0 if previous is None else previous.number),
        previous=ZERO_HASH if previous is None else previous_hash,
        index=index,
        snapshots_root=snapshots_root,
        packs_root=packs_root,
        time_ms=time_ms if previous is None else max(time_ms, previous.time_ms + 1),
    )


def check_inventory(head: Head, snapshots: Sequence[SnapshotId], packs: Sequence[LogicalId]) -> None:
    """Check that these are all snapshots and all packs a head commits to.

    Raises:
        IntegrityFault: something was left out, added or is of another state.

    """
    if root_of_set(snapshots) != head.snapshots_root:
        raise IntegrityFault(f"the snapshots are not those of head {head.number}")
    if root_of_set(packs) != head.packs_root:
        raise IntegrityFault(f"the packs are not those of head {head.number}")
