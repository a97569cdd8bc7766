"""What a recovery kit is made of, as the agent tells it: hosts, and where they were last.

Knows: the request and the answer. Must not know: how a page looks. The words are no part of it: the agent has them not.
"""

import msgspec

from backuppeer.control.api import Request
from backuppeer.control.recovering import Place


class KitRequest(Request):
    """`kit`. is_made: a kit was written just now; the reminder counts from here."""

    is_made: bool = False


class KitHost(msgspec.Struct, kw_only=True):
    """A host with an agreement. place: where it was last, None if that is not known."""

    peer_id: str
    alias: str
    size_bytes: int
    place: Place | None = None


class KitResult(msgspec.Struct, kw_only=True):
    """What stands in a kit beside servers and words. made: of the kit before, RFC 3339, empty if there was none."""

    peer_id: str
    hosts: list[KitHost]
    made: str = ""
