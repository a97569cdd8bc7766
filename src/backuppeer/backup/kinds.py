"""What kinds of entries are called where people and programs read them: one mapping for every verb.

Knows: the kinds of the tree format. Must not know: verbs. A kind that is added to the format has a name at once, its
own in lower case; a verb that can do nothing with it says so by that name.
"""

from typing import Final

from backuppeer.repo.tree import EntryKind

_SHORT: Final = {
    EntryKind.DIRECTORY: "dir",
    EntryKind.CHARACTER_DEVICE: "chardev",
    EntryKind.BLOCK_DEVICE: "blockdev",
}
KIND_NAMES: Final[dict[int, str]] = {int(kind): _SHORT.get(kind, kind.name.lower()) for kind in EntryKind}
"""By the number in the tree: file, dir, symlink, fifo, chardev, blockdev."""


def name_kind(kind: int) -> str:
    """Return what a kind is called; `other` for a number that this version does not know."""
    return KIND_NAMES.get(kind, "other")
