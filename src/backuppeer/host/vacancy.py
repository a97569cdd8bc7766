"""Whether anything of others still lies in a store, read from its folders alone: the last look before a home goes.

Knows: the layout. Must not know: keys, the catalogue, who asks. Needs no open store, so it can be asked while no agent
runs; what can't be looked at counts as not empty.
"""

from pathlib import Path

from backuppeer.errors import StoreUnavailable
from backuppeer.host.disk import translate_failures
from backuppeer.host.layout import Layout
from backuppeer.host.leases import ENDED


def count_running(directory: Path) -> int:
    """Return how many agreements in the store at `directory` have not ended: with any, data of others may lie there.

    An ended one keeps what was signed, and no pack. A folder without a word of its end counts, damaged ones too, but
    for an empty one: that is what a removal leaves that was stopped at its last step.

    Raises:
        StoreUnavailable: no store is there, its disk is away, or refuses.

    """
    layout = Layout(directory)
    with translate_failures(directory):
        if not layout.marker.exists():
            raise StoreUnavailable(f"no store lies in {directory}", hint="plug in or mount its disk")
        if not layout.agreements.exists():
            return 0
        return sum(1 for folder in layout.agreements.iterdir() if _is_running(folder))


def _is_running(folder: Path) -> bool:
    if folder.is_dir() and not any(folder.iterdir()):
        return False
    has_packs = any((folder / "packs").glob("*/*"))
    return has_packs or not (folder / ENDED).exists()
