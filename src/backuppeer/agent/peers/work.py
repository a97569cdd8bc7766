"""What is under way in a session, in words: requests of either side, by the message that began them.

Knows: what a message is about. Must not know: sessions, what becomes of a request.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from backuppeer.wire.fields import Message
from backuppeer.wire.messages import GetHead, GetRange, ListPacks, PutHead, PutPack


class Deed(NamedTuple):
    """One request. message: what it began with; None: nothing was read of it yet. by_us: we asked."""

    message: type[Message] | None
    by_us: bool


_WORDS: Final[dict[type[Message], tuple[str, str, str, str]]] = {
    PutPack: ("sending", "taking", "pack", "packs"),
    GetRange: ("reading", "giving", "part of a pack", "parts of packs"),
    PutHead: ("sending", "taking", "list of snapshots", "lists of snapshots"),
    GetHead: ("asking for", "telling", "list of snapshots", "lists of snapshots"),
    ListPacks: ("asking for", "telling", "list of packs", "lists of packs"),
}
_OTHER: Final = ("asking", "answering", "question", "questions")


def describe_work(deeds: Iterable[Deed]) -> list[str]:
    """Return what is under way, most first: `sending 3 packs`."""
    counted = Counter((_WORDS.get(deed.message, _OTHER) if deed.message else _OTHER, deed.by_us) for deed in deeds)
    return [
        f"{words[0] if by_us else words[1]} {count} {words[2] if count == 1 else words[3]}"
        for (words, by_us), count in counted.most_common()
    ]
