"""The messages by which an identity goes on as another with a host (docs/protocol.md, "Succession"; ADR 69).

Knows: shapes and sizes. Must not know: who may say what when (wire.table), who believes a succession (`proof`). All
fields are the exact signed bytes of statements.
"""

from typing import Annotated

from msgspec import Meta

from backuppeer.limits import AGREEMENTS_PER_HELLO
from backuppeer.wire.fields import Message, Signed

_Revisions = Annotated[tuple[Signed, ...], Meta(max_length=AGREEMENTS_PER_HELLO)]


class Succeed(Message, frozen=True, kw_only=True):
    """Opener, as the old identity or the new one: the Succession, and of each agreement the proposal that follows it.

    proposals: the next revision of each agreement of the old identity, signed by the new one.
    """

    succession: Signed
    proposals: _Revisions = ()


class Succeeded(Message, frozen=True, kw_only=True):
    """Answer to Succeed, durable: the Succession that is followed, and the co-signed revisions; always the same.

    revisions: of each agreement the one by which its owner changed, in ascending order of agreement ids.
    """

    succession: Signed
    revisions: _Revisions = ()


class Follow(Message, frozen=True, kw_only=True):
    """Opener, an owner whose host goes on as another: of each agreement the proposal in which the heir is the host.

    proposals: signed by the owner, each with the Succession in it.
    """

    proposals: _Revisions


class Followed(Message, frozen=True, kw_only=True):
    """Answer to Follow, durable: the co-signed revisions by which the host changed; always the same."""

    revisions: _Revisions
