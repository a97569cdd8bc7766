"""Whether a folder may become a store, and how much it could hold there.

Knows: what lies in the folder, its file system. Must not know: packs, agreements. Others' data never goes into a
folder that holds something else: what is no store of ours may be somebody's files, and stays untouched.
"""

import os
from pathlib import Path
from typing import Final

from backuppeer.errors import StoreUnavailable, UserError
from backuppeer.host.disk import translate_failures
from backuppeer.host.layout import Layout

_OF_THE_DISK: Final = frozenset({"lost+found"})
"""What a file system puts into its root by itself."""


def check_site(layout: Layout, *, option: str = "--store") -> None:
    """Refuse to make a store where none is, unless the folder is empty or missing. `option`: what named the folder.

    Raises:
        StoreUnavailable: a store that lost its marker.
        UserError: something that is no folder, or a folder with something else in it.
        OSError: as the system says; the caller translates.

    """
    root = layout.root
    if not os.path.lexists(root):
        return
    if not root.is_dir():
        raise UserError(f"{root} is no folder", hint=f"name an empty folder, or a new name in one: {option} DIR")
    if layout.agreements.exists() or layout.catalogue.exists():
        raise StoreUnavailable(
            f"{root} holds a store without its marker {layout.marker.name}",
            hint="restore that file, or choose another folder",
        )
    if any(entry.name not in _OF_THE_DISK for entry in root.iterdir()):
        raise UserError(
            f"the folder {root} is not empty, and what is in it is no store",
            hint=f"name an empty folder, or a new name in this one: {option} DIR",
        )


def free_bytes(directory: Path) -> int:
    """Return what an unprivileged program may still write to the file system of a folder.

    Raises:
        StoreUnavailable: the disk refuses.

    """
    with translate_failures(directory):
        status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize
