"""Where things lie in a store: names, made only from ids of checked length, and back.

Knows: `DIR/backup-peer-store`, `catalogue.db`, `incoming/`, `agreements/<agreement>/` with `agreement`, `head`,
`removals/<number>.<delete|revive>`, `notice.<owner|host>`, `waivers/<number>.<upon>.<purge|end>`, `ended`,
`losses/<number>`, `packs/<xx>/<stored>[.leaves]`.
Must not know: what is inside. A peer's bytes become a name only as lower-case hex of an exact length, so no id can
climb out of the folder.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backuppeer.errors import ProtocolViolation
from backuppeer.ids import AgreementId, StoredId

AGREEMENT_ID_BYTES: Final = 16
STORED_ID_BYTES: Final = 32
LEAVES_SUFFIX: Final = ".leaves"
PART_SUFFIX: Final = ".part"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of one store."""

    root: Path

    @property
    def marker(self) -> Path:
        """The file that makes a folder a store."""
        return self.root / "backup-peer-store"

    @property
    def lineage(self) -> Path:
        """The signed successions that led to the peer of the marker, if there are any."""
        return self.root / "succession"

    @property
    def catalogue(self) -> Path:
        """The SQLite database."""
        return self.root / "catalogue.db"

    @property
    def incoming(self) -> Path:
        """Where packs lie while they are being received."""
        return self.root / "incoming"

    @property
    def agreements(self) -> Path:
        """One folder for each agreement."""
        return self.root / "agreements"

    def folder(self, agreement: AgreementId) -> Path:
        """Return the folder of an agreement.

        Raises:
            ProtocolViolation: the id has another length than 16 bytes.

        """
        return self.agreements / check_agreement_id(agreement).hex()

    def packs(self, agreement: AgreementId) -> Path:
        """Return the folder of an agreement's packs."""
        return self.folder(agreement) / "packs"

    def removals(self, agreement: AgreementId) -> Path:
        """Return the folder of an agreement's signed deletes and revives."""
        return self.folder(agreement) / "removals"

    def waivers(self, agreement: AgreementId) -> Path:
        """Return the folder of the words of its authority that let things go early."""
        return self.folder(agreement) / "waivers"

    def losses(self, agreement: AgreementId) -> Path:
        """Return the folder of this host's reports of packs that it lost."""
        return self.folder(agreement) / "losses"

    def pack(self, agreement: AgreementId, stored: StoredId) -> Path:
        """Return the file of a pack.

        Raises:
            ProtocolViolation: an id has a wrong length.

        """
        name = check_stored_id(stored).hex()
        return self.packs(agreement) / name[:2] / name

    def leaves(self, agreement: AgreementId, stored: StoredId) -> Path:
        """Return the file of a pack's leaf hashes."""
        pack = self.pack(agreement, stored)
        return pack.with_name(pack.name + LEAVES_SUFFIX)


def check_agreement_id(agreement: AgreementId) -> AgreementId:
    """Return the id.

    Raises:
        ProtocolViolation: it is not 16 bytes.

    """
    if len(agreement) != AGREEMENT_ID_BYTES:
        raise ProtocolViolation(f"an agreement id has {AGREEMENT_ID_BYTES} bytes, not {len(agreement)}")
    return agreement


def check_stored_id(stored: StoredId) -> StoredId:
    """Return the id.

    Raises:
        ProtocolViolation: it is not 32 bytes.

    """
    if len(stored) != STORED_ID_BYTES:
        raise ProtocolViolation(f"a stored id has {STORED_ID_BYTES} bytes, not {len(stored)}")
    return stored


def parse_hex_name(name: str, length: int) -> bytes | None:
    """Return the bytes a file name stands for, or None when it is not exactly `length` bytes of lower-case hex."""
    if len(name) != 2 * length or not set(name) <= set("0123456789abcdef"):
        return None
    return bytes.fromhex(name)
