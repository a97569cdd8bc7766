"""Whether the device that writes has signed, too, what an owner's identity asks for (ADR 35, 51).

Knows: the heads held, the grant of each. Must not know: what is asked for. Every home of an owner has the identity, one
that was stolen or taken over as well. So once a head is held of a later epoch than the first, its device must sign.

Another device's signature is refused as none is, and is no fault: a machine that takes over signs with its own from its
first session on, and this host learns of its grant by its first head only.
"""

from backuppeer.errors import AuthenticationFault, RefusedError
from backuppeer.host.heads import Heads, StoredHead
from backuppeer.host.leases import Lease, Leases
from backuppeer.ids import DeviceId, PeerId
from backuppeer.proof.statements import Statement, WriterGrant, check_beside, open_statement
from backuppeer.proof.writer import FIRST_EPOCH


class Countersigning:
    """Asks for the second signature where one is due. Thread-safe. Made by `open_store`."""

    def __init__(self, leases: Leases, heads: Heads) -> None:
        self._leases, self._heads = leases, heads

    def check(self, lease: Lease, kind: type[Statement], signed: bytes, device_sig: bytes) -> bytes:
        """Return the signed grant of the device that had to sign a statement about an agreement; b"" where none had to.

        Raises:
            RefusedError: its signature is missing, or is none of its.
            DamagedStateError: the head that is held can't be read.
            StoreUnavailable: the disk refuses.

        """
        held = self._find_later(lease)
        if held is None:
            return b""
        _check(lease, held, kind, signed, device_sig)
        return held.signed_grant

    def check_owner(self, owner: PeerId, kind: type[Statement], signed: bytes, device_sig: bytes) -> None:
        """Return if a statement about none of an owner's agreements may be followed: by its newest epoch.

        Raises:
            as `check`.

        """
        found = [(lease, held) for lease in self._leases.list_by_owner(owner) if (held := self._find_later(lease))]
        if found:
            lease, held = max(found, key=lambda pair: pair[1].head.epoch)
            _check(lease, held, kind, signed, device_sig)

    def name_device(self, lease: Lease) -> DeviceId | None:
        """Return the device that must sign by itself what this owner says of an agreement; None: none must."""
        held = self._find_later(lease)
        return _device_of(lease, held) if held is not None else None

    def _find_later(self, lease: Lease) -> StoredHead | None:
        held = self._heads.get(lease.agreement)
        return held if held is not None and held.head.epoch > FIRST_EPOCH else None


def refuse_other_machine() -> RefusedError:
    """Return what a machine is told that is not the one that writes."""
    return RefusedError(
        "another machine of this owner makes the backups now, and only that one may ask for this",
        hint="`backup-peer recover --take-over` makes this machine the one",
    )


def _check(lease: Lease, held: StoredHead, kind: type[Statement], signed: bytes, device_sig: bytes) -> None:
    device = _device_of(lease, held)
    try:
        check_beside(kind, signed, device_sig, device)
    except AuthenticationFault as exc:
        raise refuse_other_machine() from exc


def _device_of(lease: Lease, held: StoredHead) -> DeviceId:
    return open_statement(WriterGrant, held.signed_grant, lease.terms.authority).device
