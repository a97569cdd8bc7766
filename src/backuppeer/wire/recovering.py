"""The messages by which a host learns where to leave notes for an owner who lost everything (docs/protocol.md).

Knows: shapes and sizes. Must not know: who may say what when (wire.table), what a note says, how keys are derived.
"""

from typing import Annotated

from msgspec import Meta

from backuppeer.limits import NOTE_KEY_BYTES, NOTE_SERVERS, SERVER_URL_CHARS
from backuppeer.wire.fields import Agreement, Hash, Message, Signed

Address = Annotated[str, Meta(max_length=SERVER_URL_CHARS)]


class GiveSlot(Message, frozen=True, kw_only=True):
    """Opener: "leave notes for me under this seed, sealed to this key"; in place of what was given before."""

    agreement: Agreement
    seed: Hash
    """Of a recovery slot (crypto.recovery), 32 bytes: a secret of owner and host."""
    key: Annotated[bytes, Meta(min_length=NOTE_KEY_BYTES, max_length=NOTE_KEY_BYTES)]
    """HPKE public key."""
    servers: Annotated[
        tuple[Annotated[str, Meta(max_length=SERVER_URL_CHARS)], ...], Meta(max_length=NOTE_SERVERS)
    ] = ()
    """Signaling servers that the owner would ask first."""
    signed: Signed = b""
    """The same as a SlotGift, signed by the device that writes: asked for since a take-over (ADR 51)."""


class SlotKept(Message, frozen=True, kw_only=True):
    """Answer to GiveSlot: it is durable here, and notes will be left."""
