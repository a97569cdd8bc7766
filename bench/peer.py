"""What a row asks of a program under measurement.

Knows: the Protocol. Must not know: any program.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from meter import Meter

LEVEL = 2
"""Of zstd, for every program that can be told: BackupPeer's default. restic has its own scale (ADR 28 compares)."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a program says of a backup. `seconds`: where it measured itself, start-up of the probe left out.

    sent_bytes: payload over the network; plain_bytes: new data before compression, sealing and padding. None where
    nobody can tell, or there is no such thing.
    """

    sent_bytes: int | None = None
    plain_bytes: int | None = None
    seconds: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict)


class Peer(Protocol):
    """A backup program with somewhere to keep things."""

    name: str
    synced: str
    """What is on the disk, and not only in its cache, when a backup has returned; and who saw to it."""
    can_restore: bool

    def backup(self, paths: list[Path]) -> Report:
        """Back up."""
        ...

    def restore(self, target: Path) -> None:
        """Restore the newest backup below `target`, each path under its own absolute one."""
        ...

    def stored_bytes(self) -> int | None:
        """Return the bytes kept at the far end; None where nothing is kept."""
        ...

    def close(self) -> None:
        """End everything that was started; files stay."""
        ...


Make = Callable[[Path, Meter], Peer]
"""Sets a program up in a folder that does not exist yet."""
