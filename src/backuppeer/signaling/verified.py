"""Signatures that were verified before: not again at each browse (100 µs each, 2 s for all that one server may show).

Knows: hashes of signed bytes, whole, with their signatures: whoever changes a bit of either is verified anew. Must not
know: what they say. Times and buckets are checked each time. It lasts as long as its process; nothing of it is on disk.
"""

from collections import OrderedDict

from backuppeer import limits


class Verified:
    """Hashes of what was verified, 32 bytes each; those met least recently make way. Of one event loop."""

    def __init__(self) -> None:
        self._hashes: OrderedDict[bytes, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._hashes)

    def has(self, digest: bytes) -> bool:
        """Return whether these bytes were verified; they count as met just now."""
        if digest not in self._hashes:
            return False
        self._hashes.move_to_end(digest)
        return True

    def put(self, digest: bytes) -> None:
        """Remember that the signature of these bytes is right."""
        self._hashes[digest] = None
        if len(self._hashes) > limits.VERIFIED_LISTINGS:
            self._hashes.popitem(last=False)
